"""Repeated listings where the kernel does not report: NFS, SMB, FUSE, and directories for which it has no watch.

What a listing shows is compared here, on the poller's thread, with what is known; only differences are handed
to the reader thread. A share that hangs thus stalls no monitor that the kernel serves. What cannot be listed
for the moment is unchanged, not deleted.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from publisher.beneath import open_directory_beneath
from publisher.sighting import look, look_from_afar, signature_of
from publisher.watching.inotify import limit_message
from publisher.watching.mounts import MountTable
from publisher.watching.tree import GONE, fingerprint
from schemas.errors import NotFoundError, OmeroFSError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from publisher.filters import Filter
    from publisher.roots import Roots
    from publisher.sighting import Sighting
    from publisher.storing.ledger_tables import LedgerRoot
    from publisher.watching.reader import Reader
    from publisher.watching.tree import Directory
    from publisher.watching.watcher import Watcher

PORTION = 64
"""How many directories are listed before what they show is handed over."""


class Difference(NamedTuple):
    """How one directory differs from what is known of it."""

    directory: Directory
    files: list[tuple[str, Sighting]]
    missing_files: list[str]
    directories: list[str]
    missing_directories: list[str]


class Refusal(NamedTuple):
    """A directory that cannot be listed for the moment, and why."""

    directory: Directory
    reason: str


class TreePoll:
    """Lists one monitor's tree, or the part of it that the kernel does not tell of."""

    def __init__(
        self,
        path: str,
        root: LedgerRoot,
        *,
        roots: Roots,
        filter_: Filter,
        reader: Reader,
        watcher: Watcher,
        tick: Callable[[float], None],
    ) -> None:
        """`tick` is called on the reader thread after anything was handed over."""
        self._tick = tick
        self._path = path
        self._root_path = Path(path)
        self._root = root
        self._look = look_from_afar if watcher.is_share else look
        self._roots = roots
        self._filter = filter_
        self._reader = reader
        self._watcher = watcher
        self._lock = threading.Lock()  # guards the listing itself: the poller's, or that of a stop

    def remounted(self, paths: Collection[str]) -> None:
        """Something was mounted or unmounted at these paths."""

        def take() -> None:
            self._watcher.remounted(paths)
            self._tick(time.monotonic())

        self._reader.call(take).result()

    def poll(self) -> None:
        """Lists what is to be listed and hands over what has changed. Blocks; not for the reader thread."""
        with self._lock:
            if not self._root_is_there():
                self._reader.call(self._watcher.missing_root).result()
            if not self._watcher.is_polled:
                return
            todo = self._reader.call(self._begin).result()
            if not todo:
                return
            try:
                with self._roots.open(self._path) as root:
                    if not self._root.is_what_was(root.stat()):
                        self._reader.call(self._watcher.missing_root).result()
                        return
                    self._poll(root.fd, todo)
            except NotFoundError:
                self._reader.call(self._watcher.missing_root).result()
            except (OmeroFSError, OSError) as exc:
                reason = str(exc)
                self._reader.call(lambda: self._watcher.root_refused(reason)).result()

    def _root_is_there(self) -> bool:
        """Whether the path leads to the root still: the kernel reports neither renames above it nor mounts."""
        try:
            found = self._root_path.stat()
        except FileNotFoundError:
            return False
        except OSError:
            return True  # nobody can tell
        return self._root.is_what_was(found)

    def _poll(self, root_fd: int, todo: list[Directory]) -> None:
        while todo:
            portion, todo = todo[:PORTION], todo[PORTION:]
            found = [self._list(root_fd, directory) for directory in portion]
            differences = [each for each in found if isinstance(each, Difference)]
            refusals = [each for each in found if isinstance(each, Refusal)]
            if differences or refusals or self._watcher.tree.coverage.missing:
                listed = set(portion) - {refusal.directory for refusal in refusals}
                todo += self._hand_over(differences, refusals, listed)

    def _hand_over(
        self, differences: list[Difference], refusals: list[Refusal], listed: set[Directory]
    ) -> list[Directory]:
        def take() -> list[Directory]:
            adopted = self._watcher.polled(differences, refusals, listed)
            self._tick(time.monotonic())
            return adopted

        return self._reader.call(take).result()

    def _begin(self) -> list[Directory]:
        todo = self._watcher.begin_poll()
        self._tick(time.monotonic())
        return todo

    def _list(self, root_fd: int, directory: Directory) -> Difference | Refusal | None:
        """None if it is as known, or gone: then the listing of its parent says so."""
        self._watcher.load(directory)  # nobody else looks at its files before that
        prefix = directory.spell()
        try:
            fd = open_directory_beneath(root_fd, os.path.relpath(prefix, self._path))
        except OSError as exc:
            return None if exc.errno in GONE else Refusal(directory, limit_message(exc))
        try:
            return self._compare(fd, directory, prefix)
        except OSError as exc:
            return Refusal(directory, limit_message(exc))
        finally:
            os.close(fd)

    def _compare(self, fd: int, directory: Directory, prefix: str) -> Difference | None:
        known = directory.files
        files: dict[str, int] = {}
        names: set[str] = set()
        path = prefix[:-1] or "/"
        wants_file, wants_directory = self._filter.wants_file, self._filter.wants_directory
        with os.scandir(fd) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    if name in directory.directories or wants_directory(path, name):
                        names.add(name)
                elif name in known or wants_file(path, name):
                    try:
                        files[name] = fingerprint(signature_of(entry.stat(follow_symlinks=False)))
                    except FileNotFoundError:
                        continue
        if files == known and names == directory.directories.keys():
            return None
        changed = [name for name, found in files.items() if known.get(name) != found]
        return Difference(
            directory,
            [(name, self._look(prefix + name)) for name in changed],
            [name for name in list(known) if name not in files],
            sorted(names - directory.directories.keys()),
            sorted(directory.directories.keys() - names),
        )


class Poller:
    """The one thread that polls. `start()` returns at once, `stop()` asks, `join()` waits."""

    def __init__(
        self, interval_seconds: float, on_died: Callable[[BaseException], None] | None = None
    ) -> None:
        """Lists each tree every `interval_seconds`, or as often as the listing itself allows."""
        self._interval = interval_seconds
        self._on_died = on_died
        self._lock = threading.Lock()  # guards the list of polls
        self._polls: list[TreePoll] = []
        self._mounts = MountTable()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end; from any thread, harmless twice or before start."""
        self._stopping.set()

    def join(self, timeout: float | None = None) -> None:
        """Waits for the end; a listing that hangs in the kernel is not waited for longer than `timeout` seconds."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def add(self, poll: TreePoll) -> None:
        """Polls a tree from now on; from any thread."""
        with self._lock:
            self._polls.append(poll)

    def remove(self, poll: TreePoll) -> None:
        """Polls it no more; from any thread, harmless twice."""
        with self._lock:
            if poll in self._polls:
                self._polls.remove(poll)

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._interval):
                self._round()
        except Exception as exc:
            if self._on_died is None:
                raise
            self._on_died(exc)
        finally:
            self._mounts.close()

    def _round(self) -> None:
        with self._lock:
            polls = list(self._polls)
        remounted = self._mounts.changes()
        for poll in polls:
            if self._stopping.is_set():
                return
            if remounted:
                poll.remounted(remounted)
            poll.poll()
