"""What a monitor knows of its tree: the directories, their watches, and the names in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from publisher.watching.coverage import CoverageRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

UNWATCHED = -1


class Directory:
    """One known directory; `wd` is its watch, or UNWATCHED; `entered` if it is, or was, watched.

    `files` are the names that are reported, or were there at the start: everything that is not a directory.
    """

    __slots__ = ("directories", "entered", "files", "name", "parent", "prefix", "wd")

    def __init__(self, path: str, name: str, parent: Directory | None) -> None:
        self.prefix = path if path.endswith("/") else f"{path}/"
        self.name = name
        self.parent = parent
        self.wd = UNWATCHED
        self.entered = False
        self.files: set[str] = set()
        self.directories: dict[str, Directory] = {}

    @property
    def path(self) -> str:
        """The absolute path, spelled as the monitor's own path is."""
        return self.prefix[:-1] or "/"

    @property
    def attached(self) -> bool:
        """Whether it is still part of its tree."""
        directory = self
        while directory.parent is not None:
            if directory.parent.directories.get(directory.name) is not directory:
                return False
            directory = directory.parent
        return True

    def add(self, name: str) -> Directory:
        """A new directory in this one."""
        child = Directory(self.prefix + name, name, self)
        self.directories[name] = child
        return child

    def walk(self) -> Iterator[Directory]:
        """This directory and all below it, parents first. Not recursive: trees may be deeper than the stack."""
        todo = [self]
        while todo:
            directory = todo.pop()
            yield directory
            todo.extend(directory.directories.values())

    def move(self, parent: Directory, name: str) -> None:
        """Takes this directory, with all below it, to another place in the tree."""
        if self.parent is not None:
            self.parent.directories.pop(self.name, None)
        self.parent, self.name = parent, name
        parent.directories[name] = self
        for directory in self.walk():
            assert directory.parent is not None  # noqa: S101 - the root of a tree is never moved; for the type checker
            directory.prefix = f"{directory.parent.prefix}{directory.name}/"


class Watches(Protocol):
    """What a tree needs of an inotify descriptor."""

    def add(self, directory_fd: int, mask: int) -> int:
        """Watches the open directory; returns the watch."""
        ...

    def remove(self, wd: int) -> None:
        """Ends a watch."""
        ...


class Tree:
    """The known directories of one monitor and their watches.

    Attributes:
        root: The monitor's own directory.
        by_wd: The watched directories by their watch.
        coverage: Which are watched and which are not.
        watches: The descriptor; set before anything is watched.
    """

    def __init__(self, path: str, mask: int, root_mask: int) -> None:
        """Knows nothing but the root; watches take `mask`, the root's also `root_mask`."""
        self.root = Directory(path, "", None)
        self.by_wd: dict[int, Directory] = {}
        self.coverage = CoverageRecord()
        self.watches: Watches | None = None
        self._mask = mask
        self._root_mask = root_mask

    def watch(self, directory: Directory, directory_fd: int) -> None:
        """Watches a directory that is open.

        Raises:
            OSError: The kernel refuses: ENOSPC, EACCES.
        """
        assert self.watches is not None  # noqa: S101 - set by arm; for the type checker
        mask = self._mask | (self._root_mask if directory is self.root else 0)
        wd = self.watches.add(directory_fd, mask)
        directory.wd = wd
        directory.entered = True
        self.by_wd[wd] = directory
        self.coverage.watched = len(self.by_wd)
        self.coverage.regained(directory.path)

    def ended(self, directory: Directory) -> None:
        """The kernel has ended a watch."""
        self.by_wd.pop(directory.wd, None)
        directory.wd = UNWATCHED
        self.coverage.watched = len(self.by_wd)

    def remove(self, gone: Directory) -> None:
        """Takes a directory and all below it out of the tree and ends their watches."""
        for directory in gone.walk():
            self.coverage.regained(directory.path)
            if directory.wd != UNWATCHED and self.watches is not None:
                self.watches.remove(directory.wd)
                self.ended(directory)
        if gone.parent is not None:
            gone.parent.directories.pop(gone.name, None)

    def unwatch_all(self) -> None:
        """Ends every watch; what is known stays known."""
        for wd, directory in self.by_wd.items():
            directory.wd = UNWATCHED
            if self.watches is not None:
                self.watches.remove(wd)
        self.by_wd.clear()
        self.coverage.watched = 0

    def find(self, path: str) -> Directory | None:
        """The known directory at an absolute path below the root."""
        directory: Directory | None = self.root
        for name in path[len(self.root.prefix) :].split("/"):
            if directory is not None and name:
                directory = directory.directories.get(name)
        return directory
