"""This project's own reader and watcher without anything behind them: `python -m bench.capturing.emitter ROOT MODE`.

Records are read, followed, settled and filtered as in the service; events go no further, and no ledger is kept.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from itertools import count

from bench.capturing.tally import Tally
from bench.monitored import NoLedger
from publisher.arming import Arming, MonitorSettings
from publisher.filters import Filter
from publisher.ledger import KnownFile
from publisher.monitor import STEP_SECONDS
from publisher.roots import Roots
from publisher.sighting import Signature
from publisher.storing.ledger_tables import DirectoryRow
from publisher.watching.inotify import Batch
from publisher.watching.mounts import identify
from publisher.watching.polling import Poller
from publisher.watching.reader import Reader
from schemas.events import EventInfo
from schemas.monitors import MonitorSpec, MonitorType, PathMode, WatchEventType


class Forgetful(NoLedger):
    """A ledger without tables: it knows of nothing that was there before."""

    def __init__(self) -> None:
        self.position = 0
        self._keys = count(1)

    def new_key(self) -> int:
        return next(self._keys)

    def drop_directory(self, key: int) -> None:
        """Nothing."""

    def learn_directory(self, row: DirectoryRow) -> None:
        """Nothing."""

    def learn_file(self, directory: int, name: str, signature: Signature) -> None:
        """Nothing."""

    def learn(self) -> None:
        """Nothing."""

    def signatures(self, directory: int) -> dict[str, Signature]:  # noqa: ARG002 - as the ledger's
        return {}

    def signature(self, directory: int, name: str) -> Signature | None:  # noqa: ARG002 - as the ledger's
        return None

    def files(self, directory: int) -> Iterator[list[KnownFile]]:  # noqa: ARG002 - as the ledger's
        return iter(())


class Emitter:
    """Stands where a monitor does: gives the watch its turns, and notes what it reports."""

    def __init__(self, root: str, tally: Tally) -> None:
        self._tally = tally
        self._reader, self._poller = Reader(), Poller(2.0)
        spec = MonitorSpec(
            m_type=MonitorType.PERSISTENT,
            e_types=(WatchEventType.ALL,),
            p_mode=PathMode.FOLLOW,
            path_string=root,
        )
        roots = Roots([root])
        arming = Arming(roots, self._reader, self._poller, MonitorSettings())
        self._watch = arming.watch(
            spec, identify(roots, root), filter_=Filter(spec), ledger=Forgetful(), owner=self
        )

    def start(self) -> None:
        """Watches from now on, on the reader's thread."""
        self._reader.start()
        self._poller.start()
        self._watch.learn()
        self._reader.call(self._watch.activate).result()

    def accept(self, events: list[EventInfo]) -> None:
        for event in events:
            if event.type == "Create":
                self._tally.note(event.file_id)

    def handle(self, batch: Batch, now: float) -> None:
        self._watch.handle(batch, now)
        self._proceed(now)

    def tick(self, now: float) -> None:
        self._watch.settle(now)
        self._proceed(now)

    def overflowed(self, now: float) -> None:
        self._watch.overflowed(now)

    def has_room(self) -> bool:
        return True

    def root_lost(self, how: str) -> None:
        raise RuntimeError(how)

    def limited(self, reason: str | None) -> None:
        raise RuntimeError(reason)

    def _proceed(self, now: float) -> None:
        if self._watch.busy:
            self._watch.step(now, STEP_SECONDS)
        self._reader.wake_at(self, now if self._watch.busy else self._watch.due_at())


def main(root: str, mode: str) -> None:
    Emitter(root, Tally(mode)).start()
    while True:
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
