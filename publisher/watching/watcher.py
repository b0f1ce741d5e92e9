"""Turns the kernel's records about one monitor's tree into events, each file once and only when it is done.

The tree says what is new (`tree.py`), the settler what is done (`settling.py`), the lister finds what was
there before its directory was watched (`listing.py`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from publisher.sighting import UNSEEN, glance
from publisher.watching.directory_records import DirectoryRecords
from publisher.watching.inotify import BASE_MASK, IN, ROOT_MASK
from publisher.watching.listing import Lister
from publisher.watching.reports import Fresh, Reports
from publisher.watching.tree import Tree, fingerprint
from schemas.events import EventInfo
from schemas.monitors import PathMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.filters import Filter
    from publisher.ledger import Ledger
    from publisher.roots import Roots
    from publisher.settling import Settled, Settler, Verdict
    from publisher.sighting import Signature
    from publisher.watching.inotify import Batch
    from publisher.watching.polling import Difference, Refusal
    from publisher.watching.tree import Directory

_ROOT_GONE = IN.IN_DELETE_SELF | IN.IN_MOVE_SELF | IN.IN_UNMOUNT
_IS_DIR = IN.IN_ISDIR
_CREATE, _CLOSE_WRITE, _MODIFY, _DELETE = IN.IN_CREATE, IN.IN_CLOSE_WRITE, IN.IN_MODIFY, IN.IN_DELETE
_MOVED_FROM, _MOVED_TO = IN.IN_MOVED_FROM, IN.IN_MOVED_TO

FINISH_SECONDS = 1.0


class Watcher:
    """One monitor's view of its tree.

    `learn` and `restore` run on the thread that starts the monitor, everything else on the reader thread. Events
    go to `emit`, those that belong side by side in one call; the ledger hears of each after that.
    """

    def __init__(
        self,
        path: str,
        mode: PathMode,
        *,
        roots: Roots,
        filter_: Filter,
        settler: Settler,
        ledger: Ledger,
        emit: Callable[[list[EventInfo]], None],
        root_lost: Callable[[str], None],
        limited: Callable[[str | None], None],
        is_share: bool = False,
    ) -> None:
        """`limited` hears why when the kernel has no watches left, None when it has again.

        With `is_share` the kernel does not report what others change: everything is listed repeatedly.
        """
        self.is_share = is_share
        self.find_watches: Callable[[], None] = lambda: None
        self._active = True
        self._limited = limited
        self._limit: str | None = None
        self._adopted: list[Directory] = []
        self._mode = mode
        self._filter = filter_
        self._settler = settler
        self._ledger = ledger
        self._reports = Reports(filter_, emit)
        self._root_lost = root_lost
        mask = BASE_MASK | (_MODIFY if filter_.wants_modify else 0)
        self.tree = Tree(path, mask, ROOT_MASK, ledger.new_key())
        self.tree.coverage.polled = is_share
        self._lister = Lister(self.tree, roots, filter_, ledger, self, watches=not is_share)
        self._directories = DirectoryRecords(
            self.tree, self._lister, settler, filter_, self._reports, ledger, mode, later=self._later
        )
        self._fresh = Fresh()
        self._paired: set[int] = set()
        self._dropped: list[tuple[int, str]] = []
        self._now = 0.0

    @property
    def filtered(self) -> int:
        """How many events the filter has dropped; readable from any thread."""
        return self._reports.filtered

    def learn(self) -> None:
        """Watches the tree as it is; what is there now is known and not reported. Blocks for the walk.

        Raises:
            OmeroFSError: The root cannot be opened.
            OSError: The root cannot be listed.
            StoreError: The ledger cannot be written.
        """
        self._lister.learn_whole(enter=self._mode is not PathMode.FLAT)
        self._ledger.learn()
        self._count_share()

    def restore(self) -> None:
        """Knows what the ledger does, and has all of it watched and compared by `step`; raises StoreError."""
        self.tree.restore(self._ledger.directories())
        self._count_share()
        if not self.is_share:
            self._lister.compare_all()

    def _count_share(self) -> None:
        if self.is_share:
            self.tree.coverage.watched = sum(directory.entered for directory in self.tree.root.walk())

    def handle(self, batch: Batch, now: float) -> None:
        """Takes the records of one read."""
        self._now = self._directories.now = now
        by_wd = self.tree.by_wd
        for wd, mask, cookie, name in batch.records:
            directory = by_wd.get(wd)
            if directory is None:
                continue
            if mask & _IS_DIR and name:
                self._directories.take(directory, mask, cookie, name, batch)
            elif name:
                self._file_record(directory, mask, cookie, name, batch)
            else:
                self._self_record(directory, mask)
        if batch.drained:
            self._fresh.drained()

    def overflowed(self, now: float) -> None:
        """The kernel dropped records: every directory is listed again and compared with what is known."""
        self._now = now
        self._settler.hurry(now)
        self._lister.compare_all()

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        return self._lister.busy

    def step(self, now: float, seconds: float, *, drained: bool) -> None:
        """Watches and lists directories that are new, or to be compared, for about as long as it is given.

        `drained` says that no record waits that was queued before the last step.
        """
        self._now = self._directories.now = now
        if drained:
            self._fresh.drained()
        self._lister.step(seconds)
        self.tell_limit()

    def due_at(self) -> float | None:
        """When `settle` has something to do."""
        return self._settler.due_at()

    def settle(self, now: float) -> None:
        """Reports the files that have turned out to be done."""
        self._now = now
        for settled in self._settler.due(now):
            self._settled(settled)

    def finish(self, now: float, *, whole: bool) -> None:
        """The monitor stops: lists what is still to be listed and reports what is done by now.

        Not `whole`: what takes longer is left to the comparison at the next start.
        """
        if self.busy:
            self.step(now, FINISH_SECONDS, drained=False)
        while whole and self.busy:
            self.step(now, FINISH_SECONDS, drained=False)
        for settled in self._settler.last_look():
            self._settled(settled)

    def end(self) -> None:
        """Nothing is reported any more."""
        self._active = False
        self._lister.drop()

    # What is polled

    @property
    def is_polled(self) -> bool:
        """Whether there is anything for the poller to do; readable from any thread."""
        return self.is_share or bool(self.tree.coverage.missing)

    def begin_poll(self) -> list[Directory]:
        """Tries again to watch what could not be watched, and returns the directories that are to be listed."""
        if not self._active:
            return []
        self._settler.begin_poll()
        if self.is_share:
            listed = [directory for directory in self.tree.root.walk() if directory.entered]
            self.tree.coverage.watched = len(listed) - len(self.tree.coverage.missing)
            return listed
        if self.tree.watches is None:
            self.find_watches()
        self._lister.watch_again()
        self.tell_limit()
        return [directory for directory in self.tree.coverage.missing if directory.limited]

    def missing_root(self) -> None:
        """The monitor's own directory is not there any more."""
        if self._active:
            self._root_lost("deleted, renamed or unmounted")

    def root_refused(self, reason: str) -> None:
        """The monitor's own directory cannot be opened for the moment."""
        if self._active:
            self.tree.coverage.missing[self.tree.root] = reason

    def polled(
        self, differences: list[Difference], refusals: list[Refusal], listed: set[Directory]
    ) -> list[Directory]:
        """Takes what a portion of listings shows; returns the directories that are to be listed next."""
        if not self._active:
            return []
        self._now = self._directories.now = time.monotonic()
        missing = self.tree.coverage.missing
        for refusal in refusals:
            missing[refusal.directory] = refusal.reason
        for directory in listed:
            if not directory.limited:
                missing.pop(directory, None)
        for difference in differences:
            if difference.directory.attached:
                self._take_difference(difference)
        adopted, self._adopted = self._adopted, []
        return adopted

    def _take_difference(self, difference: Difference) -> None:
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
            verdict: Verdict = "Modify" if name in directory.files else "Create"
            if self._settler.polled(directory.prefix + name, verdict, sighting, self._now):
                self._report_file(directory, name, verdict, sighting.signature, scanned=True)

    def tell_limit(self) -> None:
        """Says so when the kernel has no watches left for some directory, and when it has again."""
        missing = self.tree.coverage.missing
        limit = next((reason for directory, reason in missing.items() if directory.limited), None)
        if (limit is None) != (self._limit is None):
            self._limit = limit
            self.tree.coverage.polled = self.is_share or limit is not None
            self._limited(limit)

    def _later(self, directory: Directory) -> None:
        """Has a new directory watched and listed, or polled."""
        if self.is_share:
            self._adopted.append(directory)
        else:
            self._lister.later(directory)

    # Records about files

    def _file_record(self, directory: Directory, mask: int, cookie: int, name: str, batch: Batch) -> None:
        if not self._filter.wants_file(directory.path, name):
            if mask & _MOVED_FROM:
                self._moved_from(directory, cookie, name, batch)
            elif not mask & (_CREATE | _MODIFY):
                self._reports.filtered += 1
        elif mask & _CREATE:
            self._created(directory, name, awaits_close=(directory.wd, name) in batch.closed)
        elif mask & _CLOSE_WRITE:
            self._closed(directory, name)
        elif mask & _MODIFY:
            self._modified(directory, name)
        elif mask & _DELETE:
            self._gone(directory, name)
        elif mask & _MOVED_FROM:
            self._moved_from(directory, cookie, name, batch)
        elif mask & _MOVED_TO:
            if cookie in self._paired:
                self._paired.discard(cookie)
            else:
                self._arrived(directory, name, [])

    def _created(self, directory: Directory, name: str, *, awaits_close: bool) -> None:
        path = directory.prefix + name
        if name in directory.files or self._settler.holds(path):
            return  # a listing was faster than the record
        if awaits_close:
            self._settler.expect(path, self._now)
            return
        sighting = self._settler.made(path, self._now)
        if sighting is not None:
            self._report_file(directory, name, "Create", sighting.signature)

    def _closed(self, directory: Directory, name: str) -> None:
        path = directory.prefix + name
        if name in directory.files:
            if self._settler.closed_after_writing(path):
                signature = glance(path)
                if signature is None or signature != self._fresh.signature(path):
                    self._report_file(directory, name, "Modify", signature)
        elif self._settler.holds(path):
            settled = self._settler.closed(path, self._now)
            if settled is not None:
                self._report_file(directory, name, settled.verdict, settled.signature)
        else:
            sighting = self._settler.found(path, self._now)
            if sighting is not None:
                self._report_file(directory, name, "Create", sighting.signature)

    def _modified(self, directory: Directory, name: str) -> None:
        path = directory.prefix + name
        if name in directory.files and not self._is_known_content(path):
            self._settler.written(path, self._now)

    def _gone(self, directory: Directory, name: str) -> None:
        self._send(self._forget_file(directory, name))

    def _forget_file(self, directory: Directory, name: str) -> list[EventInfo]:
        """The Delete of a file that is known, after the Create that it is owed still; nothing for any other."""
        path = directory.prefix + name
        self._fresh.forget(path)
        owed = self._settler.forget(path)
        known = name in directory.files
        if not known and not owed:
            return []
        directory.files.pop(name, None)
        self._dropped.append((directory.key, name))
        created = [EventInfo(path, name, "Create")] if "Create" in owed else []
        return [*created, EventInfo(path, name, "Delete")]

    def _moved_from(self, directory: Directory, cookie: int, name: str, batch: Batch) -> None:
        """A rename away; its other half, if it leads into the tree, is handled here and now, side by side."""
        events = self._forget_file(directory, name)
        target = batch.moved_to.get(cookie)
        to = self.tree.by_wd.get(target[0]) if target is not None else None
        if target is None or to is None or not self._filter.wants_file(to.path, target[1]):
            self._send(events)
            return
        self._paired.add(cookie)
        self._arrived(to, target[1], events)

    def _arrived(self, directory: Directory, name: str, before: list[EventInfo]) -> None:
        """A file was renamed to this name; `before` is the Delete of its old one."""
        path = directory.prefix + name
        owed = self._settler.forget(path)
        verdict: Verdict = "Modify" if name in directory.files or "Modify" in owed else "Create"
        directory.files.pop(name, None)
        sighting = self._settler.arrived(path, verdict, self._now)
        if sighting is None:
            self._send(before)
        else:
            self._send([*before, EventInfo(path, name, verdict)])
            self._know(directory, name, sighting.signature)

    def _self_record(self, directory: Directory, mask: int) -> None:
        if mask & IN.IN_IGNORED:
            self.tree.ended(directory)
            if directory is not self.tree.root:
                self._lister.later(directory)  # deleted, which its parent says too, or unmounted
        elif directory is self.tree.root and mask & _ROOT_GONE:
            self._root_lost("unmounted" if mask & IN.IN_UNMOUNT else "deleted or renamed")

    # What the lister finds

    def found_file(self, directory: Directory, name: str) -> None:
        """A listing shows a file that is not known: reported if it is done, else awaited."""
        path = directory.prefix + name
        sighting = self._settler.found(path, self._now)
        if sighting is not None:
            self._found(directory, name, "Create", sighting.signature)

    def changed_file(self, directory: Directory, name: str) -> None:
        """A listing shows a known file with other content: reported if that is final, else awaited."""
        path = directory.prefix + name
        sighting = self._settler.changed(path, self._now)
        if sighting is not None and sighting.signature != self._fresh.signature(path):
            self._found(directory, name, "Modify", sighting.signature)

    def _found(self, directory: Directory, name: str, verdict: Verdict, signature: Signature | None) -> None:
        if signature is not None:
            self._fresh.remember(directory.prefix + name, signature)
        self._report_file(directory, name, verdict, signature, scanned=True)

    def found_directory(self, parent: Directory, name: str) -> None:
        """A listing shows a directory that is not known."""
        self._directories.adopt(parent, name, [], scanned=True)

    def missing_file(self, directory: Directory, name: str) -> None:
        """A listing does not show a file that is known."""
        events = self._forget_file(directory, name)
        for event in events:
            event.origin = "scan"
        self._send(events)

    def filtered_out(self) -> None:
        """A listing shows a name that the filter does not want."""
        self._reports.filtered += 1

    def missing_directory(self, directory: Directory) -> None:
        """A listing does not show a directory that is known."""
        self._directories.take_away(directory, scanned=True)

    def _is_known_content(self, path: str) -> bool:
        """Whether a record tells only of what a listing has seen and reported already."""
        signature = self._fresh.signature(path)
        return signature is not None and glance(path) == signature

    # Reports

    def _settled(self, settled: Settled) -> None:
        parent, _, name = settled.path.rpartition("/")
        directory = self.tree.find(parent)
        if directory is None:
            return
        if settled.scanned:
            self._found(directory, name, settled.verdict, settled.signature)
        else:
            self._report_file(directory, name, settled.verdict, settled.signature)

    def _report_file(
        self,
        directory: Directory,
        name: str,
        verdict: Verdict,
        signature: Signature | None,
        *,
        scanned: bool = False,
    ) -> None:
        origin: Literal["scan"] | None = "scan" if scanned else None
        self._reports.send([EventInfo(directory.prefix + name, name, verdict, origin=origin)])
        self._know(directory, name, signature)

    def _know(self, directory: Directory, name: str, signature: Signature | None) -> None:
        """The subscriber knows of this file from now on."""
        signature = signature or UNSEEN
        directory.files[name] = fingerprint(signature)
        self._ledger.put_file(directory.key, name, signature)

    def _send(self, events: list[EventInfo]) -> None:
        """Sends events of which some are deletions."""
        self._reports.send(events)
        for key, name in self._dropped:
            self._ledger.drop_file(key, name)
        self._dropped.clear()
