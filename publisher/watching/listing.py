"""Compares directories with what is known of them: new ones, all after records were lost, all after a restart."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from publisher.sighting import signature_of
from publisher.watching.tree import GONE, UNWATCHED, fingerprint
from publisher.watching.visits import TWICE
from schemas.errors import OmeroFSError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from publisher.filters import Filter
    from publisher.watching.tree import Directory, Tree
    from publisher.watching.visits import Visits

PORTION = 128
"""How many entries are looked at before the clock is: what else the reader thread has to do does not wait longer."""


class Findings(Protocol):
    """Who is told what a listing finds."""

    def filtered_out(self) -> None:
        """A name that the filter does not want."""
        ...

    def found_file(self, directory: Directory, name: str) -> None:
        """A file that is not known."""
        ...

    def changed_file(self, directory: Directory, name: str) -> None:
        """A known file with other content."""
        ...

    def found_directory(self, parent: Directory, name: str) -> None:
        """A directory that is not known."""
        ...

    def missing_file(self, directory: Directory, name: str) -> None:
        """A known file is not there."""
        ...

    def missing_directory(self, directory: Directory) -> None:
        """A known directory is not there."""
        ...

    def missing_root(self) -> None:
        """The monitor's own directory cannot be opened."""
        ...


class Lister:
    """The directories of one monitor that are still to be watched and compared. The reader thread's."""

    findings: Findings

    def __init__(self, tree: Tree, visits: Visits, filter_: Filter, has_room: Callable[[], bool]) -> None:
        """Compares `tree` with what is there; `findings` is to be set before the first step."""
        self._tree = tree
        self._visits = visits
        self._filter = filter_
        self._has_room = has_room
        self._todo: deque[Directory] = deque()
        self._visit: Iterator[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do, now or when what is queued is read."""
        return bool(self._visits.awaiting) or self._has_work()

    def later(self, directory: Directory) -> None:
        """Has a directory watched, if it is not, and compared."""
        self._todo.append(directory)

    def compare_all(self, *, doubtful: bool = False) -> None:
        """Has every directory compared that is watched, or should be; what else waits comes after.

        With `doubtful` the records of a directory count for nothing until it is: one that told of its rename, or
        of one further up, may be lost, and it is not known where the directory stands. It is when all that are
        queued now are read, which it makes up for.
        """
        entered = [directory for directory in self._tree.root.walk() if directory.entered]
        if doubtful:
            self._visits.doubt(entered)
        self._todo = deque(dict.fromkeys([*entered, *self._todo]))

    def drop(self) -> None:
        """Nothing is to be listed any more."""
        self._todo.clear()
        self._visits.awaiting.clear()
        self._end_visit()

    def step(self, seconds: float) -> None:
        """Watches and lists the directories that wait for it, for about as long and while there is room."""
        self._take_up()
        self._work(seconds, self._has_room)

    def _work(self, seconds: float, has_room: Callable[[], bool]) -> None:
        if not self._has_work():
            return
        end = time.monotonic() + seconds
        try:
            with self._visits.root():
                while self._has_work() and has_room():
                    self._go_on()
                    if time.monotonic() >= end:
                        return
        except OmeroFSError:
            self.drop()
            self.findings.missing_root()

    def last_step(self, seconds: float) -> None:
        """As `step` when nothing more is read: what is queued still is of the time after the monitor's stop."""
        self._todo.extend(self._visits.awaiting)
        self._visits.awaiting.clear()
        self._work(seconds, lambda: True)

    def _has_work(self) -> bool:
        return bool(self._todo) or self._visit is not None

    def _take_up(self) -> None:
        """Has those compared whose records of before are read."""
        awaiting = self._visits.awaiting
        if awaiting:
            position = self._tree.watches.position if self._tree.watches is not None else 0
            ready = [
                each for each, _ in itertools.takewhile(lambda each: each[1] <= position, awaiting.items())
            ]
            for directory in ready:
                del awaiting[directory]
            self._todo.extend(ready)

    def watch_again(self) -> None:
        """Tries to watch what could not be watched; what can be now is compared later."""
        missing = [each for each, reason in self._tree.coverage.missing.items() if reason is not TWICE]
        with contextlib.suppress(OmeroFSError), self._visits.root():
            for directory in missing:
                if not self._watch_again(directory):
                    return  # the kernel has none for the others either

    def _watch_again(self, directory: Directory) -> bool:
        """Whether the kernel had a watch for it, or something else is in the way."""
        was_limited = directory.limited
        try:
            fd = self._visits.open(directory)
        except OSError:
            return True
        try:
            if not self._visits.is_what_was_mounted(directory, os.fstat(fd)):
                return True
            self._visits.watch(directory, fd)
        except OSError:
            return True
        finally:
            os.close(fd)
        if directory.wd == UNWATCHED:
            return False
        # What is below could not be reached either, unless it was only a watch that was missing.
        self._todo.extend([directory] if was_limited else [each for each in directory.walk() if each.entered])
        return True

    def _go_on(self) -> None:
        if self._visit is None:
            directory = self._todo.popleft()
            if directory in self._visits.awaiting or not directory.attached:
                return
            self._visit = self._visit_steps(directory)
        try:
            next(self._visit)
        except StopIteration:
            self._visit = None

    def _end_visit(self) -> None:
        visit, self._visit = self._visit, None
        if visit is not None:
            visit.close()  # type: ignore[attr-defined]  # a generator: closes the directory that it holds

    def _visit_steps(self, directory: Directory) -> Iterator[None]:
        directory.overdue = False
        yield from self._visits.load_steps(directory)
        try:
            fd = self._visits.open(directory)
            try:
                found = os.fstat(fd)
                above = self._visits.remounted_above(directory, found)
                if above is not None:
                    self._todo.extend(each for each in above.walk() if each.entered)
                elif self._visits.is_what_was_mounted(directory, found):
                    self._visits.watch(directory, fd)
                    if not directory.doubtful:
                        yield from self._compare(directory, fd)
            finally:
                os.close(fd)
        except OSError as exc:
            self._visits.refused(directory, exc)
        directory.rest()

    def _compare(self, directory: Directory, fd: int) -> Iterator[None]:
        files, directories = directory.files, directory.directories
        missing_files = set(files)
        missing_directories = dict(directories)
        with os.scandir(fd) as entries:
            for number, entry in enumerate(entries, 1):
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    missing_directories.pop(name, None)
                    self._see_directory(directory, name)
                else:
                    missing_files.discard(name)
                    self._see_file(directory, name, entry)
                if not number % PORTION:
                    yield
        for number, name in enumerate(sorted(missing_files), 1):
            if name in files and not _is_there(fd, name, directory=False):
                self.findings.missing_file(directory, name)
            if not number % PORTION:
                yield
        for name, below in missing_directories.items():
            if directories.get(name) is below and not _is_there(fd, name, directory=True):
                self.findings.missing_directory(below)

    def _see_directory(self, directory: Directory, name: str) -> None:
        if name in directory.directories:
            return
        if name in directory.files:  # its deletion comes first
            self.findings.missing_file(directory, name)
        if self._filter.wants_directory(directory.path, name):
            self.findings.found_directory(directory, name)
        else:
            self.findings.filtered_out()

    def _see_file(self, directory: Directory, name: str, entry: os.DirEntry[str]) -> None:
        known = directory.files.get(name)
        if known is not None:
            try:
                same = known == fingerprint(signature_of(entry.stat(follow_symlinks=False)))
            except OSError:
                return  # gone meanwhile, which is reported on its own
            if not same:
                self.findings.changed_file(directory, name)
            return
        below = directory.directories.get(name)
        if below is not None:
            self.findings.missing_directory(below)
        if self._filter.wants_file(directory.path, name):
            self.findings.found_file(directory, name)
        else:
            self.findings.filtered_out()


def _is_there(directory_fd: int, name: str, *, directory: bool) -> bool:
    """Looks once more: what came and went while a long directory was listed may or may not have been seen."""
    try:
        found = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except OSError as exc:
        return exc.errno not in GONE
    return stat.S_ISDIR(found.st_mode) == directory
