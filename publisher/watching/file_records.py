"""What the kernel's records about files mean: new ones, written ones, gone ones, renamed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from publisher.sighting import glance
from publisher.watching.inotify import IN
from schemas.events import EventInfo

if TYPE_CHECKING:
    from publisher.filters import Filter
    from publisher.settling import Settler, Verdict
    from publisher.sighting import Signature
    from publisher.watching.file_reports import FileReports
    from publisher.watching.inotify import Batch
    from publisher.watching.reports import Reports
    from publisher.watching.tree import Directory, Tree
    from publisher.watching.turn import Turn

_CREATE, _CLOSE_WRITE, _MODIFY, _DELETE = IN.IN_CREATE, IN.IN_CLOSE_WRITE, IN.IN_MODIFY, IN.IN_DELETE
_MOVED_FROM, _MOVED_TO = IN.IN_MOVED_FROM, IN.IN_MOVED_TO


class FileRecords:
    """The files' half of a watcher. The reader thread's."""

    def __init__(
        self, tree: Tree, settler: Settler, filter_: Filter, reports: Reports, files: FileReports, turn: Turn
    ) -> None:
        self._tree = tree
        self._settler = settler
        self._filter = filter_
        self._reports = reports
        self._files = files
        self._turn = turn
        self._by_path = filter_.by_path
        self._paired: set[int] = set()

    def take(self, directory: Directory, mask: int, cookie: int, name: str, batch: Batch) -> None:
        """Takes one record about the file `name` in `directory`."""
        if not self._filter.wants_file(directory.path if self._by_path else "", name):
            self._unwanted(directory, mask, cookie, name, batch)
        elif mask & _MOVED_FROM:
            self._moved_from(directory, cookie, name, batch)
        elif mask & _MOVED_TO and cookie in self._paired:
            self._paired.discard(cookie)
        elif name in directory.directories:
            self._files.forget(directory, name)  # a listing was faster, and told what came after it
        elif mask & _CREATE:
            self._made(directory, mask, name, batch)
        elif mask & _CLOSE_WRITE:
            self._closed(directory, name)
        elif mask & _MODIFY:
            self._modified(directory, name)
        elif mask & _DELETE:
            self._gone(directory, name)
        elif mask & _MOVED_TO:
            self._arrived(directory, name, [])

    def _unwanted(self, directory: Directory, mask: int, cookie: int, name: str, batch: Batch) -> None:
        if mask & _MOVED_FROM:
            self._moved_from(directory, cookie, name, batch)
        elif mask & _CLOSE_WRITE or not mask & (_CREATE | _MODIFY):
            self._reports.filtered += 1

    def _made(self, directory: Directory, mask: int, name: str, batch: Batch) -> None:
        """A file was made, and perhaps written to and closed: `Batch.parse` joins the records of that."""
        if not mask & _CLOSE_WRITE:
            self._created(directory, name, awaits_close=(directory.wd, name) in batch.closed)
            if mask & _MODIFY:
                self._modified(directory, name)
            return
        path = directory.prefix + name
        if name in directory.files or self._settler.holds(path):  # a listing was faster than the record
            if mask & _MODIFY:
                self._modified(directory, name)
            self._closed(directory, name)
            return
        sighting = self._settler.arrived(path, "Create", self._turn.now, closed=True)
        if sighting is not None and not self._is_decided_later(directory, path, "Create", sighting.signature):
            self._files.report(directory, name, "Create", sighting.signature)

    def _created(self, directory: Directory, name: str, *, awaits_close: bool) -> None:
        path = directory.prefix + name
        if name in directory.files or self._settler.holds(path):
            return  # a listing was faster than the record
        if awaits_close:
            self._settler.expect(path, self._turn.now)
            return
        sighting = self._settler.made(path, self._turn.now)
        if sighting is not None:
            self._files.report_found(directory, name, "Create", sighting.signature, scanned=False)

    def _closed(self, directory: Directory, name: str) -> None:
        path = directory.prefix + name
        if self._settler.holds(path):
            settled = self._settler.closed(path, self._turn.now)
            if settled is not None and not self._is_decided_later(
                directory, path, settled.verdict, settled.signature
            ):
                self._files.report(directory, name, settled.verdict, settled.signature)
        elif name in directory.files:
            if self._settler.closed_after_writing(path):
                self._written(directory, name, path)
        else:
            sighting = self._settler.found(path, self._turn.now)
            if sighting is not None:
                self._files.report(directory, name, "Create", sighting.signature)
            elif not self._settler.holds(path):
                directory.overdue = True

    def _written(self, directory: Directory, name: str, path: str) -> None:
        signature = glance(path)
        if self._is_decided_later(directory, path, "Modify", signature):
            return
        if signature is None or signature != self._files.fresh.signature(path):
            self._files.report(directory, name, "Modify", signature)

    def _is_decided_later(
        self, directory: Directory, path: str, verdict: Verdict, signature: Signature | None
    ) -> bool:
        """Whether a file is out of sight because its directory is elsewhere: the record of that decides where it is.

        One that is gone from where it was is told of in its turn; the record of its own end comes after.
        """
        if signature is not None or not directory.is_elsewhere:
            return False
        self._settler.lost_sight(path, verdict, self._turn.now)
        return True

    def _modified(self, directory: Directory, name: str) -> None:
        path = directory.prefix + name
        if name in directory.files and not self._files.is_old_news(path):
            self._settler.written(path, self._turn.now)

    def _gone(self, directory: Directory, name: str) -> None:
        if not self._files.is_another_life(directory.prefix + name):
            self._files.send_deletions(self._files.forget(directory, name))

    def _moved_from(self, directory: Directory, cookie: int, name: str, batch: Batch) -> None:
        """A rename away; its other half, if it leads into the tree, is handled here and now, side by side."""
        another = self._files.is_another_life(directory.prefix + name)
        events = [] if another else self._files.forget(directory, name)
        target = batch.moved_to.get(cookie)
        to = self._tree.watched(target[0]) if target is not None else None
        if target is None or to is None or not self._filter.wants_file(to.path, target[1]):
            self._files.send_deletions(events)
            return
        self._paired.add(cookie)
        if target[1] in to.directories:
            self._files.send_deletions(events)
        else:
            self._arrived(to, target[1], events)

    def _arrived(self, directory: Directory, name: str, before: list[EventInfo]) -> None:
        """A file was renamed to this name; `before` is the Delete of its old one."""
        path = directory.prefix + name
        owed = self._settler.forget(path)
        verdict: Verdict = "Modify" if name in directory.files or "Modify" in owed else "Create"
        sighting = self._settler.arrived(path, verdict, self._turn.now)
        if sighting is None or self._is_decided_later(directory, path, verdict, sighting.signature):
            self._files.send_deletions(before)
        elif sighting.signature is not None and sighting.signature == self._files.fresh.signature(path):
            self._files.send_deletions(before)  # a listing was faster than the record
        else:
            self._files.send_deletions([*before, EventInfo(path, name, verdict)])
            self._files.know(directory, name, sighting.signature)
