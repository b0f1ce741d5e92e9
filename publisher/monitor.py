"""One monitor: the page where watch, settle, filter, block and record are read in order.

Everything between `start` and `stop` happens on the reader thread: the watch hands over events that are
settled and filtered, they become blocks, the blocks are recorded in the outbox with what they change in the
ledger. When that cannot go on (the root is lost, the outbox full) the monitor lets go of its watch and pauses;
`retry` takes it up again, and what has happened meanwhile is the difference between ledger and disk.
The monitor does not know AMQP.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from publisher.blocks import Blocks
from publisher.errors import StoreError
from publisher.filters import Filter
from publisher.lifetime import Lifetime
from publisher.recorder import Recorder
from publisher.watching.inotify import limit_message
from publisher.watching.mounts import find_again, identify
from schemas.errors import MonitorFailedError, OmeroFSError
from schemas.events import SystemCode, system_event
from schemas.monitors import Coverage, MonitorCounters, MonitorState

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.arming import Arming
    from publisher.ledger import Ledger
    from publisher.outbox import Outbox
    from publisher.storing.ledger_tables import LedgerRoot
    from publisher.watching.inotify import Batch
    from publisher.watching.watch import Watch
    from schemas.events import EventInfo
    from schemas.monitors import MonitorSpec

log = structlog.get_logger(__name__)

STEP_SECONDS = 0.01
"""How long one turn of the reader thread lists and compares before others have theirs."""
HELD_SECONDS = 0.05
"""How often a comparison that waits for room in the outbox asks for it."""
DAMAGED = "the store was damaged; what was recorded before may be incomplete"


class Monitor:
    """A monitor with its state, its watch and its blocks.

    `start`, `stop`, `suspend` and `retry` are for the command thread, one at a time, and block until done; the
    properties may be read from any thread; the rest is the reader thread's.
    """

    def __init__(
        self,
        monitor_id: str,
        spec: MonitorSpec,
        *,
        arming: Arming,
        ledger: Ledger,
        outbox: Outbox,
        sequence: int = 0,
        on_stopped: Callable[[str], None] | None = None,
    ) -> None:
        """A Stopped monitor; `sequence` is the last that it used, `on_stopped` hears when it stops by itself."""
        self.id = monitor_id
        self.spec = spec
        self.state = MonitorState.STOPPED
        self._arming = arming
        self._reader = arming.reader
        self._ledger = ledger
        self._on_stopped = on_stopped
        self._filter = Filter(spec)
        self._blocks = Blocks(spec.block_size, arming.settings.block_interval_seconds)
        self._full: list[list[EventInfo]] = []
        self._taken = 0
        self._recorder = Recorder(monitor_id, outbox, sequence)
        self._lifetime = Lifetime(spec)
        self._watch: Watch | None = None
        self._filtered = 0
        self._problem: str | None = None
        self._lost: str | None = None
        self._root_is_missed = False
        self._told_damage = False

    # Commands

    def start(self) -> None:
        """Watches; returns when every directory is. Started already: no effect.

        With a ledger from an earlier run it goes on where that ended: what has changed since is reported next,
        step by step.

        Raises:
            OmeroFSError: The directory is gone or may not be read.
            StoreError: The ledger cannot be read or written.
        """
        if self.state is MonitorState.STARTED:
            return
        try:
            before = self._ledger.root()
            if before is None:
                self._begin()
            else:
                self._go_on(before)
        except (OmeroFSError, StoreError) as exc:
            self._problem = str(exc)
            raise
        log.info("monitor started", monitor=self.id, directories=self.coverage.watched)

    def make_up(self) -> None:
        """The store was damaged: says so, and starts a monitor that was Started, once for each damage.

        Where nothing could be saved of its ledger, everything that is there is reported, marked as found by a scan.

        Raises:
            OmeroFSError: As `start`.
            StoreError: The disk refuses.
        """
        if not self._told_damage:
            self._reader.call(lambda: self._recorder.tell_gap(DAMAGED)).result()
            self._told_damage = True
        if self._ledger.root() is None:
            root = identify(self._arming.roots, self.spec.path_string)
            self._ledger.clear()
            self._ledger.begin(root)
        self.start()

    def tell_damage(self) -> None:
        """As `make_up` for a monitor that was Stopped: it is said, and nothing else; raises StoreError."""
        self._reader.call(lambda: self._recorder.tell_gap(DAMAGED)).result()

    def retry(self) -> None:
        """Takes up a paused monitor if what stopped it is over; harmless for any other, and at any time."""
        if not self.paused:
            return
        try:
            if self._reader.call(self._recorder.recover).result():
                before = self._ledger.root()
                if before is not None:
                    self._go_on(before)
        except (OmeroFSError, StoreError) as exc:
            log.debug("monitor pauses still", monitor=self.id, reason=str(exc))

    def stop(self) -> None:
        """Publishes what happened before, the partial block too, and nothing after. Not running: no effect.

        Raises:
            StoreError: The disk refuses; the monitor stays Started, and pauses until it is stopped again.
        """
        if self._watch is not None:
            self._watch.poll()
        self._reader.call(self._finish).result()

    def suspend(self) -> None:
        """As `stop`, but the monitor stays Started in the store: the service ends and will start it again."""
        self._reader.call(self._suspend).result()

    def _begin(self) -> None:
        """From what is there now, which is learned and not reported."""
        root = identify(self._arming.roots, self.spec.path_string)
        self._ledger.clear()
        watch = self._make_watch(root)
        self._arm(watch, watch.learn, lambda: self._activate(watch, root))

    def _go_on(self, before: LedgerRoot) -> None:
        """From what the ledger says; where the root is lost, once it is back."""
        root = find_again(before, self._arming.roots, self.spec.path_string)
        if root is None:
            self._arming.roots.check(self.spec.path_string)
            self._reader.call(self._miss_root).result()
            return
        watch = self._make_watch(root)
        self._arm(watch, watch.restore, lambda: self._activate(watch, root))

    def _make_watch(self, root: LedgerRoot) -> Watch:
        return self._arming.watch(self.spec, root, filter_=self._filter, ledger=self._ledger, owner=self)

    def _arm(self, watch: Watch, arm: Callable[[], None], activate: Callable[[], None]) -> None:
        try:
            arm()
            self._reader.call(activate).result()
        except OSError as exc:
            self._reader.call(watch.disarm).result()
            msg = f"{self.spec.path_string!r} cannot be watched: {limit_message(exc)}"
            raise MonitorFailedError(msg) from exc
        except (OmeroFSError, StoreError):
            self._reader.call(watch.disarm).result()
            raise

    # Properties

    @property
    def paused(self) -> bool:
        """Whether it is Started and cannot watch or record for the moment."""
        return self.state is MonitorState.STARTED and self._watch is None

    @property
    def comparing(self) -> bool:
        """Whether directories wait to be listed: new ones, or all after a restart or an overflow."""
        watch = self._watch
        return watch is not None and watch.busy

    @property
    def counters(self) -> MonitorCounters:
        """What has passed since the service started."""
        filtered = self._filtered + (self._watch.filtered if self._watch is not None else 0)
        recorder = self._recorder
        return MonitorCounters(
            events=recorder.events, blocks=recorder.blocks, filtered=filtered, gaps=recorder.gaps
        )

    @property
    def coverage(self) -> Coverage:
        """Which directories are watched."""
        watch = self._watch
        return (
            watch.coverage.snapshot()
            if watch is not None
            else Coverage(directories=0, watched=0, polled=False)
        )

    @property
    def last_error(self) -> str | None:
        """What is wrong now, else what went wrong last, None if nothing did."""
        watch = self._watch
        return (
            (watch.coverage.problem if watch is not None else None) or self._recorder.problem or self._problem
        )

    # The reader thread: from the watch to the outbox

    def handle(self, batch: Batch, now: float) -> None:
        """Records of the kernel: events by way of `accept`, then blocks into the outbox."""
        if self._watch is not None:
            self._watch.handle(batch, now)
            self._proceed(now)

    def overflowed(self, now: float) -> None:
        """The kernel's queue overflowed: said, and every directory is compared with what is known."""
        if self._watch is not None:
            self._say(SystemCode.OVERFLOW, "Overflow")
            self._watch.overflowed(now)

    def root_lost(self, how: str) -> None:
        """The monitor's own directory is gone: the next turn pauses until it is back."""
        if self._lost is None:
            self._lost = how
            self._reader.wake_at(self, time.monotonic())

    def limited(self, reason: str | None) -> None:
        """The kernel has no watches left for some directories, or has again."""
        if reason is not None:
            self._say(SystemCode.WATCH_LIMIT, "Watch limit", reason=reason)
            log.error("directories are polled", monitor=self.id, reason=reason)
        else:
            self._say(SystemCode.COVERAGE, "Coverage restored")
            log.info("all directories are watched again", monitor=self.id)

    def has_room(self) -> bool:
        """Whether the outbox has room for more of what a comparison finds, which can wait on the disk as well."""
        return self._recorder.spare_events > self._blocks.added - self._taken

    def tick(self, now: float) -> None:
        """Does what is due: settling, listing, the partial block, the monitor's own end."""
        if self._watch is not None:
            self._watch.settle(now)
            self._proceed(now)

    def accept(self, events: list[EventInfo]) -> None:
        """Events that are settled and wanted, side by side: into blocks."""
        now = time.monotonic()
        if full := self._blocks.add(events, now):
            self._full += full
        self._ledger.position = self._blocks.added
        self._lifetime.happened(now)

    def _proceed(self, now: float) -> None:
        watch = self._watch
        if watch is not None and watch.busy and self.has_room():
            try:
                watch.step(now, STEP_SECONDS)
            except StoreError as exc:
                self._recorder.miss(str(exc))
                self._stop_recording([])
                return
        due = self._blocks.due_at()
        if due is not None and due <= now:
            self._full.append(self._blocks.take())
        if self._lost is not None:
            self._miss_root()
            return
        self._record_full(now)
        self._reader.wake_at(self, self._due_at(now))

    def _record_full(self, now: float) -> None:
        if self._lifetime.ends_with_first_block and self._full:
            self._end(self._full[:1], None)
            return
        self._record(self._take_full())
        farewell = self._lifetime.over(now) if self._watch is not None else None
        if farewell is not None:
            self._end([self._blocks.take()], farewell)

    def _record(self, blocks: list[list[EventInfo]]) -> None:
        """Blocks and what they change in the ledger, in one transaction."""
        self._taken = self._blocks.added - self._blocks.waiting
        changes = self._ledger.take(self._taken)
        if not self._recorder.record(blocks, changes):
            self._stop_recording(blocks)

    def _due_at(self, now: float) -> float | None:
        if self._watch is None:
            return None
        goes_on = None
        if self._watch.busy:
            goes_on = now if self.has_room() else now + HELD_SECONDS
        times = (goes_on, self._watch.due_at(), self._blocks.due_at(), self._lifetime.ends_at)
        return min((at for at in times if at is not None), default=None)

    def _say(self, code: SystemCode, text: str, **detail: object) -> None:
        """A System event: always alone in its block, after what came before it."""
        self._full += [self._blocks.take(), [system_event(code, text, **detail)]]
        self._reader.wake_at(self, time.monotonic())

    def _take_full(self) -> list[list[EventInfo]]:
        full = [block for block in self._full if block]
        self._full = []
        return full

    # The reader thread: pauses

    def _miss_root(self) -> None:
        """The root is lost: said once, and waited for."""
        self.state = MonitorState.STARTED
        how, self._lost = self._lost or "not there at the start", None
        if self._root_is_missed:
            return
        self._root_is_missed = True
        self._problem = f"{self.spec.path_string!r} was {how}; it is watched again when it is back"
        self._say(SystemCode.ROOT_LOST, "Root lost", how=how)
        if self._lifetime.ends_with_first_block:
            self._end(self._take_full()[:1], None)
            return
        self._record(self._take_full())
        self._let_go()
        log.error("root lost", monitor=self.id, path=self.spec.path_string, how=how)

    def _stop_recording(self, blocks: list[list[EventInfo]]) -> None:
        """There is no room for what happens: given up, and found again by comparison when there is."""
        self._recorder.give_up(sum(map(len, blocks)) + len(self._blocks.take()))
        self._let_go()

    def _let_go(self) -> None:
        """Watches nothing; what is not recorded is not known either."""
        watch, self._watch = self._watch, None
        self._reader.wake_at(self, None)
        self._full = []
        self._blocks.take()
        self._taken = self._blocks.added
        self._ledger.discard()
        if watch is not None:
            self._filtered += watch.filtered
            watch.disarm()

    # The reader thread: beginning and end

    def _activate(self, watch: Watch, root: LedgerRoot) -> None:
        now = time.monotonic()
        self._ledger.begin(root)
        if self.state is MonitorState.STARTED:
            self._lifetime.happened(now)
        else:
            self._lifetime.begin(now)
        self._watch = watch
        self._problem = self._lost = None
        self.state = MonitorState.STARTED
        if self._root_is_missed:
            self._root_is_missed = False
            self._say(SystemCode.ROOT_RESTORED, "Root restored")
            log.info("root restored", monitor=self.id, path=self.spec.path_string)
        watch.activate()
        self._reader.wake_at(self, now)

    def _finish(self) -> None:
        if self._watch is not None:
            self._watch.finish(time.monotonic(), whole=True)
        if self.state is MonitorState.STOPPED:
            return  # it was, or what was read last was the end of a OneShot
        self._full.append(self._blocks.take())
        last = self._take_full()
        self._stop(last[:1] if self._lifetime.ends_with_first_block else last)
        log.info("monitor stopped", monitor=self.id)

    def _suspend(self) -> None:
        if self._watch is not None:
            self._watch.finish(time.monotonic(), whole=False)
        if self.state is MonitorState.STOPPED:
            return
        self._full.append(self._blocks.take())
        self._record(self._take_full())
        self.state = MonitorState.STOPPED
        self._let_go()

    def _end(self, blocks: list[list[EventInfo]], farewell: EventInfo | None) -> None:
        """The monitor stops by itself."""
        last = [*blocks, [farewell]] if farewell is not None else blocks
        try:
            self._stop([block for block in last if block])
        except StoreError as exc:
            log.warning("monitor cannot end, it pauses", monitor=self.id, reason=str(exc))
            return
        log.info("monitor ended", monitor=self.id, reason=farewell.file_id if farewell else "first block")
        if self._on_stopped is not None:
            self._on_stopped(self.id)

    def _stop(self, last: list[list[EventInfo]]) -> None:
        """Its last blocks and its state in one transaction; its ledger goes with that."""
        try:
            self._recorder.end(last)
            self.state = MonitorState.STOPPED
            self._root_is_missed = False
        finally:
            self._let_go()
