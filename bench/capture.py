"""Capture alone, without a broker: from the kernel to a handler that keeps the path, this project's and others'.

All of them watch one directory on one machine, the writer included, in turns; each cell is the median of the rounds.
CPU is that of the process that watches, for each file that it heard of. A file is heard of when it was closed after
writing; watchfiles cannot tell that, and hears of files that were added. inotifywait has no handler: it prints a line
for each file, and has been heard when somebody has read that.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.arrivals.measures import Latency
from bench.capturing.captures import CAPTURES, Capture, alone, capture
from bench.result import Bars, Figure, Result
from bench.site import Site, site
from bench.table import markdown, missing

ROUNDS = 3
FILES = 20_000
PACE = 10_000
SINGLE_FILES = 200


@dataclass
class Found:
    """What the rounds have found of one watcher: CPU and losses, fast and paced, and how late it was when idle."""

    fast: list[tuple[float, int]] = field(default_factory=list)
    paced: list[tuple[float, int]] = field(default_factory=list)
    alone: list[Latency] = field(default_factory=list)


def main() -> Result:
    """Runs the comparison and returns its table and a figure; about three minutes."""
    watchers = [watcher for watcher in CAPTURES if watcher.is_installed]
    found = {watcher.name: Found() for watcher in watchers}
    with site(broker=False) as place:
        for _ in range(ROUNDS):
            for watcher in watchers:
                _measure(place, watcher, found[watcher.name])
    text = table(found) + missing({each.name: each.install for each in CAPTURES if each not in watchers})
    return Result(text, (figure(found),))


def _measure(place: Site, watcher: Capture, found: Found) -> None:
    found.fast.append(capture(place, watcher, FILES, 0))
    found.paced.append(capture(place, watcher, FILES, PACE))
    found.alone.append(alone(place, watcher, SINGLE_FILES))


def figure(found: dict[str, Found]) -> Figure:
    """CPU of a file, every round."""
    fast = {name: [used for used, _ in each.fast] for name, each in found.items()}
    paced = {name: [used for used, _ in each.paced] for name, each in found.items()}
    what = "CPU of a file, us"
    return Figure("capture", (Bars("full speed", what, fast), Bars(f"{PACE:,} files a second", what, paced)))


def table(found: dict[str, Found]) -> str:
    """A column for each watcher."""
    fast, paced = f"{FILES:,} files at full speed", f"{FILES:,} files at {PACE:,} a second"
    columns = list(found.values())
    rows = [
        [f"{fast}: CPU of a file", *(_us(each.fast) for each in columns)],
        [f"{fast}: lost", *(_lost(each.fast) for each in columns)],
        [f"{paced}: CPU of a file", *(_us(each.paced) for each in columns)],
        [f"{paced}: lost", *(_lost(each.paced) for each in columns)],
        ["close to handler, idle: p50 / p99", *(_ms(each.alone) for each in columns)],
    ]
    return markdown(["what", *found], rows)


def _us(bursts: Sequence[tuple[float, int]]) -> str:
    return f"{statistics.median(used for used, _ in bursts):.1f} us"


def _lost(bursts: Sequence[tuple[float, int]]) -> str:
    return f"{statistics.median(lost for _, lost in bursts):,.0f}"


def _ms(latencies: Sequence[Latency]) -> str:
    p50, p99 = (statistics.median(getattr(each, name) for each in latencies) for name in ("p50", "p99"))
    return f"{p50:.2f} / {p99:.2f} ms"
