"""The monitors of this service by id: restored from the store at the start, suspended at the end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from publisher.errors import StoreError
from schemas.errors import NoSuchMonitorError, OmeroFSError
from schemas.monitors import MonitorInfo, MonitorState

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.monitor import Monitor
    from publisher.outbox import Outbox
    from publisher.storing.store import Store
    from schemas.monitors import MonitorSpec
    from schemas.topology import Topology

    MakeMonitor = Callable[[str, MonitorSpec, int], Monitor]  # (id, specification, last sequence used)

_log = structlog.get_logger()


class Registry:
    """Knows every monitor. Monitors are changed by the command thread alone; reading is for any thread.

    A monitor that was started before a restart and cannot be started after it (its directory is gone, a share is not
    mounted yet) is Stopped, for it does not watch, and says why in its `last_error`. It stays Started in the store,
    and `retry` starts it as soon as that is possible, until somebody stops it.
    """

    def __init__(self, store: Store, make: MakeMonitor) -> None:
        """Knows no monitor yet; `make(id, spec, last sequence)` builds a Stopped one."""
        self._store = store
        self._make = make
        self._lock = threading.Lock()  # guards the next three
        self._monitors: dict[str, Monitor] = {}
        self._asleep: set[str] = set()
        self._damaged: set[str] = set()

    def restore(self, ended: threading.Event) -> None:
        """Takes up what an earlier run left, and starts what was started then; blocks until that is done.

        `ended` breaks it off between two monitors.
        """
        for stored in self._store.monitors():
            monitor = self.add(stored.id, stored.spec, stored.sequence)
            if stored.damaged:
                self._take_damage(monitor, stored.state)
            if stored.state is MonitorState.STARTED and not ended.is_set():
                with self._lock:
                    self._asleep.add(stored.id)
                self._wake(stored.id, complain=_log.error)
        _log.info("monitors restored", monitors=len(self._monitors), asleep=len(self._asleep))

    def retry(self) -> None:
        """Tries once more to start what could not be started, and to take up what pauses."""
        with self._lock:
            asleep = sorted(self._asleep)
            paused = [monitor for monitor in self._monitors.values() if monitor.paused]
        for monitor_id in asleep:
            self._wake(monitor_id, complain=_log.debug)
        for monitor in paused:
            monitor.retry()

    def add(self, monitor_id: str, spec: MonitorSpec, sequence: int = 0) -> Monitor:
        """Builds a monitor and knows it from now on."""
        monitor = self._make(monitor_id, spec, sequence)
        with self._lock:
            self._monitors[monitor_id] = monitor
        return monitor

    def remove(self, monitor_id: str) -> None:
        """Forgets a monitor."""
        with self._lock:
            self._monitors.pop(monitor_id, None)
            self._asleep.discard(monitor_id)

    def get(self, monitor_id: str) -> Monitor:
        """The monitor of that id.

        Raises:
            NoSuchMonitorError: There is none.
        """
        with self._lock:
            monitor = self._monitors.get(monitor_id)
        if monitor is None:
            raise NoSuchMonitorError(f"there is no monitor {monitor_id[:80]!r}")
        return monitor

    def all(self) -> list[Monitor]:
        """Every monitor, in the order in which they were made."""
        with self._lock:
            return list(self._monitors.values())

    def start(self, monitor_id: str) -> None:
        """Starts a monitor; errors are those of `get` and `Monitor.start`."""
        self.get(monitor_id).start()
        with self._lock:
            self._asleep.discard(monitor_id)

    def stop(self, monitor_id: str) -> None:
        """Stops a monitor, and ends all attempts to start it; errors are those of `get`."""
        self.get(monitor_id).stop()
        with self._lock:
            asleep = monitor_id in self._asleep
            self._asleep.discard(monitor_id)
        if asleep:
            self._store.set_state(monitor_id, MonitorState.STOPPED)

    def suspend(self) -> None:
        """The service ends: records what every monitor has; those that are started stay so in the store."""
        for monitor in self.all():
            monitor.suspend()

    def _take_damage(self, monitor: Monitor, state: MonitorState) -> None:
        if state is MonitorState.STARTED:
            with self._lock:
                self._damaged.add(monitor.id)
            return
        try:
            monitor.tell_damage()
            self._store.forget_damage(monitor.id)
        except StoreError as exc:
            _log.error("the damage of the store could not be told", monitor=monitor.id, reason=str(exc))

    def _make_up(self, monitor_id: str) -> None:
        self.get(monitor_id).make_up()
        self._store.forget_damage(monitor_id)
        with self._lock:
            self._damaged.discard(monitor_id)
            self._asleep.discard(monitor_id)

    def _wake(self, monitor_id: str, *, complain: Callable[..., object]) -> None:
        try:
            if monitor_id in self._damaged:
                self._make_up(monitor_id)
            else:
                self.start(monitor_id)
        except (OmeroFSError, StoreError) as exc:
            complain("monitor cannot be started, it is tried again", monitor=monitor_id, reason=str(exc))


def describe(monitor: Monitor, outbox: Outbox, topology: Topology) -> MonitorInfo:
    """Everything about one monitor, as of now."""
    return MonitorInfo(
        id=monitor.id,
        spec=monitor.spec,
        state=monitor.state,
        exchange=topology.monitor_exchange(monitor.id),
        counters=monitor.counters,
        coverage=monitor.coverage,
        last_error=monitor.last_error,
        outbox=outbox.size(monitor.id)[0],
    )
