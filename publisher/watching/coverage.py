"""Which directories of a monitor are watched, which are not, and why."""

from __future__ import annotations

from schemas.monitors import Coverage


class CoverageRecord:
    """Counts what should be watched against what is. The reader thread writes, any thread may read."""

    def __init__(self) -> None:
        self.watched = 0
        self.polled = False
        self._missing: dict[str, str] = {}

    def lost(self, path: str, reason: str) -> None:
        """A directory that should be watched is not."""
        self._missing[path] = reason

    def regained(self, path: str) -> None:
        """It is watched now, or gone."""
        self._missing.pop(path, None)

    @property
    def problem(self) -> str | None:
        """One sentence on what is missing, None if nothing is."""
        missing = dict(self._missing)
        if not missing:
            return None
        path, reason = next(iter(missing.items()))
        return f"{len(missing)} directories are not watched, {path!r} first: {reason}"

    def snapshot(self) -> Coverage:
        """The figures for describeMonitor."""
        return Coverage(
            directories=self.watched + len(self._missing), watched=self.watched, polled=self.polled
        )
