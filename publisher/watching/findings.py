"""What listings mean: of new directories, of all after records were lost, of those that are polled."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from publisher.sighting import is_another_file
from publisher.watching.tree import GONE, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.filters import Filter
    from publisher.ledger import Ledger
    from publisher.settling import Settler, Verdict
    from publisher.watching.directory_records import DirectoryRecords
    from publisher.watching.file_reports import FileReports
    from publisher.watching.polling import Difference
    from publisher.watching.reports import Reports
    from publisher.watching.tree import Directory
    from publisher.watching.turn import Turn


class ListingFindings:
    """Reports how a listing differs from what is known. The reader thread's."""

    def __init__(
        self,
        settler: Settler,
        directories: DirectoryRecords,
        files: FileReports,
        reports: Reports,
        turn: Turn,
        filter_: Filter,
        ledger: Ledger,
        root_lost: Callable[[str], None],
        has_room: Callable[[], bool],
    ) -> None:
        self._has_room = has_room
        self._settler = settler
        self._directories = directories
        self._files = files
        self._reports = reports
        self._turn = turn
        self._filter = filter_
        self._ledger = ledger
        self._root_lost = root_lost

    def found_file(self, directory: Directory, name: str) -> None:
        """A listing shows a file that is not known: reported if it is done, else awaited."""
        path = directory.prefix + name
        sighting = self._settler.found(path, self._turn.now)
        if sighting is not None:
            self._files.report_found(directory, name, "Create", sighting.signature)
        elif not self._settler.holds(path):
            directory.overdue = True

    def changed_file(self, directory: Directory, name: str) -> None:
        """A listing shows a known file with other content: reported if that is final, else awaited."""
        path = directory.prefix + name
        if self._is_new(directory, name):
            self.missing_file(directory, name)
            self.found_file(directory, name)
            return
        sighting = self._settler.changed(path, self._turn.now)
        if sighting is None:
            directory.overdue = not self._settler.attends(path) or directory.overdue
            return
        if sighting.signature != self._files.fresh.signature(path):
            self._files.report_found(directory, name, "Modify", sighting.signature)

    def found_directory(self, parent: Directory, name: str) -> None:
        """A listing shows a directory that is not known.

        The listed directory may have been renamed since, and this have come into it at its new place: the record
        of that tells.
        """
        if _is_gone(parent.prefix + name):
            parent.overdue = True
        else:
            self._directories.adopt(parent, name, [], scanned=True)
            self._files.remember_directory(parent.directories[name])

    def missing_file(self, directory: Directory, name: str) -> None:
        """A listing does not show a file that is known."""
        events = self._files.forget(directory, name)
        for event in events:
            event.origin = "scan"
        self._files.send_deletions(events)

    def filtered_out(self) -> None:
        """A listing shows a name that the filter does not want."""
        self._reports.filtered += 1

    def missing_directory(self, directory: Directory) -> None:
        """A listing does not show a directory that is known."""
        self._directories.take_away(directory, scanned=True)

    def missing_root(self) -> None:
        """The monitor's own directory is not there any more."""
        self._root_lost("deleted, renamed or unmounted")

    def take(self, difference: Difference) -> None:
        """What repeated listings show of one directory, while there is room."""
        directory = difference.directory
        for name in difference.missing_files:
            if name in directory.files:
                self.missing_file(directory, name)
        for name in difference.missing_directories:
            if name in directory.directories:
                self.missing_directory(directory.directories[name])
        for name in difference.directories:
            if name not in directory.directories:
                self.found_directory(directory, name)
        for name, sighting in difference.files:
            if not self._has_room():
                return
            if sighting.signature is not None and directory.files.get(name) == fingerprint(
                sighting.signature
            ):
                continue  # reported since it was listed
            if name in directory.files and self._is_new(directory, name):
                self.missing_file(directory, name)
            verdict: Verdict = "Modify" if name in directory.files else "Create"
            if self._settler.polled(directory.prefix + name, verdict, sighting, self._turn.now):
                self._files.report(directory, name, verdict, sighting.signature, scanned=True)

    def _is_new(self, directory: Directory, name: str) -> bool:
        """Whether a known name stands for a new file, to a subscriber of creations alone."""
        if self._filter.wants_modify:
            return False
        before = self._ledger.signature(directory.key, name)
        return before is not None and is_another_file(directory.prefix + name, before)


def _is_gone(path: str) -> bool:
    try:
        os.lstat(path)
    except OSError as exc:
        return exc.errno in GONE
    return False
