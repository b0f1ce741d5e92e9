"""When a monitor stops by itself: OneShot after its first block, Inactivity when nothing happens. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.events import SystemCode, system_event
from schemas.monitors import MonitorType

if TYPE_CHECKING:
    from schemas.events import EventInfo
    from schemas.monitors import MonitorSpec


class Lifetime:
    """One run of a monitor, from a start to its end; times are monotonic seconds."""

    __slots__ = ("_timeout", "_type", "ends_at")

    def __init__(self, spec: MonitorSpec) -> None:
        self._type = spec.m_type
        self._timeout = spec.timeout
        self.ends_at: float | None = None

    @property
    def ends_with_first_block(self) -> bool:
        """Whether the first block is the last."""
        return self._type is MonitorType.ONE_SHOT

    def begin(self, now: float) -> None:
        """The monitor was started."""
        limited = self._type is not MonitorType.PERSISTENT and self._timeout > 0
        self.ends_at = now + self._timeout if limited else None

    def happened(self, now: float) -> None:
        """An event was accepted."""
        if self._type is MonitorType.INACTIVITY:
            self.ends_at = now + self._timeout

    def over(self, now: float) -> EventInfo | None:
        """The System event to end with if the time is up, else None."""
        if self.ends_at is None or now < self.ends_at:
            return None
        if self._type is MonitorType.ONE_SHOT:
            return system_event(SystemCode.TIMED_OUT, "Timed out", seconds=self._timeout)
        return system_event(SystemCode.INACTIVE, "Inactive", seconds=self._timeout)
