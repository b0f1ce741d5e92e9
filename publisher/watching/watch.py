"""How one monitor is watched: by the kernel's reports, and by listing where the kernel does not report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from publisher.watching.inotify import LIMITS

if TYPE_CHECKING:
    from publisher.watching.coverage import CoverageRecord
    from publisher.watching.descriptors import Lease, Sink
    from publisher.watching.inotify import Batch
    from publisher.watching.polling import Poller, TreePoll
    from publisher.watching.reader import Reader
    from publisher.watching.watcher import Watcher

DRAIN_SECONDS = 2.0
"""How long a stopping monitor goes on reading what was queued before the stop."""


class Watch:
    """A watcher with its share of a descriptor and its place in the poller's round.

    `learn`, `restore` and `poll` are for the thread that starts or stops the monitor; `coverage` and `filtered`
    for any; the rest is the reader thread's.
    """

    def __init__(self, reader: Reader, poller: Poller, sink: Sink, watcher: Watcher, poll: TreePoll) -> None:
        self._reader = reader
        self._poller = poller
        self._sink = sink
        self._watcher = watcher
        self._poll = poll
        self._lease: Lease | None = None
        watcher.find_watches = self._find_watches

    @property
    def coverage(self) -> CoverageRecord:
        """Which directories are watched."""
        return self._watcher.tree.coverage

    @property
    def filtered(self) -> int:
        """How many events the filter has dropped."""
        return self._watcher.filtered

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        return self._watcher.busy

    def learn(self) -> None:
        """Watches the tree as it is now, and learns what is in it; raises OmeroFSError, OSError or StoreError.

        On this thread while nobody reads the descriptor yet, so that a large tree stalls no other monitor;
        on the reader thread if the descriptor is shared.
        """
        self._have_descriptor()
        if self._lease is not None and self._lease.shared:
            self._reader.call(self._watcher.learn).result()
        else:
            self._watcher.learn()

    def restore(self) -> None:
        """Takes up what is in the ledger; once activated, the tree is watched and compared step by step."""
        self._have_descriptor()
        self._watcher.restore()

    def _have_descriptor(self) -> None:
        """Takes a share of a descriptor; where the kernel has none left, the tree is polled instead."""
        if not self._watcher.is_share:
            self._reader.call(self._lease_descriptor).result()

    def _find_watches(self) -> None:
        """Tries again to have a descriptor; the reader thread's."""
        self._lease_descriptor()
        if self._lease is not None:
            self._reader.add(self._lease.source)

    def _lease_descriptor(self) -> None:
        try:
            self._lease = self._reader.descriptors.lease(self._sink)
        except OSError as exc:
            if exc.errno not in LIMITS:
                raise
            return
        self._watcher.tree.watches = self._lease.watches

    def activate(self) -> None:
        """Events from now on."""
        if self._lease is not None:
            self._reader.add(self._lease.source)
        self._poller.add(self._poll)

    def step(self, now: float, seconds: float) -> None:
        """Goes on watching and listing what is new, or to be compared, for about as long as it is given."""
        self._watcher.step(now, seconds)

    def due_at(self) -> float | None:
        """When `settle` has something to do."""
        return self._watcher.due_at()

    def settle(self, now: float) -> None:
        """Reports what has turned out to be done."""
        self._watcher.settle(now)

    def handle(self, batch: Batch, now: float) -> None:
        """Takes the kernel's records."""
        self._watcher.handle(batch, now)

    def overflowed(self, now: float) -> None:
        """Has every directory compared with what is known."""
        self._watcher.overflowed(now)

    def poll(self) -> None:
        """Lists at once what is polled; the stopping thread's."""
        self._poll.poll()

    def finish(self, now: float, *, whole: bool) -> None:
        """Reads what the kernel has queued until now and reports what is done; `whole`: whatever it takes."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._lease is not None and self._lease.source.read(now) and time.monotonic() < deadline:
            pass
        self._watcher.finish(now, whole=whole)

    def disarm(self) -> None:
        """Gives everything back; harmless if it was never armed."""
        self._poller.remove(self._poll)
        self._watcher.end()
        lease, self._lease = self._lease, None
        if lease is None:
            return
        if not lease.shared:
            self._reader.remove(lease.source)
        self._reader.descriptors.release(lease)
