"""Finds what is in directories: before they were watched, where records were lost, and since the last run.

A directory is watched first and listed after, so that nothing falls between. Every directory is opened below
the monitor's root and through no link, and is watched and listed by that one descriptor.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from publisher.beneath import open_directory_beneath
from publisher.sighting import signature_of
from publisher.watching.inotify import LIMITS, limit_message
from publisher.watching.tree import UNWATCHED, fingerprint
from schemas.errors import OmeroFSError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from publisher.filters import Filter
    from publisher.ledger import Ledger
    from publisher.roots import Roots
    from publisher.watching.tree import Directory, Tree

NO_DESCRIPTOR = limit_message(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
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
    """The directories of one monitor that are still to be watched and listed.

    The reader thread's, but for `learn_whole`.
    """

    def __init__(
        self,
        tree: Tree,
        roots: Roots,
        filter_: Filter,
        ledger: Ledger,
        findings: Findings,
        *,
        watches: bool,
    ) -> None:
        """Compares `tree` with what is beneath the monitor's path in `roots`; `watches` it unless told not to."""
        self._watches = watches
        self._tree = tree
        self._roots = roots
        self._filter = filter_
        self._ledger = ledger
        self._findings = findings
        self._todo: deque[Directory] = deque()
        self._visit: Iterator[None] | None = None
        self._root_fd = -1

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        return bool(self._todo) or self._visit is not None

    def later(self, directory: Directory) -> None:
        """Has a directory watched, if it is not, and compared."""
        self._todo.append(directory)

    def compare_all(self) -> None:
        """Has every directory compared that is watched, or should be, after what waits already."""
        entered = [directory for directory in self._tree.root.walk() if directory.entered]
        self._todo = deque(dict.fromkeys([*entered, *self._todo]))

    def drop(self) -> None:
        """Nothing is to be listed any more."""
        self._todo.clear()
        self._end_visit()

    def learn_whole(self, *, enter: bool) -> None:
        """Watches and learns the root and, with `enter`, all below it, reporting nothing. Blocks for the walk.

        Raises:
            OmeroFSError: The root cannot be opened.
            OSError: The root cannot be listed.
        """
        todo = [self._tree.root]
        with self._roots.open(self._tree.root.path) as root:
            self._root_fd = root.fd
            while todo:
                directory = todo.pop()
                directory.entered = enter or directory is self._tree.root
                try:
                    if directory.entered:
                        self._learn(directory)
                except OSError as exc:
                    if directory is self._tree.root:
                        raise
                    self._refused(directory, exc)
                self._ledger.learn_directory(directory.row)
                todo.extend(directory.directories.values())

    def step(self, seconds: float) -> None:
        """Watches and lists the directories that wait for it, for about as long as it is given."""
        end = time.monotonic() + seconds
        try:
            root = self._roots.open(self._tree.root.path)
        except OmeroFSError:
            self.drop()
            self._findings.missing_root()
            return
        with root:
            self._root_fd = root.fd
            while self.busy:
                self._go_on()
                if time.monotonic() >= end:
                    return

    def watch_again(self) -> bool:
        """Tries to watch what could not be watched; what can be now is compared later. Whether all is well."""
        missing = list(self._tree.coverage.missing)
        try:
            root = self._roots.open(self._tree.root.path)
        except OmeroFSError:
            return False
        with root:
            self._root_fd = root.fd
            for directory in missing:
                if not self._watch_again(directory):
                    return False
        return True

    def load(self, directory: Directory) -> None:
        """Takes a directory's files from the ledger, if that was not done yet."""
        for _ in self._load(directory):
            pass

    def _watch_again(self, directory: Directory) -> bool:
        was_limited = directory.limited
        try:
            fd = self._open(directory)
        except OSError:
            return True
        try:
            if not self._is_what_was_mounted(directory, fd):
                return True
            self._watch(directory, fd)
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
            if not directory.attached:
                return
            self._visit = self._visits(directory)
        try:
            next(self._visit)
        except StopIteration:
            self._visit = None

    def _end_visit(self) -> None:
        visit, self._visit = self._visit, None
        if visit is not None:
            visit.close()  # type: ignore[attr-defined]  # a generator: closes the directory that it holds

    def _visits(self, directory: Directory) -> Iterator[None]:
        yield from self._load(directory)
        try:
            fd = self._open(directory)
            try:
                if self._is_what_was_mounted(directory, fd):
                    self._watch(directory, fd)
                    yield from self._compare(directory, fd)
            finally:
                os.close(fd)
        except OSError as exc:
            self._refused(directory, exc)

    def _load(self, directory: Directory) -> Iterator[None]:
        if directory.loaded:
            return
        for known in self._ledger.files(directory.key):
            directory.files.update((file.name, fingerprint(file.signature)) for file in known)
            yield
        directory.loaded = True

    def _open(self, directory: Directory) -> int:
        return open_directory_beneath(self._root_fd, directory.prefix[len(self._tree.root.prefix) :])

    def _watch(self, directory: Directory, fd: int) -> None:
        """Watches a directory if it is not; where the kernel has no watches left it is listed from time to time."""
        if directory.wd != UNWATCHED or not self._watches:
            return
        if self._tree.watches is None:
            self._tree.miss(directory, NO_DESCRIPTOR, limited=True)
            return
        try:
            self._tree.watch(directory, fd)
        except OSError as exc:
            if exc.errno not in LIMITS:
                raise
            self._tree.miss(directory, limit_message(exc), limited=True)

    def _refused(self, directory: Directory, exc: OSError) -> None:
        if exc.errno not in GONE:
            self._tree.miss(directory, limit_message(exc))
        elif directory in self._tree.coverage.missing:
            del self._tree.coverage.missing[directory]

    def _is_what_was_mounted(self, directory: Directory, fd: int) -> bool:
        """Takes note of where file systems are mounted; false where one was that is not any more."""
        device = os.fstat(fd).st_dev
        parent = directory.parent
        mounted = parent is not None and parent.device not in {0, device}
        if directory.mounted and not mounted:
            self._tree.miss(directory, "the file system that was mounted there is not mounted any more")
            return False
        directory.device = device
        if mounted and not directory.mounted:
            directory.mounted = True
            self._ledger.put_directory(directory.row)
        return True

    def _learn(self, directory: Directory) -> None:
        fd = self._open(directory)
        try:
            self._watch(directory, fd)
            directory.device = os.fstat(fd).st_dev
            directory.mounted = directory.parent is not None and directory.parent.device != directory.device
            self._learn_entries(directory, fd)
        finally:
            os.close(fd)

    def _learn_entries(self, directory: Directory, fd: int) -> None:
        path, key, files, filter_ = directory.path, directory.key, directory.files, self._filter
        learn, new_key = self._ledger.learn_file, self._ledger.new_key
        with os.scandir(fd) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    if filter_.wants_directory(path, name):
                        directory.add(name, new_key())
                elif filter_.wants_file(path, name):
                    try:
                        signature = signature_of(entry.stat(follow_symlinks=False))
                    except FileNotFoundError:
                        continue
                    files[name] = fingerprint(signature)
                    learn(key, name, signature)

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
                self._findings.missing_file(directory, name)
            if not number % PORTION:
                yield
        for name, below in missing_directories.items():
            if directories.get(name) is below and not _is_there(fd, name, directory=True):
                self._findings.missing_directory(below)

    def _see_directory(self, directory: Directory, name: str) -> None:
        if name in directory.directories:
            return
        if name in directory.files:  # its deletion comes first
            self._findings.missing_file(directory, name)
        if self._filter.wants_directory(directory.path, name):
            self._findings.found_directory(directory, name)
        else:
            self._findings.filtered_out()

    def _see_file(self, directory: Directory, name: str, entry: os.DirEntry[str]) -> None:
        known = directory.files.get(name)
        if known is not None:
            try:
                same = known == fingerprint(signature_of(entry.stat(follow_symlinks=False)))
            except OSError:
                return  # gone meanwhile, which is reported on its own
            if not same:
                self._findings.changed_file(directory, name)
            return
        below = directory.directories.get(name)
        if below is not None:
            self._findings.missing_directory(below)
        if self._filter.wants_file(directory.path, name):
            self._findings.found_file(directory, name)
        else:
            self._findings.filtered_out()


def _is_there(directory_fd: int, name: str, *, directory: bool) -> bool:
    """Looks once more: what came and went while a long directory was listed may or may not have been seen."""
    try:
        found = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except OSError as exc:
        return exc.errno not in GONE
    return stat.S_ISDIR(found.st_mode) == directory
