"""What the parts of a file's way cost by themselves, in one process: how far the service is from what they add up to.

Each part is what the service runs, with what it needs and without the rest; the bare system calls of a look stand
beside the look, since nothing can be done about those. No other thread runs, so nothing waits for another.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.table import markdown
from publisher.blocks import Blocks
from publisher.filters import Filter
from publisher.ledger import Ledger
from publisher.outbox import Outbox
from publisher.recorder import Recorder
from publisher.roots import Roots
from publisher.settling import Settler
from publisher.sighting import Openness, Sighting, look
from publisher.storing.store import Store
from publisher.watching.inotify import Batch, Inotify
from publisher.watching.watcher import Watcher
from schemas.events import EventInfo
from schemas.monitors import MonitorSpec, PathMode

FILES = 5_000
"""Their records fit into the kernel's queue."""
ROUNDS = 9
BLOCK_SIZE = 100
BLOCKS_AT_ONCE = 5
_SPEC = MonitorSpec(
    m_type="Persistent", e_types=("All",), p_mode="Follow", path_string="/", block_size=BLOCK_SIZE
)
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class Parts:
    """The parts on a directory and a store of their own; each method runs one for `FILES` new files."""

    def __init__(self, base: Path) -> None:
        self.root = base / "root"
        self.root.mkdir()
        self.store = Store(base / "store.db")
        monitor_id = str(uuid.uuid4())
        self.store.add_monitor(monitor_id, _SPEC)
        self.outbox = Outbox(self.store)
        self.recorder = Recorder(monitor_id, self.outbox, 0)
        self.monitor_id = monitor_id
        self.ledger = Ledger(monitor_id, self.store.ledgers)
        self.inotify = Inotify()
        self.batches: list[Batch] = []
        self.events: list[EventInfo] = []
        self.full: list[list[EventInfo]] = []
        self.paths: list[str] = []
        self.known = Sighting(Openness.CLOSED, (1, 1, 1, 8), 1, True)
        self.watcher = Watcher(
            str(self.root),
            PathMode.FOLLOW,
            roots=Roots([str(self.root)]),
            filter_=Filter(_SPEC),
            settler=Settler(settle_seconds=1, modify_interval_seconds=1, look=lambda _path: self.known),
            ledger=self.ledger,
            emit=self.events.extend,
            root_lost=lambda _how: None,
            limited=lambda _why: None,
            has_room=lambda: True,
        )
        self.watcher.tree.watches = self.inotify
        self.watcher.learn()

    def make(self, number: int) -> None:
        """New files, which nobody has looked at, and room in the kernel's queue for their records."""
        self.batches.clear()
        self.events.clear()
        self.paths = [f"{self.root}/image_{number:03}_{file:05}.ome.tif" for file in range(FILES)]
        for path in self.paths:
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
            os.write(descriptor, b"x")
            os.close(descriptor)

    def read(self) -> None:
        """From the kernel's queue to records."""
        while (batch := self.inotify.read()) is not None:
            self.batches.append(batch)

    def call_bare(self) -> None:
        """The system calls of a look, and nothing with what they say."""
        for path in self.paths:
            os.lstat(path)
            descriptor = os.open(path, _FLAGS)
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG.value)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            os.fstat(descriptor)
            os.close(descriptor)

    def look(self) -> None:
        """Whether each is complete, and what identifies its content."""
        for path in self.paths:
            look(path)

    def handle(self) -> None:
        """From records to events and what they change in the ledger; what a look says is known beforehand."""
        for batch in self.batches:
            self.watcher.handle(batch, 0.0)

    def cut(self) -> None:
        """Events into blocks."""
        blocks = Blocks(BLOCK_SIZE, 1.0)
        self.full = [block for event in self.events for block in blocks.add((event,), 0.0)]

    def record(self) -> None:
        """Blocks as JSON into the outbox, with what they change in the ledger: one transaction for some of them."""
        self.ledger.position = 0
        changes = self.ledger.take(0)
        each = BLOCK_SIZE * BLOCKS_AT_ONCE
        rows = changes.files
        for first in range(0, len(self.full), BLOCKS_AT_ONCE):
            changes.files = rows[first * BLOCK_SIZE : first * BLOCK_SIZE + each]
            self.recorder.record(self.full[first : first + BLOCKS_AT_ONCE], changes)

    def drain(self) -> None:
        """Out of the outbox again: read, as the relay does, and forgotten."""
        last = 0
        while entries := self.outbox.pending(
            self.monitor_id, last, max_entries=BLOCKS_AT_ONCE, max_bytes=1 << 20
        ):
            last = entries[-1].sequence
            self.outbox.confirm({self.monitor_id: last})

    def close(self) -> None:
        """Gives everything back."""
        self.inotify.close()
        self.store.close()


STEPS: tuple[tuple[str, Callable[[Parts], None], bool], ...] = (
    ("the kernel's records, read and parsed", Parts.read, True),
    ("a look: its system calls, called from Python", Parts.call_bare, False),
    ("a look: whether the file is complete, and its signature", Parts.look, True),
    ("from records to events, without the looks", Parts.handle, True),
    ("blocks", Parts.cut, True),
    ("JSON, outbox and ledger in SQLite", Parts.record, True),
    ("read from the outbox, and forgotten", Parts.drain, True),
)
"""What it is, how it is run, whether it counts into the sum."""


def main() -> str:
    """Runs all parts in turns and returns their table; some seconds."""
    found: dict[str, list[float]] = {what: [] for what, _, _ in STEPS}
    with parts() as ours:
        for number in range(ROUNDS):
            ours.make(number)
            for what, step, _ in STEPS:
                began = time.process_time()
                step(ours)
                found[what].append((time.process_time() - began) * 1e6 / FILES)
    medians = {what: statistics.median(values) for what, values in found.items()}
    rows = [[what if counts else f"({what})", f"{medians[what]:.1f} us"] for what, _, counts in STEPS]
    total = sum(medians[what] for what, _, counts in STEPS if counts)
    rows.append(["all of them; publishing comes on top", f"{total:.1f} us"])
    return markdown([f"part, blocks of {BLOCK_SIZE}", f"CPU a file, median of {ROUNDS}"], rows)


@contextmanager
def parts() -> Iterator[Parts]:
    """In memory where that can be, so that no disk is measured."""
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    base = Path(tempfile.mkdtemp(prefix="fsherald-bench-", dir=shm))
    try:
        ours = Parts(base)
        try:
            yield ours
        finally:
            ours.close()
    finally:
        shutil.rmtree(base)
