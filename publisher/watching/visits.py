"""Visits one directory of a monitor's tree: opens it, has it watched, and notes where it is mounted.

A directory is watched first and listed after, so that nothing falls between. Every directory is opened below
the monitor's root and through no link, and is watched and listed by that one descriptor.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from publisher.beneath import open_directory_beneath
from publisher.watching.inotify import LIMITS, limit_message
from publisher.watching.tree import GONE, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from publisher.ledger import Ledger
    from publisher.roots import Roots
    from publisher.watching.tree import Directory, Tree

NO_DESCRIPTOR = limit_message(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
TWICE = "it stands in another place of the tree too, and the kernel has one watch for both"


class Visits:
    """How the directories of one monitor are reached. The reader thread's, or that of the thread that starts it.

    Attributes:
        awaiting: Directories that are compared when their records are read up to a position, in the order of these.
    """

    def __init__(self, tree: Tree, roots: Roots, ledger: Ledger, *, watches: bool) -> None:
        """Of `tree`, beneath its root in `roots`; `watches` directories unless told not to."""
        self._tree = tree
        self._roots = roots
        self._ledger = ledger
        self._watches = watches
        self._root_fd = -1
        self.awaiting: dict[Directory, int] = {}

    @contextmanager
    def root(self) -> Iterator[None]:
        """Holds the root open, for `open` to start from.

        No longer than a turn takes: an open directory keeps its file system from being unmounted.

        Raises:
            OmeroFSError: It cannot be opened.
        """
        with self._roots.open(self._tree.root.path) as root:
            self._root_fd = root.fd
            yield

    def open(self, directory: Directory) -> int:
        """Opens a directory, which the caller closes; raises OSError."""
        return open_directory_beneath(self._root_fd, directory.prefix[len(self._tree.root.prefix) :])

    def watch(self, directory: Directory, fd: int) -> None:
        """Watches what stands in a directory's place; where the kernel has no watches left it is listed repeatedly.

        If another one loses its watch to this one, it was renamed, and records are queued of the time before: both
        are doubtful until they are read, with all that was known below, and compared after that (`awaiting`).
        """
        directory.doubtful = False
        if not self._watches:
            return
        if self._tree.watches is None:
            self._tree.miss(directory, NO_DESCRIPTOR, limited=True)
            return
        try:
            robbed = self._tree.watch(directory, fd)
        except OSError as exc:
            if exc.errno not in LIMITS:
                raise
            self._tree.unwatch(directory)
            self._tree.miss(directory, limit_message(exc), limited=True)
            return
        if robbed is None:
            return
        self.doubt([directory])
        if robbed.attached and self._is_same(robbed, fd):
            self._tree.miss(robbed, TWICE, limited=True)
        elif robbed.attached:
            self.doubt(below for below in robbed.walk() if below.entered)

    def doubt(self, directories: Iterable[Directory]) -> None:
        """Records of these count for nothing until all are read that are queued now; then they are compared."""
        end = self._tree.watches.end if self._tree.watches is not None else 0
        for directory in directories:
            directory.doubtful = True
            self.awaiting.pop(directory, None)
            self.awaiting[directory] = end

    def _is_same(self, directory: Directory, fd: int) -> bool:
        try:
            other = self.open(directory)
        except OSError:
            return False
        try:
            return os.path.sameopenfile(other, fd)
        finally:
            os.close(other)

    def refused(self, directory: Directory, exc: OSError) -> None:
        """A directory cannot be opened, watched or listed: missed, unless it is gone."""
        directory.overdue = True
        if exc.errno not in GONE:
            self._tree.miss(directory, limit_message(exc))
        elif directory in self._tree.coverage.missing:
            del self._tree.coverage.missing[directory]

    def is_what_was_mounted(self, directory: Directory, found: os.stat_result) -> bool:
        """Takes note of where file systems are mounted; false where one was that is not any more."""
        device = found.st_dev
        parent = directory.parent
        mounted = parent is not None and parent.device not in {0, device}
        if self._tree.coverage.missing and self._is_below_unmounted(parent):
            return False
        if directory.mounted and not mounted:
            self._tree.miss(directory, "the file system that was mounted there is not mounted any more")
            return False
        directory.stands(found)
        if mounted and not directory.mounted:
            directory.mounted = True
            self._ledger.put_directory(directory.row)
        return True

    def remounted_above(self, directory: Directory, found: os.stat_result) -> Directory | None:
        """The directory further up at which something was mounted or unmounted, so that this is another than before."""
        if directory.device in {0, found.st_dev} or self._is_below_unmounted(directory.parent):
            return None
        top, above = directory, directory.parent
        while above is not None and self._is_another_device(above):
            top, above = above, above.parent
        return top if top is not directory else None

    def _is_another_device(self, directory: Directory) -> bool:
        try:
            fd = self.open(directory)
        except OSError:
            return True
        try:
            return os.fstat(fd).st_dev != directory.device
        finally:
            os.close(fd)

    def _is_below_unmounted(self, directory: Directory | None) -> bool:
        """Whether what is found in a directory is only what an unmounted file system had covered."""
        while directory is not None:
            if directory.mounted and directory in self._tree.coverage.missing:
                return True
            directory = directory.parent
        return False

    def load(self, directory: Directory) -> None:
        """Takes a directory's files from the ledger, if that was not done yet."""
        for _ in self.load_steps(directory):
            pass

    def load_steps(self, directory: Directory) -> Iterator[None]:
        """As `load`, a portion at a time."""
        if directory.loaded:
            return
        for known in self._ledger.files(directory.key):
            for file in known:
                directory.know(file.name, fingerprint(file.signature))
            yield
        directory.loaded = True
