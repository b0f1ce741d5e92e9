"""How the cost of an event grows: with monitors, directories, files in the ledger, the block size, a backlog.

The cost of a file is the processor time of the whole service. Its files are gone again before the next ones are made:
no round finds more there than the one before. The cost of a block that has waited is the processor time of a process
that has an outbox and a relay alone.
"""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.crowd import Crowd, crowd, directories, watches_allowed
from bench.publish import destination
from bench.result import Curves, Figure, Result, Series
from bench.site import Site, site
from control.logs import configure_logs

ROUNDS = 3
FILES = 20_000
BLOCK_SIZE = 100
AT_A_TIME = 20
CROWDS = (1, 10, 100, 1_000)
WIDTHS = (10, 100, 1_000, 10_000, 100_000)
LEDGERS = (0, 10_000, 100_000, 1_000_000)
LEDGER_DIRECTORIES = 1_000
BLOCK_SIZES = (1, 10, 100, 1_000)
BACKLOGS = (10_000, 100_000, 1_000_000)
BYTES_OF_A_FILE = 1_500
"""Inode, name and ledger of an empty file on tmpfs, and some more."""
BYTES_OF_A_BLOCK = 1_500
"""A block of one event in the store, its log included."""
MB = 1e6
COST_OF_A_FILE = "CPU of a file, us"


def main() -> Result:
    """Runs all of it; about ten minutes."""
    configure_logs("warning")  # the standard output is the table's
    with site() as place:
        panels = (
            by_monitors(place),
            by_directories(place),
            by_files(place),
            by_block_size(place),
            *by_backlog(place),
        )
    note = (
        f"Medians of {ROUNDS} rounds (least to most). {FILES:,} new files a round, as many at once as the kernel's"
        f" queue takes; blocks of up to {BLOCK_SIZE} events unless said otherwise."
    )
    return Result("\n\n".join([note, *(panel.table() for panel in panels)]), (Figure("growth", panels),))


@dataclass
class Bursts:
    """One series of a panel while it is measured."""

    name: str
    costs: dict[int, list[float]] = field(default_factory=dict)
    blocks: dict[int, str] = field(default_factory=dict)

    def measure(self, size: int, burst: Callable[[], tuple[float, float]]) -> None:
        runs = [burst() for _ in range(ROUNDS)]
        self.costs[size] = [cost for cost, _ in runs]
        self.blocks[size] = f"{statistics.median(blocks for _, blocks in runs):,.0f} blocks"

    def series(self) -> Series:
        return Series(self.name, self.costs, self.blocks)


def by_monitors(place: Site) -> Curves:
    """All files in the directory of one of the monitors, and in turns over all of them: by some, and one by one."""
    alone, by_some = Bursts("of one monitor"), Bursts(f"of all, {AT_A_TIME} at a time")
    one_by_one = Bursts("of all, one by one")
    with crowd(place) as ours:
        places = directories(ours.root, CROWDS[-1])
        watched = 0
        for number in CROWDS:
            ours.watch(places[watched:number], block_size=BLOCK_SIZE)
            watched = number
            alone.measure(number, partial(ours.burst, places[:1], FILES))
            if number > 1:
                turns = [each for each in places[:number] for _ in range(AT_A_TIME)]
                by_some.measure(number, partial(ours.burst, turns, FILES))
                one_by_one.measure(number, partial(ours.burst, places[:number], FILES))
    series = (alone.series(), by_some.series(), one_by_one.series())
    return Curves("monitors", "monitors", COST_OF_A_FILE, "us", series)


def by_directories(place: Site) -> Curves:
    """All files in one directory of a monitor, and in turns over all of them."""
    alone, everywhere = Bursts("all in one"), Bursts("in all, one by one")
    left_out = {}
    for number in WIDTHS:
        if number * 1.2 > watches_allowed():
            left_out[number] = "fs.inotify.max_user_watches is too small"
            continue
        with watched(place, number, BLOCK_SIZE) as (ours, places):
            alone.measure(number, partial(ours.burst, places[:1], FILES))
            everywhere.measure(number, partial(ours.burst, spread(places, FILES), FILES))
    return Curves(
        "directories of one monitor",
        "directories",
        COST_OF_A_FILE,
        "us",
        (alone.series(), everywhere.series()),
        left_out,
    )


def by_files(place: Site) -> Curves:
    """Files that are there before the monitor starts, evenly over the same directories."""
    alone, everywhere = Bursts("all in one directory"), Bursts("in all, one by one")
    left_out = {}
    for number in LEDGERS:
        if reason := lacking(os.statvfs(place.root), files=number, size_bytes=number * BYTES_OF_A_FILE):
            left_out[number] = reason
            continue
        with crowd(place) as ours:
            places = directories(ours.root, LEDGER_DIRECTORIES)
            make_files(places, number)
            ours.watch([ours.root], block_size=BLOCK_SIZE)
            alone.measure(number, partial(ours.burst, places[:1], FILES))
            everywhere.measure(number, partial(ours.burst, places, FILES))
    return Curves(
        f"files in the ledger, in {LEDGER_DIRECTORIES:,} directories",
        "files before",
        COST_OF_A_FILE,
        "us",
        (alone.series(), everywhere.series()),
        left_out,
    )


def by_block_size(place: Site) -> Curves:
    alone = Bursts("all in one directory")
    for size in BLOCK_SIZES:
        with watched(place, 1, size) as (ours, places):
            alone.measure(size, partial(ours.burst, places, FILES))
    return Curves("block size", "events in a block at most", COST_OF_A_FILE, "us", (alone.series(),))


def by_backlog(place: Site) -> tuple[Curves, Curves]:
    """Blocks of one event that are recorded while nobody publishes, and then go out from another process."""
    filled: dict[int, list[float]] = {}
    drained: dict[int, list[float]] = {}
    memory: dict[int, list[float]] = {}
    rates: dict[int, list[float]] = {}
    left_out = {}
    with destination(place) as to:
        for number in BACKLOGS:
            if reason := lacking(os.statvfs(place.base), size_bytes=number * BYTES_OF_A_BLOCK):
                left_out[number] = reason
                continue
            for _ in range(ROUNDS):
                base = place.base / "backlog"
                base.mkdir()
                filled.setdefault(number, []).append(to.run("fill", number, 1, base)["us"])
                found = to.publish("drain", number, 1, base)
                shutil.rmtree(base)
                drained.setdefault(number, []).append(found["us"])
                memory.setdefault(number, []).append(found["after"] / MB)
                rates.setdefault(number, []).append(number / found["seconds"])
    notes = {number: f"{statistics.median(found):,.0f} blocks/s" for number, found in rates.items()}
    size = "blocks of one event that wait"
    cost = Curves(
        "backlog: cost",
        size,
        "CPU of a block, us",
        "us",
        (Series("made and recorded", filled), Series("published and forgotten", drained, notes)),
        left_out,
    )
    largest = Series("that publishes them", memory)
    return cost, Curves(
        "backlog: memory", size, "largest memory of the process, MB", "MB", (largest,), left_out
    )


@contextmanager
def watched(place: Site, number: int, block_size: int) -> Iterator[tuple[Crowd, list[Path]]]:
    """A service with one monitor on a tree of so many directories."""
    with crowd(place) as ours:
        places = directories(ours.root, number)
        ours.watch([ours.root], block_size=block_size)
        yield ours, places


def make_files(places: Sequence[Path], number: int) -> None:
    """Empty files, evenly over directories."""
    for index in range(number):
        path = f"{places[index % len(places)]}/before_{index:07}.tif"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


def spread(places: Sequence[Path], most: int) -> Sequence[Path]:
    """So many of the directories at most, evenly from the first to the last."""
    return places[:: -(-len(places) // most)]


def lacking(there: os.statvfs_result, *, files: int = 0, size_bytes: int = 0) -> str | None:
    """What a file system has too little of; None if there is room."""
    if there.f_files and there.f_favail < files:  # one without a table of inodes says that it has 0
        return f"only {there.f_favail:,} inodes are free"
    free = there.f_bavail * there.f_frsize
    return f"only {free / MB:,.0f} MB are free" if free < size_bytes else None
