"""Watching by comparison, where the kernel does not report changes: NFS, SMB, FUSE.

One thread lists all polled trees in turn, so that a share that hangs stalls no monitor that the kernel
serves; what it finds is handed to the reader thread. A file is done when two listings show it unchanged. What
cannot be listed for the moment is unchanged, not deleted.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from publisher.beneath import open_directory_beneath
from publisher.watching.coverage import CoverageRecord
from schemas.errors import OmeroFSError
from schemas.events import EventInfo
from schemas.monitors import PathMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.filters import Filter
    from publisher.roots import Roots
    from publisher.watching.inotify import Batch
    from publisher.watching.reader import Reader

log = structlog.get_logger(__name__)

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


class Look(NamedTuple):
    """One entry as a listing shows it."""

    is_dir: bool
    inode: int
    size: int
    mtime_ns: int


Snapshot = dict[str, Look]
"""What a tree holds, by path relative to its root, parents before what is in them."""


class Snapshots:
    """Takes snapshots of one monitor's tree. Blocks on the file system; the poller thread's."""

    def __init__(self, path: str, mode: PathMode, roots: Roots, filter_: Filter) -> None:
        self._path = path
        self._mode = mode
        self._roots = roots
        self._filter = filter_
        self._entered: set[str] | None = None

    def take(self, before: Snapshot) -> Snapshot:
        """The tree as it is; a directory that cannot be listed stays as it was `before`.

        Raises:
            OmeroFSError: The root cannot be opened.
            OSError: The root cannot be listed.
        """
        found: Snapshot = {}
        todo = [""]
        with self._roots.open(self._path) as root:
            while todo:
                relative = todo.pop()
                below = self._list(root.fd, relative, before)
                found.update(below)
                todo += [path for path, look in below.items() if look.is_dir and self._enters(path)]
        if self._entered is None and self._mode is PathMode.RECURSE:
            self._entered = {path for path, look in found.items() if look.is_dir}
        return found

    def _enters(self, relative: str) -> bool:
        if self._mode is PathMode.FLAT:
            return False
        return self._entered is None or relative in self._entered

    def _list(self, root_fd: int, relative: str, before: Snapshot) -> Snapshot:
        try:
            fd = open_directory_beneath(root_fd, relative)
        except OSError as exc:
            if not relative:
                raise
            if exc.errno in _GONE:
                return {}
            prefix = f"{relative}/"
            return {path: look for path, look in before.items() if path.startswith(prefix)}
        try:
            return self._entries(fd, relative)
        finally:
            os.close(fd)

    def _entries(self, fd: int, relative: str) -> Snapshot:
        directory = f"{self._path}/{relative}" if relative else self._path
        prefix = f"{relative}/" if relative else ""
        found: Snapshot = {}
        with os.scandir(fd) as entries:
            for entry in entries:
                is_dir = entry.is_dir(follow_symlinks=False)
                wants = self._filter.wants_directory if is_dir else self._filter.wants_file
                if not wants(directory, entry.name):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                size, mtime_ns = (0, 0) if is_dir else (status.st_size, status.st_mtime_ns)
                found[prefix + entry.name] = Look(is_dir, status.st_ino, size, mtime_ns)
        return found


class PolledSink(Protocol):
    """Who takes what polling finds: a monitor. Called on the reader thread."""

    def accept(self, events: list[EventInfo]) -> None:
        """Takes events that are settled and wanted."""
        ...

    def tick(self, now: float) -> None:
        """Goes on with what it was given."""
        ...


class PollingWatch:
    """One monitor watched by listing; see `Watch` for what each method does and where it runs."""

    busy = False

    def __init__(
        self,
        snapshots: Snapshots,
        *,
        path: str,
        filter_: Filter,
        poller: Poller,
        reader: Reader,
        sink: PolledSink,
    ) -> None:
        self.coverage = CoverageRecord()
        self.coverage.polled = True
        self.filtered = 0
        self._snapshots = snapshots
        self._path = path.rstrip("/")
        self._filter = filter_
        self._poller = poller
        self._reader = reader
        self._sink = sink
        self._known: Snapshot = {}
        self._last: Snapshot = {}
        self._active = False

    def arm(self) -> None:
        """Learns the tree as it is."""
        self._known = self._last = self._snapshots.take({})
        self.coverage.watched = 1 + sum(look.is_dir for look in self._known.values())

    def activate(self) -> None:
        """Is polled from now on."""
        self._active = True
        self._poller.add(self)

    def poll(self) -> None:
        """Lists the tree and hands what has changed to the reader thread; the poller thread's."""
        try:
            found = self._snapshots.take(self._last)
        except (OmeroFSError, OSError) as exc:
            reason = str(exc)
            self._reader.call(lambda: self.coverage.lost(self._path, reason)).result()
            return
        self._reader.call(lambda: self._compare(found)).result()

    def _compare(self, found: Snapshot) -> None:
        if not self._active:
            return
        self.coverage.regained(self._path)
        for path in [path for path in reversed(self._known) if path not in found]:
            self._report(path, "Delete", self._known.pop(path))
        for path, look in found.items():
            known = self._known.get(path)
            settled = look.is_dir or self._last.get(path) == look
            if known is None and settled:
                self._known[path] = look
                self._report(path, "Create", look)
            elif known is not None and known != look and settled:
                self._known[path] = look
                self._report(path, "Modify", look)
        self._last = found
        self.coverage.watched = 1 + sum(look.is_dir for look in found.values())
        self._sink.tick(time.monotonic())

    def _report(self, relative: str, event_type: str, look: Look) -> None:
        if not self._filter.wants_event(event_type, is_dir=look.is_dir):
            self.filtered += 1
            return
        path = f"{self._path}/{relative}"
        event = EventInfo(path, path.rpartition("/")[2], "Create", is_dir=look.is_dir or None, origin="scan")
        event.type = event_type  # type: ignore[assignment]  # one of the three above
        self._sink.accept([event])

    def step(self, now: float, directories: int) -> None:
        """Nothing is listed on the reader thread."""

    def due_at(self) -> float | None:
        """Nothing is due but by the poller."""
        return None

    def settle(self, now: float) -> None:
        """Settling happens between two listings."""

    def handle(self, batch: Batch, now: float) -> None:
        """There are no kernel records."""

    def overflowed(self, now: float) -> None:
        """There is no kernel queue."""

    def lose_root(self) -> None:
        """A root that cannot be listed is what it was."""

    def rearm(self, now: float) -> bool:  # noqa: ARG002 - as every Watch is asked
        """Every listing looks anew."""
        return True

    def finish(self, now: float) -> None:
        """What the last listing showed is reported already."""

    def disarm(self) -> None:
        """Is polled no more."""
        self._active = False
        self._poller.remove(self)

    def explain(self, exc: OSError) -> str:
        """Why the root could not be listed."""
        return str(exc.strerror)


class Poller:
    """The one thread that lists polled trees. `start()` returns at once, `stop()` asks, `join()` waits."""

    def __init__(
        self, interval_seconds: float, on_died: Callable[[BaseException], None] | None = None
    ) -> None:
        """Lists each tree every `interval_seconds`, or as often as the listing itself allows."""
        self._interval = interval_seconds
        self._on_died = on_died
        self._lock = threading.Lock()  # guards the list of watches
        self._watches: list[PollingWatch] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end; from any thread, harmless twice or before start."""
        self._stopping.set()

    def join(self, timeout: float | None = None) -> None:
        """Waits for the end; a listing that hangs in the kernel is not waited for longer than `timeout` seconds."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def add(self, watch: PollingWatch) -> None:
        """Polls a tree from now on; from any thread."""
        with self._lock:
            self._watches.append(watch)

    def remove(self, watch: PollingWatch) -> None:
        """Polls it no more; from any thread, harmless twice."""
        with self._lock:
            if watch in self._watches:
                self._watches.remove(watch)

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._interval):
                with self._lock:
                    watches = list(self._watches)
                for watch in watches:
                    if self._stopping.is_set():
                        return
                    watch.poll()
        except Exception as exc:
            if self._on_died is None:
                raise
            self._on_died(exc)
