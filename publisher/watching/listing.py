"""Finds what is in directories: before they were watched, and where records were lost.

A directory is watched first and listed after, so that nothing falls between. Every directory is opened below
the monitor's root and through no link, and is watched and listed by that one descriptor.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import TYPE_CHECKING, Protocol

from publisher.beneath import open_directory_beneath
from publisher.watching.inotify import limit_message
from publisher.watching.tree import UNWATCHED
from schemas.errors import OmeroFSError

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.filters import Filter
    from publisher.roots import Roots
    from publisher.watching.tree import Directory, Tree

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


class Findings(Protocol):
    """Who is told what a listing finds."""

    def filtered_out(self) -> None:
        """A name that the filter does not want."""
        ...

    def found_file(self, directory: Directory, name: str) -> None:
        """A file that is not known."""
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


class Lister:
    """The directories of one monitor that are still to be watched and listed.

    The reader thread's, but for `list_whole`.
    """

    def __init__(self, tree: Tree, roots: Roots, filter_: Filter, findings: Findings) -> None:
        """Compares `tree` with what is beneath the monitor's path in `roots`."""
        self._tree = tree
        self._roots = roots
        self._filter = filter_
        self._findings = findings
        self._todo: deque[Directory] = deque()

    @property
    def busy(self) -> bool:
        """Whether anything is still to be listed."""
        return bool(self._todo)

    def later(self, directory: Directory) -> None:
        """Has a directory watched, if it is not, and listed in one of the next steps."""
        self._todo.append(directory)

    def compare_all(self) -> None:
        """Has every directory that is, or was, watched listed again, parents first."""
        entered = [directory for directory in self._tree.root.walk() if directory.entered]
        self._todo = deque(dict.fromkeys([*entered, *self._todo]))

    def drop(self) -> None:
        """Nothing is to be listed any more."""
        self._todo.clear()

    def list_whole(self, *, enter: bool) -> None:
        """Watches and learns the root and, with `enter`, all below it, reporting nothing. Blocks for the walk.

        Raises:
            OmeroFSError: The root cannot be opened.
            OSError: The root cannot be watched.
        """
        todo = [self._tree.root]
        with self._roots.open(self._tree.root.path) as root:
            while todo:
                directory = todo.pop()
                try:
                    self._visit(root.fd, directory, self._learn)
                except OSError as exc:
                    if directory is self._tree.root:
                        raise
                    self._refused(directory, exc)
                if enter:
                    todo.extend(directory.directories.values())

    def step(self, count: int) -> None:
        """Watches and lists up to `count` of the directories that wait for it."""
        try:
            root = self._roots.open(self._tree.root.path)
        except OmeroFSError:
            self._todo.clear()  # the root is lost: its own records say so
            return
        with root:
            while self._todo and count > 0:
                count -= 1
                directory = self._todo.popleft()
                if not directory.attached:
                    continue
                try:
                    self._visit(root.fd, directory, self._compare)
                except OSError as exc:
                    self._refused(directory, exc)

    def _visit(self, root_fd: int, directory: Directory, look: Callable[[Directory, int], None]) -> None:
        fd = open_directory_beneath(root_fd, directory.prefix[len(self._tree.root.prefix) :])
        try:
            if directory.wd == UNWATCHED:
                self._tree.watch(directory, fd)
            look(directory, fd)
        finally:
            os.close(fd)

    def _refused(self, directory: Directory, exc: OSError) -> None:
        if exc.errno not in _GONE:
            self._tree.coverage.lost(directory.path, limit_message(exc))

    def _learn(self, directory: Directory, fd: int) -> None:
        path = directory.path
        with os.scandir(fd) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    if self._filter.wants_directory(path, name):
                        directory.add(name)
                elif self._filter.wants_file(path, name):
                    directory.files.add(name)

    def _compare(self, directory: Directory, fd: int) -> None:
        missing_files = set(directory.files)
        missing_directories = dict(directory.directories)
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    missing_directories.pop(entry.name, None)
                    self._see_directory(directory, entry.name)
                else:
                    missing_files.discard(entry.name)
                    self._see_file(directory, entry.name)
        for name in sorted(missing_files):
            self._findings.missing_file(directory, name)
        for below in missing_directories.values():
            self._findings.missing_directory(below)

    def _see_directory(self, directory: Directory, name: str) -> None:
        if name in directory.directories:
            return
        if self._filter.wants_directory(directory.path, name):
            self._findings.found_directory(directory, name)
        else:
            self._findings.filtered_out()

    def _see_file(self, directory: Directory, name: str) -> None:
        if name in directory.files:
            return
        if self._filter.wants_file(directory.path, name):
            self._findings.found_file(directory, name)
        else:
            self._findings.filtered_out()
