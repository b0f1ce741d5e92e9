"""Which directories of a monitor are watched, which are not, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.monitors import Coverage

if TYPE_CHECKING:
    from publisher.watching.tree import Directory


class CoverageRecord:
    """Counts what should be watched against what is. The reader thread writes, any thread may read.

    Attributes:
        watched: How many directories the kernel, or a repeated listing, tells of.
        polled: Whether repeated listings stand in for the kernel, for all directories or some.
        missing: The directories that the kernel does not tell of although it should, and why.
    """

    def __init__(self) -> None:
        self.watched = 0
        self.polled = False
        self.missing: dict[Directory, str] = {}

    @property
    def problem(self) -> str | None:
        """One sentence on what is missing, None if nothing is."""
        missing = dict(self.missing)
        if not missing:
            return None
        directory, reason = next(iter(missing.items()))
        where = directory.spell()[:-1]
        return f"{len(missing)} directories are not watched, {where!r} first: {reason}"

    def snapshot(self) -> Coverage:
        """The figures for describeMonitor."""
        return Coverage(
            directories=self.watched + len(self.missing), watched=self.watched, polled=self.polled
        )
