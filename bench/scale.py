"""How the service grows: with many monitors, with many directories under one, with many blocks that wait.

FSHERALD_BENCH_LARGE=1 makes the backlog a million blocks.
"""

from __future__ import annotations

import os
import shutil
import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.crowd import Crowd, cpu_seconds, crowd, directories, threads
from bench.ledger import run_monitored, temporary
from bench.publish import destination
from bench.site import Site, resident_bytes, site
from bench.table import markdown
from control.logs import configure_logs

MONITORS = 1_000
IDLE_SECONDS = 10.0
TREES = ((20_000, "<= 1.5 s", "<= 1 s", "<= 600"), (100_000, "", "", ""))
"""Directories, each with a file; goals of the first start, a restart, and bytes of memory a directory."""
FILES = 20_000
ROUNDS = 3
CROWDS = (1, 100, 1_000)
WIDTHS = (10, 1_000, 20_000)
BLOCK_SIZES = (1, 10, 100, 1_000)
BACKLOG = 1_000_000 if os.environ.get("FSHERALD_BENCH_LARGE") == "1" else 200_000
MB = 1e6


def main() -> str:
    """Runs all of it; some minutes."""
    configure_logs("warning")  # the standard output is the table's
    with site() as place:
        rows = [*many_monitors(place), *many_directories(), *backlog(place)]
        bursts = [*by_monitors(place), *by_directories(place), *by_block_size(place)]
    tables = [
        markdown(("what", "measured", "goal"), rows),
        markdown(("burst of new files", "blocks", f"CPU a file, median of {ROUNDS}"), bursts),
    ]
    return "\n\n".join(tables)


def many_monitors(place: Site) -> list[list[str]]:
    """A thousand monitors in one service, which is ended and started again."""
    with crowd(place) as ours:
        made = ours.watch(directories(ours.root, MONITORS))
        ended, ready = ours.end(), ours.serve()
        ours.rest()
        used = cpu_seconds(ours.pid)
        threading.Event().wait(IDLE_SECONDS)
        share = (cpu_seconds(ours.pid) - used) / IDLE_SECONDS
        what = f"{MONITORS:,} monitors"
        return [
            [f"{what}: one created and started over RPC", f"{made / MONITORS * 1e3:.1f} ms", ""],
            [f"{what}: end of the service", f"{ended:.2f} s", ""],
            [f"{what}: start until ready", f"{ready:.2f} s", "<= 5 s"],
            [f"{what}: threads", str(threads(ours.pid)), "<= 16"],
            [f"{what}: memory at its largest", f"{resident_bytes(ours.pid) / MB:.0f} MB", "<= 150 MB"],
            [f"{what}: CPU when idle", f"{share:.2%}", "<= 1 %"],
        ]


def many_directories() -> Iterator[list[str]]:
    """One monitor on many directories, in a process without a broker."""
    for number, *goals in TREES:
        what = f"{number:,} directories"
        if number * 1.2 > _watches_allowed():
            yield [what, "not run: fs.inotify.max_user_watches is too small", ""]
            continue
        base = temporary()
        try:
            first = run_monitored("begin", number, number, "ledger", base)
            again = run_monitored("restart", number, number, "ledger", base)
        finally:
            shutil.rmtree(base)
        yield [f"{what}: first start", f"{first['seconds']:.2f} s", goals[0]]
        yield [f"{what}: restart, nothing changed", f"{again['seconds']:.2f} s", goals[1]]
        sizes = [f"{found['bytes'] / number:.0f}" for found in (first, again)]
        yield [f"{what}: memory a directory, first start / restart", f"{' / '.join(sizes)} bytes", goals[2]]


def backlog(place: Site) -> list[list[str]]:
    """Blocks that have waited for the broker, published by another process than the one that recorded them."""
    base = place.base / "backlog"
    base.mkdir()
    with destination(place) as to:
        to.run("fill", BACKLOG, 1, base)
        found = to.publish("drain", BACKLOG, 1, base)
    shutil.rmtree(base)
    what = f"backlog of {BACKLOG:,} blocks of one event"
    sizes = [f"{found[when] / MB:.0f}" for when in ("before", "after")]
    return [
        [f"{what}: published", f"{BACKLOG / found['seconds']:,.0f} blocks/s", ""],
        [f"{what}: largest memory before / after", f"{' / '.join(sizes)} MB", "no growth"],
    ]


def by_monitors(place: Site) -> Iterator[list[str]]:
    """All files in the directory of one of the monitors, and evenly over all of them."""
    with crowd(place) as ours:
        places = directories(ours.root, CROWDS[-1])
        watched = 0
        for number in CROWDS:
            ours.watch(places[watched:number])
            watched = number
            yield _row(f"of one monitor among {number:,}", partial(ours.burst, places[:1], FILES))
            if number > 1:
                yield _row(f"evenly over {number:,} monitors", partial(ours.burst, places[:number], FILES))


def by_directories(place: Site) -> Iterator[list[str]]:
    for number in WIDTHS:
        with watched(place, number, 100) as (ours, places):
            yield _row(
                f"evenly over {number:,} directories of one monitor", partial(ours.burst, places, FILES)
            )


def by_block_size(place: Site) -> Iterator[list[str]]:
    for size in BLOCK_SIZES:
        with watched(place, 1, size) as (ours, places):
            yield _row(f"in blocks of {size:,}", partial(ours.burst, places, FILES))


@contextmanager
def watched(place: Site, number: int, block_size: int) -> Iterator[tuple[Crowd, list[Path]]]:
    """A service with one monitor on a tree of so many directories."""
    with crowd(place) as ours:
        places = directories(ours.root, number)
        ours.watch([ours.root], block_size=block_size)
        yield ours, places


def _row(what: str, burst: Callable[[], tuple[float, float]]) -> list[str]:
    runs = [burst() for _ in range(ROUNDS)]
    cost, blocks = (statistics.median(values) for values in zip(*runs, strict=True))
    return [f"{FILES:,} files, {what}", f"{blocks:,.0f}", f"{cost:.0f} us"]


def _watches_allowed() -> int:
    return int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
