"""Learns a tree as it is when a monitor starts: watched from then on, known, and not reported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from publisher.sighting import signature_of
from publisher.watching.tree import fingerprint

if TYPE_CHECKING:
    from publisher.filters import Filter
    from publisher.ledger import Ledger
    from publisher.watching.tree import Directory, Tree
    from publisher.watching.visits import Visits


class Learner:
    """Fills tree and ledger. Belongs to the thread that starts the monitor."""

    def __init__(self, tree: Tree, visits: Visits, filter_: Filter, ledger: Ledger) -> None:
        self._tree = tree
        self._visits = visits
        self._filter = filter_
        self._ledger = ledger

    def learn_whole(self, *, enter: bool) -> None:
        """Watches and learns the root and, with `enter`, all below it, reporting nothing. Blocks for the walk.

        Raises:
            OmeroFSError: The root cannot be opened.
            OSError: The root cannot be listed.
            StoreError: The ledger cannot be written.
        """
        todo = [self._tree.root]
        with self._visits.root():
            while todo:
                directory = todo.pop()
                directory.entered = enter or directory is self._tree.root
                try:
                    if directory.entered:
                        self._learn(directory)
                except OSError as exc:
                    if directory is self._tree.root:
                        raise
                    self._visits.refused(directory, exc)
                self._ledger.learn_directory(directory.row)
                directory.rest()
                todo.extend(directory.directories.values())
        self._ledger.learn()

    def _learn(self, directory: Directory) -> None:
        fd = self._visits.open(directory)
        try:
            self._visits.watch(directory, fd)
            found = os.fstat(fd)
            directory.stands(found)
            directory.mounted = directory.parent is not None and directory.parent.device != directory.device
            self._learn_entries(directory, fd)
        finally:
            os.close(fd)

    def _learn_entries(self, directory: Directory, fd: int) -> None:
        path, key, filter_ = directory.path, directory.key, self._filter
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
                    directory.know(name, fingerprint(signature))
                    learn(key, name, signature)
