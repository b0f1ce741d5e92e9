"""Whether a directory that was lost is there again, and not merely the empty mount point in its place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from schemas.errors import OmeroFSError

if TYPE_CHECKING:
    from publisher.roots import Opened, Roots


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a watched root was: the device, and whether something was mounted at the very directory."""

    device: int
    is_mount_point: bool

    @classmethod
    def of(cls, roots: Roots, path: str) -> Self:
        """As it is now; raises as `Roots.open`."""
        with roots.open(path) as root:
            return cls(root.stat().st_dev, is_mount_point=_is_mount_point(root))

    def is_back(self, roots: Roots, path: str) -> bool:
        """Whether the directory is there, with something mounted at it if there was before."""
        try:
            now = Mount.of(roots, path)
        except (OmeroFSError, OSError):
            return False
        return now.device == self.device or now.is_mount_point or not self.is_mount_point


def _is_mount_point(root: Opened) -> bool:
    above = os.open("..", os.O_PATH | os.O_CLOEXEC, dir_fd=root.fd)
    try:
        return os.fstat(above).st_dev != root.stat().st_dev
    finally:
        os.close(above)
