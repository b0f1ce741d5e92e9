"""Turns the kernel's records about one monitor's tree into events, each file once and only when it is done.

The tree says what is new (`tree.py`), the settler what is done (`settling.py`), the lister finds what was
there before its directory was watched (`listing.py`), and what was not told while nobody watched.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from publisher.watching.directory_records import DirectoryRecords
from publisher.watching.file_records import FileRecords
from publisher.watching.file_reports import FileReports
from publisher.watching.findings import ListingFindings
from publisher.watching.inotify import BASE_MASK, IN, ROOT_MASK
from publisher.watching.learning import Learner
from publisher.watching.listing import Lister
from publisher.watching.reports import Reports
from publisher.watching.tree import Tree
from publisher.watching.turn import Turn
from publisher.watching.visits import Visits
from schemas.monitors import PathMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from publisher.filters import Filter
    from publisher.ledger import Ledger
    from publisher.roots import Roots
    from publisher.settling import Settled, Settler
    from publisher.watching.inotify import Batch
    from publisher.watching.polling import Difference, Refusal
    from publisher.watching.tree import Directory
    from schemas.events import EventInfo

_ROOT_GONE = IN.IN_DELETE_SELF | IN.IN_MOVE_SELF | IN.IN_UNMOUNT
_IS_DIR = IN.IN_ISDIR

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
        has_room: Callable[[], bool],
        is_share: bool = False,
    ) -> None:
        """`limited` hears why when the kernel has no watches left, None when it has again.

        What listings find is held back on the disk while there is not `has_room`.
        With `is_share` the kernel does not report what others change: everything is listed repeatedly.
        """
        self.is_share = is_share
        self.find_watches: Callable[[], None] = lambda: None
        self._active = True
        self._limited = limited
        self._limit: str | None = None
        self._adopted: list[Directory] = []
        self._mode = mode
        self._settler = settler
        self._ledger = ledger
        self._reports = Reports(filter_, emit)
        self._root_lost = root_lost
        mask = BASE_MASK | (IN.IN_MODIFY if filter_.wants_modify else 0)
        self.tree = Tree(path, mask, ROOT_MASK, ledger.new_key())
        self.tree.coverage.polled = is_share
        self._turn = Turn()
        self._reports_of_files = FileReports(settler, self._reports, ledger)
        self._files = FileRecords(
            self.tree, settler, filter_, self._reports, self._reports_of_files, self._turn
        )
        visits = self._visits = Visits(self.tree, roots, ledger, watches=not is_share)
        self._learner = Learner(self.tree, visits, filter_, ledger)
        self._lister = Lister(self.tree, visits, filter_, has_room)
        self._directories = DirectoryRecords(
            self.tree,
            visits,
            settler,
            filter_,
            self._reports,
            self._reports_of_files,
            ledger,
            mode,
            self._turn,
            later=self._later,
        )
        self._findings = ListingFindings(
            settler,
            self._directories,
            self._reports_of_files,
            self._reports,
            self._turn,
            filter_,
            ledger,
            root_lost,
            has_room,
        )
        self._lister.findings = self._findings

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
        self._learner.learn_whole(enter=self._mode is not PathMode.FLAT)
        self._count_share()

    def restore(self) -> None:
        """Knows what the ledger does, and has all of it watched and compared by `step`; raises StoreError."""
        rows = self._ledger.directories()
        self.tree.restore(rows)
        if not rows:
            self._ledger.put_directory(self.tree.root.row)
        self._count_share()
        if not self.is_share:
            self._lister.compare_all()

    def _count_share(self) -> None:
        if self.is_share:
            self.tree.coverage.watched = sum(directory.entered for directory in self.tree.root.walk())

    def handle(self, batch: Batch, now: float) -> None:
        """Takes the records of one read."""
        self._turn.now = now
        by_wd = self.tree.by_wd
        for wd, mask, cookie, name in batch.records:
            directory = by_wd.get(wd)
            if directory is None or (directory.doubtful and name):
                continue
            if mask & _IS_DIR and name:
                self._directories.take(directory, mask, cookie, name, batch)
            elif name:
                self._files.take(directory, mask, cookie, name, batch)
            else:
                self._self_record(directory, mask)
        self._age_fresh()

    def _age_fresh(self) -> None:
        """After records were read, or to find that none were queued: what listings have told before is no news."""
        fresh, watches = self._reports_of_files.fresh, self.tree.watches
        if fresh:
            fresh.mark(watches.end if watches is not None else 0)
            fresh.passed(watches.position if watches is not None else 0)

    def overflowed(self, now: float) -> None:
        """The kernel dropped records: every directory is listed again and compared with what is known."""
        self._turn.now = now
        self._settler.hurry(now)
        self._lister.compare_all(doubtful=True)

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do, now or when what is queued is read."""
        return self._lister.busy or self._settler.holds_back or bool(self._reports_of_files.fresh)

    def step(self, now: float, seconds: float) -> None:
        """Watches and lists directories that are new, or to be compared, for about as long and while there is room."""
        self._turn.now = now
        self._age_fresh()
        self._lister.step(seconds)
        self.tell_limit()

    def due_at(self) -> float | None:
        """When `settle` has something to do."""
        return self._settler.due_at()

    def settle(self, now: float) -> None:
        """Reports the files that have turned out to be done."""
        self._turn.now = now
        for settled in self._settler.due(now):
            self._settled(settled)
        for path in self._settler.take_gone():
            directory = self.tree.find(path.rpartition("/")[0])
            if directory is not None:
                directory.overdue = True

    def _settled(self, settled: Settled) -> None:
        parent, _, name = settled.path.rpartition("/")
        directory = self.tree.find(parent)
        if directory is None or name in directory.directories:
            return
        if settled.grows:
            self._reports_of_files.report(directory, name, settled.verdict, settled.signature)
        else:
            self._reports_of_files.report_found(
                directory, name, settled.verdict, settled.signature, scanned=settled.scanned
            )

    def finish(self, now: float, *, whole: bool) -> None:
        """The monitor stops: lists what is still to be listed and reports what is done by now.

        Not `whole`: what takes longer is left to the comparison at the next start.
        """
        self._turn.now = now
        self._lister.last_step(FINISH_SECONDS)
        while whole and self._lister.busy:
            self._lister.last_step(FINISH_SECONDS)
        self.tell_limit()
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

    def load(self, directory: Directory) -> None:
        """Takes a directory's files from the ledger if that was not done yet; the poller's thread."""
        self._visits.load(directory)

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

    def remounted(self, paths: Iterable[str]) -> None:
        """Something was mounted or unmounted there: what is there now is watched, and compared with what was."""
        for path in paths:
            directory = self.tree.find(path) if path.startswith(self.tree.root.prefix) else None
            if directory is None or self.is_share or not self._active:
                continue
            for below in directory.walk():
                self.tree.unwatch(below)
                if below.entered:
                    self._lister.later(below)

    def missing_root(self) -> None:
        """The monitor's own directory is not there any more."""
        if self._active:
            self._findings.missing_root()

    def root_refused(self, reason: str) -> None:
        """The monitor's own directory cannot be opened for the moment."""
        if self._active:
            self.tree.coverage.missing[self.tree.root] = reason

    def polled(
        self,
        differences: list[Difference],
        refusals: list[Refusal],
        listed: set[Directory],
    ) -> list[Directory]:
        """Takes what a portion of listings shows, while there is room; returns the directories that come next.

        What was not taken is found again by the next listing.
        """
        if not self._active:
            return []
        self._turn.now = time.monotonic()
        missing = self.tree.coverage.missing
        for refusal in refusals:
            missing[refusal.directory] = refusal.reason
        for directory in listed:
            if not directory.limited:
                missing.pop(directory, None)
        for difference in differences:
            if difference.directory.attached:
                self._findings.take(difference)
        adopted, self._adopted = self._adopted, []
        return adopted

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

    def _self_record(self, directory: Directory, mask: int) -> None:
        if mask & IN.IN_IGNORED:
            self.tree.ended(directory)
            if directory is not self.tree.root:
                self._lister.later(directory)  # deleted, which its parent says too, or unmounted
        elif directory is self.tree.root and mask & _ROOT_GONE:
            self._root_lost("unmounted" if mask & IN.IN_UNMOUNT else "deleted or renamed")
