"""The service at its largest: with many monitors, with many directories under one, with many blocks that wait.

How the cost of an event grows on the way there is in `bench/growth.py`.

FSHERALD_BENCH_LARGE=1 makes the backlog a million blocks.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence

from bench.crowd import crowd, directories, threads, watches_allowed
from bench.ledger import started_twice
from bench.publish import destination
from bench.site import Site, cpu_seconds, resident_bytes, site
from bench.table import markdown
from control.logs import configure_logs

MONITORS = 1_000
IDLE_SECONDS = 10.0
TREES = ((20_000, "<= 1.5 s", "<= 1 s", "<= 600"), (100_000, "", "", ""))
"""Directories; goals of the first start, a restart, and bytes of memory a directory."""
BACKLOG = 1_000_000 if os.environ.get("FSHERALD_BENCH_LARGE") == "1" else 200_000
MB = 1e6


def main() -> str:
    """Runs all of it; some minutes."""
    configure_logs("warning")  # the standard output is the table's
    with site() as place:
        rows = [*many_monitors(place), *many_directories(), *backlog(place)]
    return markdown(("what", "measured", "goal"), rows)


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
    """One monitor on many directories, in a process without a broker: empty ones, and with a file in each."""
    for number, *goals in TREES:
        if number * 1.2 > watches_allowed():
            yield [f"{number:,} directories", "not run: fs.inotify.max_user_watches is too small", ""]
            continue
        yield from _tree(f"{number:,} directories", number, 0, goals)
        yield from _tree(
            f"{number:,} directories with a file in each", number, number, [goals[0], goals[1], ""]
        )


def _tree(what: str, number: int, files: int, goals: Sequence[str]) -> Iterator[list[str]]:
    first, again = started_twice(files, number)
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
