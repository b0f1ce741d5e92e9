"""A real reader thread, real files and a real outbox, without a broker."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from publisher.admission import check_spec
from publisher.arming import Arming, MonitorSettings
from publisher.ledger import Ledger
from publisher.monitor import Monitor
from publisher.outbox import Outbox
from publisher.roots import Roots
from publisher.storing.store import Store
from publisher.watching.polling import Poller
from publisher.watching.reader import Reader
from schemas.events import EventInfo, EventList, decode_event_list
from schemas.monitors import MonitorSpec
from tests.waiting import eventually

Event = tuple[str, str]


class Site:
    """A root directory and the monitors on it; `died` holds what ended the reader thread, if anything did."""

    def __init__(self, base: Path) -> None:
        self.root = base / "root"
        self.root.mkdir()
        self.died: list[BaseException] = []
        self.stopped: list[str] = []
        self.store = Store(base / "store.db")
        self.outbox = Outbox(self.store)
        self.roots = Roots([str(self.root)])
        self.reader = Reader(self.died.append)
        self.poller = Poller(0.05, self.died.append)
        self.reader.start()
        self.poller.start()
        self.monitors: list[Monitor] = []
        self._marks = itertools.count()
        self._ended = threading.Event()
        self._retries = threading.Thread(target=self._retry, name="retries", daemon=True)
        self._retries.start()

    def monitor(self, *, settings: MonitorSettings | None = None, start: bool = True, **spec: Any) -> Monitor:
        """A monitor on the root, Persistent, All, Follow, in blocks of one unless said otherwise."""
        defaults = {
            "m_type": "Persistent",
            "e_types": ("All",),
            "p_mode": "Follow",
            "path_string": str(self.root),
            "block_size": 1,
        }
        checked = check_spec(MonitorSpec(**(defaults | spec)), self.roots)
        monitor_id = str(uuid.uuid1())
        self.store.add_monitor(monitor_id, checked)
        monitor = self.again(monitor_id, checked, settings=settings)
        if start:
            monitor.start()
        return monitor

    def again(
        self,
        monitor_id: str,
        spec: MonitorSpec,
        *,
        sequence: int = 0,
        settings: MonitorSettings | None = None,
    ) -> Monitor:
        """The monitor of a specification that is stored already, Stopped."""
        arming = Arming(
            self.roots,
            self.reader,
            self.poller,
            settings or MonitorSettings(modify_interval_seconds=0.1, settle_seconds=0.1),
        )
        monitor = Monitor(
            monitor_id,
            spec,
            arming=arming,
            ledger=Ledger(monitor_id, self.store.ledgers),
            outbox=self.outbox,
            sequence=sequence,
            on_stopped=self.stopped.append,
        )
        self.monitors.append(monitor)
        return monitor

    def restart(self, monitor: Monitor) -> Monitor:
        """Ends a monitor as the end of the service does, and starts it as the next start does."""
        monitor.suspend()
        self.monitors.remove(monitor)
        stored = next(each for each in self.store.monitors() if each.id == monitor.id)
        again = self.again(stored.id, stored.spec, sequence=stored.sequence)
        again.start()
        return again

    def blocks(self, monitor: Monitor) -> list[EventList]:
        """Everything a monitor has recorded."""
        entries = self.outbox.pending(monitor.id, 0, max_entries=1_000_000, max_bytes=1 << 40)
        return [decode_event_list(entry.body) for entry in entries]

    def infos(self, monitor: Monitor) -> list[EventInfo]:
        """All its events in order."""
        return [event for block in self.blocks(monitor) for event in block.events]

    def events(self, monitor: Monitor) -> list[Event]:
        """All its events as (type, path relative to the root)."""
        prefix = f"{self.root}/"
        return [(event.type, event.file_id.removeprefix(prefix)) for event in self.infos(monitor)]

    def after(self, monitor: Monitor) -> list[Event]:
        """The events until now: waits for that of a marker file made after everything, and leaves markers out."""
        mark = self.root / f"mark{next(self._marks)}"
        mark.touch()
        eventually(lambda: ("Create", mark.name) in self.events(monitor))
        mark.unlink()
        eventually(lambda: ("Delete", mark.name) in self.events(monitor))
        return [event for event in self.events(monitor) if not event[1].startswith("mark")]

    @contextmanager
    def held(self) -> Iterator[None]:
        """The reader thread reads nothing meanwhile."""
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            release.wait(60)

        self.reader.call(hold)
        assert held.wait(5)
        try:
            yield
        finally:
            release.set()

    def _retry(self) -> None:
        """Stands in for the command thread, which does this once a second."""
        while not self._ended.wait(0.02):
            for monitor in list(self.monitors):
                monitor.retry()

    def close(self) -> None:
        self._ended.set()
        self._retries.join(5)
        self.poller.stop()
        self.poller.join(5)
        self.reader.stop()
        self.reader.join(5)
        self.reader.close()
        self.store.close()
        assert not self.died


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A root to watch; fails the test if the reader thread died."""
    site = Site(tmp_path)
    yield site
    site.close()
