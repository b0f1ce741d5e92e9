"""Which inotify descriptor serves which monitor.

A monitor has a descriptor, and so a kernel queue, of its own while there are any to be had; the kernel grants
a user 128 (`fs.inotify.max_user_instances`). After that monitors share one: it knows a directory once, so
there a watch serves every monitor that wants the directory.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

from publisher.watching.inotify import IN, SHARED_MASK, Batch, Inotify

if TYPE_CHECKING:
    from publisher.watching.tree import Watches

OWN_DESCRIPTORS = 64
"""How many monitors get a descriptor of their own; the rest of the user's share is for other programs."""


class Sink(Protocol):
    """Who takes a descriptor's records: a monitor. Called on the reader thread."""

    def handle(self, batch: Batch, now: float) -> None:
        """Takes the records of one read."""
        ...

    def overflowed(self, now: float) -> None:
        """Is told that the kernel dropped records."""
        ...


class Source(Protocol):
    """A descriptor that the reader polls."""

    fd: int

    @property
    def behind(self) -> bool:
        """Whether records that were taken from the kernel wait to be read."""
        ...

    def take(self) -> None:
        """Makes room in the kernel's queue."""
        ...

    def read(self, now: float) -> bool:
        """Passes on what one read gives; false when nothing was queued."""
        ...


class Lease(Protocol):
    """A monitor's share of a descriptor."""

    shared: bool
    source: Source
    watches: Watches

    def close(self) -> None:
        """Gives it back with all its watches."""
        ...


class _Descriptor:
    """What both kinds have in common: an inotify descriptor; raises OSError (EMFILE) when the kernel has none left."""

    def __init__(self) -> None:
        self._inotify = Inotify()
        self.fd = self._inotify.fd

    @property
    def behind(self) -> bool:
        """Whether records wait to be read."""
        return self._inotify.behind

    @property
    def position(self) -> int:
        """How far its records were read."""
        return self._inotify.position

    @property
    def end(self) -> int:
        """The position behind the last record that is queued now."""
        return self._inotify.end

    def take(self) -> None:
        """Makes room in the kernel's queue."""
        self._inotify.take()

    def close(self) -> None:
        """Gives the descriptor back; the kernel drops its watches."""
        self._inotify.close()


class OwnDescriptor(_Descriptor):
    """A descriptor that serves one monitor."""

    shared = False

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink
        self.watches: Watches = self._inotify
        self.source: Source = self

    def read(self, now: float) -> bool:
        """Passes one read's records to the monitor."""
        batch = self._inotify.read()
        if batch is None:
            return False
        if batch.overflowed:
            self._sink.overflowed(now)
        self._sink.handle(batch, now)
        return True


class SharedDescriptor(_Descriptor):
    """A descriptor for any number of monitors. All of it belongs to the reader thread."""

    def __init__(self) -> None:
        super().__init__()
        self._leases: dict[int, list[SharedLease]] = {}

    def read(self, now: float) -> bool:
        """Passes one read's records on, to each monitor those of its own watches."""
        batch = self._inotify.read()
        if batch is None:
            return False
        parts: dict[SharedLease, Batch] = {}
        for record in batch.records:
            for lease in self._leases.get(record[0], ()):
                part = parts.get(lease)
                if part is None:
                    part = parts[lease] = batch.part()
                part.records.append(record)
            if record[1] & IN.IN_IGNORED:
                self._leases.pop(record[0], None)
        if batch.overflowed:
            for lease in {lease for leases in self._leases.values() for lease in leases}:
                lease.sink.overflowed(now)
        for lease, part in parts.items():
            lease.sink.handle(part, now)
        return True

    def add(self, lease: SharedLease, directory_fd: int, mask: int) -> int:
        """Watches a directory for one more monitor."""
        wd = self._inotify.add(directory_fd, mask | SHARED_MASK)
        leases = self._leases.setdefault(wd, [])
        if lease not in leases:
            leases.append(lease)
        return wd

    def remove(self, lease: SharedLease, wd: int) -> None:
        """Ends one monitor's interest; the watch goes with the last."""
        leases = self._leases.get(wd)
        if leases is None or lease not in leases:
            return
        leases.remove(lease)
        if not leases:
            del self._leases[wd]
            self._inotify.remove(wd)


class SharedLease:
    """One monitor's share of the shared descriptor."""

    shared = True

    def __init__(self, descriptor: SharedDescriptor, sink: Sink) -> None:
        self._descriptor = descriptor
        self._wds: set[int] = set()
        self.sink = sink
        self.watches: Watches = self
        self.source: Source = descriptor

    @property
    def position(self) -> int:
        """How far the descriptor's records were read, whichever monitor they were for."""
        return self._descriptor.position

    @property
    def end(self) -> int:
        """The position behind the last record that is queued there now."""
        return self._descriptor.end

    def add(self, directory_fd: int, mask: int) -> int:
        """Watches a directory for this monitor."""
        wd = self._descriptor.add(self, directory_fd, mask)
        self._wds.add(wd)
        return wd

    def remove(self, wd: int) -> None:
        """Ends this monitor's interest in a watch."""
        self._wds.discard(wd)
        self._descriptor.remove(self, wd)

    def close(self) -> None:
        """Ends this monitor's interest in all its watches."""
        for wd in list(self._wds):
            self.remove(wd)


class Descriptors:
    """Hands out shares of descriptors and keeps the shared one in reserve."""

    def __init__(self) -> None:
        self._own = 0
        self._shared: SharedDescriptor | None = None

    @property
    def shared(self) -> SharedDescriptor:
        """The shared descriptor, made when first asked for.

        Raises:
            OSError: EMFILE when the kernel has none left.
        """
        if self._shared is None:
            self._shared = SharedDescriptor()
        return self._shared

    def lease(self, sink: Sink) -> Lease:
        """A descriptor for `sink`: its own if there is one, else a share.

        Raises:
            OSError: EMFILE when there is not even one to share.
        """
        shared = self.shared  # first of all: when the kernel has only one left, it is for everybody
        if self._own < OWN_DESCRIPTORS:
            try:
                own = OwnDescriptor(sink)
            except OSError as exc:
                if exc.errno not in {errno.EMFILE, errno.ENFILE}:
                    raise
            else:
                self._own += 1
                return own
        return SharedLease(shared, sink)

    def release(self, lease: Lease) -> None:
        """Takes a share back."""
        lease.close()
        if not lease.shared:
            self._own -= 1

    def close(self) -> None:
        """Closes the shared descriptor."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None
