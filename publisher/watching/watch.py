"""How one monitor is watched: by the kernel's reports, or by listing where the kernel does not report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from publisher.watching.inotify import limit_message

if TYPE_CHECKING:
    from publisher.watching.coverage import CoverageRecord
    from publisher.watching.descriptors import Lease, Sink
    from publisher.watching.inotify import Batch
    from publisher.watching.reader import Reader
    from publisher.watching.watcher import Watcher

DRAIN_SECONDS = 2.0
"""How long a stopping monitor goes on reading what was queued before the stop."""


class Watch(Protocol):
    """What a monitor needs of the way it is watched.

    `arm` runs on the thread that starts the monitor; the rest is the reader thread's, but for the two
    attributes, which any thread may read.
    """

    @property
    def coverage(self) -> CoverageRecord:
        """Which directories are watched."""
        ...

    @property
    def filtered(self) -> int:
        """How many events the filter has dropped."""
        ...

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        ...

    def arm(self) -> None:
        """Learns the tree as it is and watches it; raises OmeroFSError or OSError."""
        ...

    def activate(self) -> None:
        """Events from now on."""
        ...

    def step(self, now: float, directories: int) -> None:
        """Goes on listing new directories."""
        ...

    def due_at(self) -> float | None:
        """When `settle` has something to do."""
        ...

    def settle(self, now: float) -> None:
        """Reports what has turned out to be done."""
        ...

    def handle(self, batch: Batch, now: float) -> None:
        """Takes kernel records."""
        ...

    def overflowed(self, now: float) -> None:
        """Is told that the kernel dropped records."""
        ...

    def lose_root(self) -> None:
        """Is told that the root is gone: watches nothing until it is back."""
        ...

    def rearm(self, now: float) -> bool:
        """Watches again if the root is back; whether it is."""
        ...

    def finish(self, now: float) -> None:
        """Reports what happened until now."""
        ...

    def disarm(self) -> None:
        """Gives everything back; harmless if it was never armed."""
        ...

    def explain(self, exc: OSError) -> str:
        """What an operator can do about a failure of `arm`."""
        ...


class KernelWatch:
    """Watching by inotify: a watcher and its share of a descriptor."""

    def __init__(self, reader: Reader, sink: Sink, watcher: Watcher) -> None:
        self._reader = reader
        self._sink = sink
        self._watcher = watcher
        self._lease: Lease | None = None

    @property
    def coverage(self) -> CoverageRecord:
        """Which directories are watched."""
        return self._watcher.coverage

    @property
    def filtered(self) -> int:
        """How many events the filter has dropped."""
        return self._watcher.filtered

    @property
    def busy(self) -> bool:
        """Whether new directories wait to be listed."""
        return self._watcher.busy

    def arm(self) -> None:
        """Walks and watches the tree.

        On this thread while nobody reads the descriptor yet, so that a large tree stalls no other monitor;
        on the reader thread if the descriptor is shared.
        """
        lease = self._reader.call(lambda: self._reader.descriptors.lease(self._sink)).result()
        self._lease = lease
        if lease.shared:
            self._reader.call(lambda: self._watcher.arm(lease.watches)).result()
        else:
            self._watcher.arm(lease.watches)

    def activate(self) -> None:
        """Has the descriptor read from now on."""
        if self._lease is not None:
            self._reader.add(self._lease.source)

    def step(self, now: float, directories: int) -> None:
        """Goes on listing new directories."""
        self._watcher.step(now, directories)

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

    def lose_root(self) -> None:
        """Watches nothing until the root is back."""
        self._watcher.lose_root()

    def rearm(self, now: float) -> bool:
        """Watches again if the root is back."""
        return self._watcher.rearm(now)

    def finish(self, now: float) -> None:
        """Reads what the kernel has queued until now, and reports what is done."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._lease is not None and self._lease.source.read(now) and time.monotonic() < deadline:
            pass
        self._watcher.finish(now)

    def disarm(self) -> None:
        """Ends the watches and gives the descriptor back."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        if not lease.shared:
            self._reader.remove(lease.source)
        self._reader.descriptors.release(lease)

    def explain(self, exc: OSError) -> str:
        """What an operator can do about a refusal of the kernel."""
        return limit_message(exc)
