"""Turns the kernel's records about one monitor's tree into events, each file once and only when it is done.

The tree says what is new (`tree.py`), the settler what is done (`settling.py`), the lister finds what was
there before its directory was watched (`listing.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from publisher.watching.directory_records import DirectoryRecords
from publisher.watching.inotify import BASE_MASK, IN, ROOT_MASK
from publisher.watching.listing import Lister
from publisher.watching.mounts import Mount
from publisher.watching.reports import Fresh, Reports
from publisher.watching.tree import Tree
from schemas.events import EventInfo
from schemas.monitors import PathMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.filters import Filter
    from publisher.roots import Roots
    from publisher.settling import Settled, Settler, Verdict
    from publisher.watching.coverage import CoverageRecord
    from publisher.watching.inotify import Batch
    from publisher.watching.tree import Directory, Watches

_ROOT_GONE = IN.IN_DELETE_SELF | IN.IN_MOVE_SELF | IN.IN_UNMOUNT
_IS_DIR = IN.IN_ISDIR
_CREATE, _CLOSE_WRITE, _MODIFY, _DELETE = IN.IN_CREATE, IN.IN_CLOSE_WRITE, IN.IN_MODIFY, IN.IN_DELETE
_MOVED_FROM, _MOVED_TO = IN.IN_MOVED_FROM, IN.IN_MOVED_TO


class Watcher:
    """One monitor's view of its tree.

    `arm` runs on the thread that starts the monitor, everything else on the reader thread. Events go to
    `emit`, those that belong side by side in one call.
    """

    def __init__(
        self,
        path: str,
        mode: PathMode,
        *,
        roots: Roots,
        filter_: Filter,
        settler: Settler,
        emit: Callable[[list[EventInfo]], None],
        root_lost: Callable[[str], None],
    ) -> None:
        self._path = path
        self._roots = roots
        self._mount = Mount(0, is_mount_point=False)
        self._mode = mode
        self._filter = filter_
        self._settler = settler
        self._reports = Reports(filter_, emit)
        self._root_lost = root_lost
        mask = BASE_MASK | (_MODIFY if filter_.wants_modify else 0)
        self._tree = Tree(path, mask, ROOT_MASK)
        self._lister = Lister(self._tree, roots, filter_, self)
        self._directories = DirectoryRecords(self._tree, self._lister, settler, filter_, self._reports, mode)
        self._fresh = Fresh()
        self._paired: set[int] = set()
        self._now = 0.0

    @property
    def coverage(self) -> CoverageRecord:
        """Which directories are watched; readable from any thread."""
        return self._tree.coverage

    @property
    def filtered(self) -> int:
        """How many events the filter has dropped; readable from any thread."""
        return self._reports.filtered

    def arm(self, watches: Watches) -> None:
        """Watches the tree as it is; what is there now is known and not reported. Blocks for the walk.

        Raises:
            OmeroFSError: The root cannot be opened.
            OSError: The root cannot be watched.
        """
        self._tree.watches = watches
        self._mount = Mount.of(self._roots, self._path)
        self._lister.list_whole(enter=self._mode is not PathMode.FLAT)

    def handle(self, batch: Batch, now: float) -> None:
        """Takes the records of one read."""
        self._now = self._directories.now = now
        by_wd = self._tree.by_wd
        for wd, mask, cookie, name in batch.records:
            directory = by_wd.get(wd)
            if directory is None:
                continue
            if mask & _IS_DIR and name:
                self._directories.take(directory, mask, cookie, name, batch)
            elif name:
                self._file_record(directory, mask, cookie, name, batch)
            else:
                self._self_record(directory, mask)
        self._fresh.read(drained=batch.drained and not self.busy)

    def overflowed(self, now: float) -> None:
        """The kernel dropped records: every directory is listed again and compared with what is known."""
        self._now = now
        self._lister.compare_all()

    def lose_root(self) -> None:
        """The root is gone, or another directory is in its place: nothing is watched, what is known stays known."""
        self._tree.unwatch_all()
        self._lister.drop()

    def rearm(self, now: float) -> bool:
        """If the root is there again, watches it and has the tree compared with what is known; whether it is."""
        if not self._mount.is_back(self._roots, self._path):
            return False
        self._now = now
        self._lister.compare_all()
        return True

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        return self._lister.busy

    def step(self, now: float, directories: int) -> None:
        """Watches and lists a bounded number of directories that are new, or to be compared."""
        self._now = now
        self._lister.step(directories)

    def due_at(self) -> float | None:
        """When `settle` has something to do."""
        return self._settler.due_at()

    def settle(self, now: float) -> None:
        """Reports the files that have turned out to be done."""
        self._now = now
        for settled in self._settler.due(now):
            self._settled(settled)

    def finish(self, now: float) -> None:
        """The monitor stops: lists what is still to be listed and reports what is done by now."""
        while self.busy:
            self.step(now, 1000)
        for settled in self._settler.last_look():
            self._settled(settled)

    # Records about files

    def _file_record(self, directory: Directory, mask: int, cookie: int, name: str, batch: Batch) -> None:
        if not self._filter.wants_file(directory.path, name):
            if mask & _MOVED_FROM:
                self._moved_from(directory, cookie, name, batch)
            elif not mask & (_CREATE | _MODIFY):
                self._reports.filtered += 1
        elif mask & _CREATE:
            self._created(directory, name, awaits_close=(directory.wd, name) in batch.closed)
        elif mask & _CLOSE_WRITE:
            self._closed(directory, name)
        elif mask & _MODIFY:
            self._modified(directory, name)
        elif mask & _DELETE:
            self._gone(directory, name)
        elif mask & _MOVED_FROM:
            self._moved_from(directory, cookie, name, batch)
        elif mask & _MOVED_TO:
            if cookie in self._paired:
                self._paired.discard(cookie)
            else:
                self._arrived(directory, name, [])

    def _created(self, directory: Directory, name: str, *, awaits_close: bool) -> None:
        path = directory.prefix + name
        if name in directory.files or self._settler.holds(path):
            return  # a listing was faster than the record
        if awaits_close:
            self._settler.expect(path, self._now)
        elif self._settler.made(path, self._now):
            self._report_file(directory, name, "Create")

    def _closed(self, directory: Directory, name: str) -> None:
        path = directory.prefix + name
        if name in directory.files:
            if self._settler.closed_after_writing(path) and not self._is_known_content(path):
                self._report_file(directory, name, "Modify")
        elif self._settler.holds(path):
            verdict = self._settler.closed(path, self._now)
            if verdict is not None:
                self._report_file(directory, name, verdict)
        elif self._settler.found(path, self._now) is not None:
            self._report_file(directory, name, "Create")

    def _modified(self, directory: Directory, name: str) -> None:
        path = directory.prefix + name
        if name in directory.files and not self._is_known_content(path):
            self._settler.written(path, self._now)

    def _gone(self, directory: Directory, name: str) -> None:
        self._reports.send(self._forget_file(directory, name))

    def _forget_file(self, directory: Directory, name: str) -> list[EventInfo]:
        """The Delete of a file that is known, after the Create that it is owed still; nothing for any other."""
        path = directory.prefix + name
        self._fresh.forget(path)
        owed = self._settler.forget(path)
        known = name in directory.files
        directory.files.discard(name)
        if not known and not owed:
            return []
        created = [EventInfo(path, name, "Create")] if "Create" in owed else []
        return [*created, EventInfo(path, name, "Delete")]

    def _moved_from(self, directory: Directory, cookie: int, name: str, batch: Batch) -> None:
        """A rename away; its other half, if it leads into the tree, is handled here and now, side by side."""
        events = self._forget_file(directory, name)
        target = batch.moved_to.get(cookie)
        to = self._tree.by_wd.get(target[0]) if target is not None else None
        if target is None or to is None or not self._filter.wants_file(to.path, target[1]):
            self._reports.send(events)
            return
        self._paired.add(cookie)
        self._arrived(to, target[1], events)

    def _arrived(self, directory: Directory, name: str, before: list[EventInfo]) -> None:
        """A file was renamed to this name; `before` is the Delete of its old one."""
        path = directory.prefix + name
        owed = self._settler.forget(path)
        verdict: Verdict = "Modify" if name in directory.files or "Modify" in owed else "Create"
        directory.files.discard(name)
        if self._settler.arrived(path, verdict, self._now):
            directory.files.add(name)
            before.append(EventInfo(path, name, verdict))
        self._reports.send(before)

    def _self_record(self, directory: Directory, mask: int) -> None:
        if mask & IN.IN_IGNORED:
            self._tree.ended(directory)
        elif directory is self._tree.root and mask & _ROOT_GONE:
            self._root_lost("unmounted" if mask & IN.IN_UNMOUNT else "deleted or renamed")

    # What the lister finds

    def found_file(self, directory: Directory, name: str) -> None:
        """A listing shows a file that is not known: reported if it is done, else awaited."""
        path = directory.prefix + name
        if self._settler.holds(path):
            return
        signature = self._settler.found(path, self._now)
        if signature is not None:
            self._fresh.remember(path, signature)
            self._report_file(directory, name, "Create", scanned=True)

    def found_directory(self, parent: Directory, name: str) -> None:
        """A listing shows a directory that is not known."""
        self._directories.adopt(parent, name, [], scanned=True)

    def missing_file(self, directory: Directory, name: str) -> None:
        """A listing does not show a file that is known."""
        events = self._forget_file(directory, name)
        for event in events:
            event.origin = "scan"
        self._reports.send(events)

    def filtered_out(self) -> None:
        """A listing shows a name that the filter does not want."""
        self._reports.filtered += 1

    def missing_directory(self, directory: Directory) -> None:
        """A listing does not show a directory that is known."""
        self._directories.take_away(directory, scanned=True)

    def _is_known_content(self, path: str) -> bool:
        """Whether a record tells only of what a listing has seen and reported already."""
        return self._fresh.holds(path) and self._settler.signature(path) == self._fresh.signature(path)

    # Reports

    def _settled(self, settled: Settled) -> None:
        parent, _, name = settled.path.rpartition("/")
        directory = self._tree.find(parent)
        if directory is None:
            return
        if settled.scanned and settled.signature is not None:
            self._fresh.remember(settled.path, settled.signature)
        self._report_file(directory, name, settled.verdict, scanned=settled.scanned)

    def _report_file(
        self, directory: Directory, name: str, event_type: Verdict, *, scanned: bool = False
    ) -> None:
        directory.files.add(name)
        self._reports.send(
            [EventInfo(directory.prefix + name, name, event_type, origin="scan" if scanned else None)]
        )
