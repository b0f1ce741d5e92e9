"""What createMonitor must refuse about a specification's path and platform before a monitor is made."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from publisher.watching.filesystems import unreported
from schemas.errors import NotADirectoryFSError, PathNotAllowedError, UnsupportedError

if TYPE_CHECKING:
    from publisher.roots import Roots
    from schemas.monitors import MonitorSpec


def check_spec(spec: MonitorSpec, roots: Roots) -> MonitorSpec:
    """What createMonitor refuses about the path and the platform; returns the specification with its path normalised.

    Raises:
        OmeroFSError: path-not-allowed, not-found, not-a-directory, permission-denied, unsupported.
    """
    with roots.open(spec.path_string) as opened:
        if not stat.S_ISDIR(opened.stat().st_mode):
            msg = f"{spec.path_string!r} is not a directory"
            raise NotADirectoryFSError(msg)
        os.close(opened.reopen(os.O_RDONLY | os.O_DIRECTORY))
        asked = opened.stat()
    normal = os.path.normpath(spec.path_string)
    found = roots.stat(normal, follow=True)
    if (found.st_dev, found.st_ino) != (asked.st_dev, asked.st_ino):
        msg = f"{spec.path_string!r} leads through a link and back: spell it without '..'"
        raise PathNotAllowedError(msg)
    kind = unreported_kind(spec, roots)
    if kind is not None and spec.platform_check:
        msg = (
            f"the kernel does not report changes on {kind}, where {spec.path_string!r} is;"
            " without platformCheck it is polled"
        )
        raise UnsupportedError(msg)
    return spec.model_copy(update={"path_string": normal})


def unreported_kind(spec: MonitorSpec, roots: Roots) -> str | None:
    """The kind of file system of the path if the kernel does not report its changes, else None.

    Raises:
        OmeroFSError: The path cannot be opened.
    """
    with roots.open(spec.path_string) as opened:
        return unreported(opened.fd)
