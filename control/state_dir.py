"""The state directory: made if it is missing, and held by one service at a time."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from control.config import ConfigError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self


class StateDir:
    """A directory that is this process's alone until `close`, or until the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Takes it.

        Raises:
            ConfigError: It cannot be used, or another service does.
        """
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            text = f"FSHERALD_STATE_DIR: {str(path)!r} cannot be used ({exc.strerror})"
            raise ConfigError(f"{text}; name a directory that this user may write to") from exc
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(self._lock)
            text = f"FSHERALD_STATE_DIR: {str(path)!r} is in use by another fsherald"
            raise ConfigError(f"{text}; stop that one or name another directory") from exc

    @property
    def store_path(self) -> Path:
        """Where the store is."""
        return self.path / "fsherald.sqlite"

    def close(self) -> None:
        """Gives it back; harmless when done already."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives it back."""
        self.close()
