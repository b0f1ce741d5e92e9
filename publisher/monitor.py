"""One monitor: the page where watch, settle, filter, block and record are read in order.

Everything between `start` and `stop` happens on the reader thread: the watcher hands over events that are
settled and filtered, they become blocks, the blocks are recorded in the outbox. The monitor does not know AMQP.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from publisher.admission import unreported_kind
from publisher.blocks import Blocks
from publisher.filters import Filter
from publisher.lifetime import Lifetime
from publisher.recorder import Recorder
from publisher.settling import Settler
from publisher.watching.polling import PollingWatch, Snapshots
from publisher.watching.watch import KernelWatch
from publisher.watching.watcher import Watcher
from schemas.errors import MonitorFailedError, OmeroFSError
from schemas.events import SystemCode, system_event
from schemas.monitors import Coverage, MonitorCounters, MonitorState

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.outbox import Outbox
    from publisher.roots import Roots
    from publisher.watching.inotify import Batch
    from publisher.watching.polling import Poller
    from publisher.watching.reader import Reader
    from publisher.watching.watch import Watch
    from schemas.events import EventInfo
    from schemas.monitors import MonitorSpec

log = structlog.get_logger(__name__)

STEP_DIRECTORIES = 64
"""How many new directories one turn of the reader thread lists before others have theirs."""
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """What the operator sets for all monitors, in seconds.

    Attributes:
        block_interval_seconds: The longest a partial block is held.
        modify_interval_seconds: How often a file that stays open and grows is reported.
        settle_seconds: How long a file must be quiet where nothing tells whether it is still open.
        poll_interval_seconds: How often a tree is listed where the kernel does not report changes.
    """

    block_interval_seconds: float = 0.1
    modify_interval_seconds: float = 1.0
    settle_seconds: float = 1.0
    poll_interval_seconds: float = 2.0


class Monitor:
    """A monitor with its state, its watch and its blocks.

    `start`, `stop` and `suspend` are for the command thread, one at a time, and block until done; the properties
    may be read from any thread; the rest is the reader thread's.
    """

    def __init__(
        self,
        monitor_id: str,
        spec: MonitorSpec,
        *,
        roots: Roots,
        reader: Reader,
        poller: Poller,
        outbox: Outbox,
        sequence: int = 0,
        settings: MonitorSettings | None = None,
        on_stopped: Callable[[str], None] | None = None,
    ) -> None:
        """A Stopped monitor; `sequence` is the last that it used, `on_stopped` hears when it stops by itself."""
        self.id = monitor_id
        self.spec = spec
        self.state = MonitorState.STOPPED
        self._roots = roots
        self._reader = reader
        self._poller = poller
        self._settings = settings or MonitorSettings()
        self._on_stopped = on_stopped
        self._filter = Filter(spec)
        self._blocks = Blocks(spec.block_size, self._settings.block_interval_seconds)
        self._full: list[list[EventInfo]] = []
        self._recorder = Recorder(monitor_id, outbox, sequence)
        self._lifetime = Lifetime(spec)
        self._watch: Watch | None = None
        self._filtered = 0
        self._problem: str | None = None
        self._lost = False

    # Commands

    def start(self) -> None:
        """Watches; returns when every directory is. Started already: no effect.

        Raises:
            OmeroFSError: The directory is gone or may not be read, or the kernel has no watches left.
        """
        if self.state is MonitorState.STARTED:
            return
        try:
            self._arm_and_activate(self._make_watch())
        except OmeroFSError as exc:
            self._problem = exc.reason
            raise
        log.info("monitor started", monitor=self.id, directories=self.coverage.watched)

    def stop(self) -> None:
        """Publishes what happened before, the partial block too, and nothing after. Not running: no effect."""
        self._reader.call(self._drain_and_deactivate).result()

    def suspend(self) -> None:
        """As `stop`, but the monitor stays Started in the store: the service ends and will start it again."""
        self._reader.call(lambda: self._drain_and_deactivate(keep_state=True)).result()

    def _make_watch(self) -> Watch:
        spec = self.spec
        if unreported_kind(spec, self._roots) is not None:
            snapshots = Snapshots(spec.path_string, spec.p_mode, self._roots, self._filter)
            return PollingWatch(
                snapshots,
                path=spec.path_string,
                filter_=self._filter,
                poller=self._poller,
                reader=self._reader,
                sink=self,
            )
        settler = Settler(
            settle_seconds=self._settings.settle_seconds,
            modify_interval_seconds=self._settings.modify_interval_seconds,
        )
        watcher = Watcher(
            spec.path_string,
            spec.p_mode,
            roots=self._roots,
            filter_=self._filter,
            settler=settler,
            emit=self.accept,
            root_lost=self.root_lost,
        )
        return KernelWatch(self._reader, self, watcher)

    def _arm_and_activate(self, watch: Watch) -> None:
        try:
            watch.arm()
            self._reader.call(lambda: self._activate(watch)).result()
        except OSError as exc:
            self._reader.call(watch.disarm).result()
            msg = f"{self.spec.path_string!r} cannot be watched: {watch.explain(exc)}"
            raise MonitorFailedError(msg) from exc
        except OmeroFSError:
            self._reader.call(watch.disarm).result()
            raise

    # Properties

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
        self._say(SystemCode.OVERFLOW, "Overflow", now)
        if self._watch is not None:
            self._watch.overflowed(now)

    def root_lost(self, how: str) -> None:
        """The monitor's own directory is gone: said, and looked for until it is back."""
        if self._watch is None or self._lost:
            return
        self._lost = True
        self._watch.lose_root()
        self._problem = f"{self.spec.path_string!r} was {how}; it is watched again when it is back"
        self._say(SystemCode.ROOT_LOST, "Root lost", time.monotonic())
        log.error("root lost", monitor=self.id, path=self.spec.path_string, how=how)

    def _look_for_root(self, now: float) -> None:
        if self._watch is not None and self._watch.rearm(now):
            self._lost = False
            self._problem = None
            self._say(SystemCode.ROOT_RESTORED, "Root restored", now)
            log.info("root restored", monitor=self.id, path=self.spec.path_string)

    def tick(self, now: float) -> None:
        """Does what is due: settling, listing, the partial block, the monitor's own end."""
        if self._watch is not None:
            if self._lost:
                self._look_for_root(now)
            self._watch.settle(now)
            self._proceed(now)

    def accept(self, events: list[EventInfo]) -> None:
        """Events that are settled and wanted, side by side: into blocks."""
        now = time.monotonic()
        self._full += self._blocks.add(events, now)
        self._lifetime.happened(now)

    def _proceed(self, now: float) -> None:
        watch = self._watch
        if watch is not None and watch.busy:
            watch.step(now, STEP_DIRECTORIES)
        due = self._blocks.due_at()
        if due is not None and due <= now:
            self._full.append(self._blocks.take())
        self._record_full(now)
        self._reader.wake_at(self, self._due_at(now))

    def _record_full(self, now: float) -> None:
        if self._lifetime.ends_with_first_block and self._full:
            self._end(self._full[:1], None)
            return
        self._recorder.record(self._take_full())
        farewell = self._lifetime.over(now)
        if farewell is not None:
            self._end([self._blocks.take()], farewell)

    def _due_at(self, now: float) -> float | None:
        if self._watch is None:
            return None
        if self._watch.busy:
            return now
        retry = now + RETRY_SECONDS if self._recorder.gapped or self._lost else None
        times = (self._watch.due_at(), self._blocks.due_at(), self._lifetime.ends_at, retry)
        return min((at for at in times if at is not None), default=None)

    def _say(self, code: SystemCode, text: str, now: float) -> None:
        """A System event: always alone in its block, after what came before it."""
        before = self._blocks.take()
        self._full += [before] if before else []
        self._full.append([system_event(code, text)])
        self._reader.wake_at(self, now)

    def _take_full(self) -> list[list[EventInfo]]:
        full = [block for block in self._full if block]
        self._full = []
        return full

    # The reader thread: beginning and end

    def _activate(self, watch: Watch) -> None:
        now = time.monotonic()
        self._watch = watch
        self._problem = None
        self._lost = False
        self.state = MonitorState.STARTED
        self._recorder.store_state(self.state)
        self._lifetime.begin(now)
        watch.activate()
        self._reader.wake_at(self, now)

    def _drain_and_deactivate(self, *, keep_state: bool = False) -> None:
        watch = self._watch
        if watch is None:
            return
        now = time.monotonic()
        watch.finish(now)
        if self._watch is None:
            return  # what was read last was the end of a OneShot
        self._full.append(self._blocks.take())
        last = self._take_full()
        if self._lifetime.ends_with_first_block:
            last = last[:1]
        self._recorder.record(last, state=None if keep_state else MonitorState.STOPPED)
        self._deactivate()
        log.info("monitor stopped", monitor=self.id)

    def _end(self, blocks: list[list[EventInfo]], farewell: EventInfo | None) -> None:
        """The monitor stops by itself: its last blocks and its state in one transaction."""
        last = [*blocks, [farewell]] if farewell is not None else blocks
        self._blocks.take()
        self._full = []
        self._recorder.record([block for block in last if block], state=MonitorState.STOPPED)
        self._deactivate()
        log.info("monitor ended", monitor=self.id, reason=farewell.file_id if farewell else "first block")
        if self._on_stopped is not None:
            self._on_stopped(self.id)

    def _deactivate(self) -> None:
        watch, self._watch = self._watch, None
        self.state = MonitorState.STOPPED
        self._reader.wake_at(self, None)
        if watch is not None:
            self._filtered += watch.filtered
            watch.disarm()
