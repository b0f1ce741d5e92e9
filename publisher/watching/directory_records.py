"""What the kernel's records about directories mean for a monitor's tree: new ones, gone ones, renamed ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from publisher.sighting import glance
from publisher.watching.inotify import IN
from publisher.watching.tree import UNWATCHED
from schemas.events import EventInfo
from schemas.monitors import PathMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.filters import Filter
    from publisher.ledger import Ledger
    from publisher.settling import Settler
    from publisher.sighting import Signature
    from publisher.watching.file_reports import FileReports
    from publisher.watching.inotify import Batch
    from publisher.watching.reports import Reports
    from publisher.watching.tree import Directory, Tree
    from publisher.watching.turn import Turn
    from publisher.watching.visits import Visits

EventName = Literal["Create", "Delete"]
Origin = Literal["scan"] | None

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
        files: FileReports,
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
        self._files = files
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
            self._begin(directory, name)

    def _begin(self, directory: Directory, name: str) -> None:
        if name not in directory.files:
            self.adopt(directory, name, [], scanned=False)
        elif _is_directory(directory.prefix + name):
            self._files.send_deletions(self._files.forget(directory, name))
            self.adopt(directory, name, [], scanned=False)
        # else a listing was faster, and has told of the file that came after this directory

    def adopt(self, parent: Directory, name: str, before: list[EventInfo], *, scanned: bool) -> None:
        """Reports a new directory, after what belongs beside it; in Follow it is watched and listed next."""
        child = parent.add(name, self._ledger.new_key())
        child.entered = self._mode is PathMode.FOLLOW
        origin: Origin = "scan" if scanned else None
        self._reports.send([*before, EventInfo(child.path, name, "Create", is_dir=True, origin=origin)])
        self._ledger.put_directory(child.row)
        if child.entered:
            self._later(child)

    def _disappeared(self, directory: Directory, name: str) -> None:
        gone = directory.directories.get(name)
        if gone is not None and not self._files.is_another_directory(gone):
            self.take_away(gone)

    def _moved_from(self, directory: Directory, cookie: int, name: str, batch: Batch) -> None:
        target = batch.moved_to.get(cookie)
        to = self._tree.watched(target[0]) if target is not None else None
        moved = directory.directories.get(name)
        if moved is not None and self._files.is_another_directory(moved):
            moved = None
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
        if replaced is not None:
            # A listing was faster, or it took the place of an empty one: known, and told.
            self.take_away(moved)
            if replaced.entered:
                self._later(replaced)
            return
        if self._mode is PathMode.FOLLOW and not self._filter.by_path and moved.visited:
            self._take_unvisited_away(moved)
            self._moved_whole(moved, to, target[1])
        else:
            self._tell_below(moved, origin=None)
            deleted = _itself(moved, "Delete")
            self._tree.remove(moved)
            self.adopt(to, target[1], [deleted], scanned=False)
            self._ledger.drop_directory(moved.key)

    def _take_unvisited_away(self, moved: Directory) -> None:
        """What was not listed in this run may not be there any more: it is found where it is now, or not."""
        for below in list(moved.walk()):
            if below.parent is not None and not below.visited and below.attached:
                below.parent.overdue = True
                self.take_away(below)

    def take_away(self, gone: Directory, *, scanned: bool = False) -> None:
        """Forgets a directory with all below it and reports that, deepest first."""
        origin: Origin = "scan" if scanned else None
        self._tell_below(gone, origin)
        self._tell_gone(gone, origin)
        self._tree.remove(gone)

    def _tell_below(self, gone: Directory, origin: Origin) -> None:
        """The Deletes of all that is known below a directory, deepest first, awaited files before all."""
        for path in self._settler.forget_below(gone.prefix):
            name = path.rpartition("/")[2]
            self._reports.send(
                [
                    EventInfo(path, name, "Create", origin=origin),
                    EventInfo(path, name, "Delete", origin=origin),
                ]
            )
        self._tell_known_below(gone, origin)

    def _tell_known_below(self, gone: Directory, origin: Origin) -> None:
        for directory in reversed(list(gone.walk())):
            self._tell_files_gone(directory, origin)
            if directory is not gone:
                self._tell_gone(directory, origin)

    def _tell_files_gone(self, directory: Directory, origin: Origin) -> None:
        self._visits.load(directory)
        for name in sorted(directory.files):
            self._reports.send([EventInfo(directory.prefix + name, name, "Delete", origin=origin)])
            self._ledger.drop_file(directory.key, name)

    def _tell_gone(self, directory: Directory, origin: Origin) -> None:
        self._reports.send([_itself(directory, "Delete", origin)])
        self._ledger.drop_directory(directory.key)

    def _moved_whole(self, moved: Directory, to: Directory, new_name: str) -> None:
        """It keeps its watches: Deletes under the old path, deepest first, then Creates, parents first."""
        below = list(moved.walk())
        reported: dict[int, dict[str, Signature]] = {}
        if glance(f"{to.prefix}{new_name}") is None:  # it has gone further since, out of sight for now
            reported = {directory.key: self._ledger.signatures(directory.key) for directory in below}
        self._tell_known_below(moved, None)
        deleted, old_prefix, old_key = _itself(moved, "Delete"), moved.prefix, moved.key
        moved.move(to, new_name)
        self._settler.moved_below(old_prefix, moved.prefix, self._turn.now)
        self._reports.send([deleted, _itself(moved, "Create")])
        self._ledger.drop_directory(old_key)
        for directory in below:
            known = reported.get(directory.key, {})
            directory.key = self._ledger.new_key()
            if directory is not moved:
                self._reports.send([_itself(directory, "Create")])
            self._ledger.put_directory(directory.row)
            for name in sorted(directory.files):
                self._files.report_moved(directory, name, known.get(name))
            if directory.entered and (directory.overdue or directory.wd == UNWATCHED):
                self._later(directory)


def _is_directory(path: str) -> bool:
    return Path(path).is_dir() and not Path(path).is_symlink()


def _itself(directory: Directory, event_type: EventName, origin: Origin = None) -> EventInfo:
    return EventInfo(directory.path, directory.name, event_type, is_dir=True, origin=origin)
