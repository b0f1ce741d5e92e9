"""What the kernel's records about directories mean for a monitor's tree: new ones, gone ones, renamed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from publisher.watching.inotify import IN
from publisher.watching.tree import UNWATCHED
from schemas.events import EventInfo
from schemas.monitors import PathMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.filters import Filter
    from publisher.ledger import Ledger
    from publisher.settling import Settler
    from publisher.watching.inotify import Batch
    from publisher.watching.reports import Reports
    from publisher.watching.tree import Directory, Tree
    from publisher.watching.turn import Turn
    from publisher.watching.visits import Visits

EventName = Literal["Create", "Delete"]

_CREATE, _DELETE, _MOVED_FROM, _MOVED_TO = IN.IN_CREATE, IN.IN_DELETE, IN.IN_MOVED_FROM, IN.IN_MOVED_TO


class DirectoryRecords:
    """The directories' half of a watcher. The reader thread's."""

    def __init__(
        self,
        tree: Tree,
        visits: Visits,
        settler: Settler,
        filter_: Filter,
        reports: Reports,
        ledger: Ledger,
        mode: PathMode,
        turn: Turn,
        *,
        later: Callable[[Directory], None],
    ) -> None:
        self._later = later
        self._tree = tree
        self._ledger = ledger
        self._visits = visits
        self._settler = settler
        self._filter = filter_
        self._reports = reports
        self._mode = mode
        self._paired: set[int] = set()
        self._turn = turn

    def take(self, directory: Directory, mask: int, cookie: int, name: str, batch: Batch) -> None:
        """Takes one record about the directory `name` in `directory`."""
        if mask & _MOVED_FROM:
            self._moved_from(directory, cookie, name, batch)
        elif mask & _DELETE:
            self._disappeared(directory, name)
        elif mask & _CREATE:
            self._appeared(directory, name)
        elif mask & _MOVED_TO:
            if cookie in self._paired:
                self._paired.discard(cookie)
            else:
                self._appeared(directory, name)

    def _appeared(self, directory: Directory, name: str) -> None:
        if not self._filter.wants_directory(directory.path, name):
            self._reports.filtered += 1
        elif name not in directory.directories:  # else a listing was faster than the record
            self.adopt(directory, name, [], scanned=False)

    def adopt(self, parent: Directory, name: str, before: list[EventInfo], *, scanned: bool) -> None:
        """Reports a new directory, after what belongs beside it; in Follow it is watched and listed next."""
        child = parent.add(name, self._ledger.new_key())
        child.entered = self._mode is PathMode.FOLLOW
        origin: Literal["scan"] | None = "scan" if scanned else None
        self._reports.send([*before, EventInfo(child.path, name, "Create", is_dir=True, origin=origin)])
        self._ledger.put_directory(child.row)
        if child.entered:
            self._later(child)

    def _disappeared(self, directory: Directory, name: str) -> None:
        gone = directory.directories.get(name)
        if gone is not None:
            self.take_away(gone)

    def _moved_from(self, directory: Directory, cookie: int, name: str, batch: Batch) -> None:
        target = batch.moved_to.get(cookie)
        to = self._tree.by_wd.get(target[0]) if target is not None else None
        moved = directory.directories.get(name)
        if (
            target is None
            or to is None
            or moved is None
            or not self._filter.wants_directory(to.path, target[1])
        ):
            self._disappeared(directory, name)
            return
        self._paired.add(cookie)
        replaced = to.directories.get(target[1])
        if replaced is not None:  # rename(2) replaces only an empty directory
            self._tree.remove(replaced)
            self._ledger.drop_directory(replaced.key)
        if self._mode is PathMode.FOLLOW and not self._filter.by_path:
            self._moved_whole(moved, to, target[1])
        else:
            keys = [directory.key for directory in moved.walk()]
            *below, itself = self._remove(moved)
            self._reports.send_each(below)
            self.adopt(to, target[1], [itself], scanned=False)
            self._drop(keys)

    def take_away(self, gone: Directory, *, scanned: bool = False) -> None:
        """Forgets a directory with all below it and reports that, deepest first."""
        keys = [directory.key for directory in gone.walk()]
        events = self._remove(gone)
        if scanned:
            for event in events:
                event.origin = "scan"
        self._reports.send_each(events)
        self._drop(keys)

    def _drop(self, keys: list[int]) -> None:
        for key in keys:
            self._ledger.drop_directory(key)

    def _remove(self, gone: Directory) -> list[EventInfo]:
        """Takes a directory out of the tree; the Deletes of all that was known in it, deepest first."""
        awaited = self._settler.forget_below(gone.prefix)
        events = [EventInfo(path, path.rpartition("/")[2], "Delete") for path in awaited]
        for directory in reversed(list(gone.walk())):
            self._visits.load(directory)
            events += [*_files(directory, "Delete"), _itself(directory, "Delete")]
        self._tree.remove(gone)
        return events

    def _moved_whole(self, moved: Directory, to: Directory, new_name: str) -> None:
        """It keeps its watches: Deletes under the old path, deepest first, then Creates, parents first."""
        below = list(moved.walk())
        for directory in reversed(below):
            self._visits.load(directory)
            self._reports.send_each(_files(directory, "Delete"))
            if directory is not moved:
                self._reports.send([_itself(directory, "Delete")])
        deleted, old_prefix = _itself(moved, "Delete"), moved.prefix
        moved.move(to, new_name)
        self._settler.moved_below(old_prefix, moved.prefix, self._turn.now)
        self._reports.send([deleted, _itself(moved, "Create")])
        for directory in below:
            if directory is not moved:
                self._reports.send([_itself(directory, "Create")])
            self._reports.send_each(_files(directory, "Create"))
        self._ledger.put_directory(moved.row)
        for directory in below:
            if directory.entered and (directory.overdue or directory.wd == UNWATCHED):
                self._later(directory)


def _itself(directory: Directory, event_type: EventName) -> EventInfo:
    return EventInfo(directory.path, directory.name, event_type, is_dir=True)


def _files(directory: Directory, event_type: EventName) -> list[EventInfo]:
    return [EventInfo(directory.prefix + name, name, event_type) for name in sorted(directory.files)]
