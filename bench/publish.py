"""The relay against bare pika: the same messages to the same exchange, in turns, each in a process of its own.

The relay reads each block from its store and forgets it there once it is confirmed; pika has all in memory and
keeps nothing. Both wait for the broker's confirms.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pika
from pika.adapters.blocking_connection import BlockingChannel

from bench.bare_pika import IN_FLIGHT
from bench.publish_child import MONITOR_ID
from bench.result import Bars, Figure, Result
from bench.site import Site, site
from bench.table import markdown
from schemas.topology import Topology

ROUNDS = 5
BLOCKS = 20_000
ROUND_TRIPS = 2_000
SIZES = ((10, 20_000), (100, 2_000), (1_000, 400))
"""Events in a block, and how many such blocks."""
GOAL = ">= 0.85"

Runs = dict[str, list[dict[str, float]]]
"""Of each publisher what it measured in each round."""

_NAMES = {
    "relay": "fsherald's relay, from its store",
    "pipelined": f"pika, {IN_FLIGHT:,} in flight",
    "blocking": "pika, one round trip a message",
}


def main() -> Result:
    """Runs all of it; some minutes."""
    counts = {1: {"relay": BLOCKS, "pipelined": BLOCKS, "blocking": ROUND_TRIPS}}
    counts |= {events: {"relay": count, "pipelined": count} for events, count in SIZES}
    with site() as place, destination(place) as to:
        runs = {events: measured(to, events, by_side) for events, by_side in counts.items()}
    rows = [row for events, found in runs.items() for row in compared(events, counts[events], found)]
    header = (
        "events a block",
        "publisher",
        "blocks/s",
        "events/s",
        "CPU a block",
        "of pika in flight",
        "goal",
    )
    rates = {
        _NAMES[who]: [counts[1][who] / run["seconds"] for run in found] for who, found in runs[1].items()
    }
    bars = Bars("publishing blocks of one event", "confirmed blocks a second", rates)
    return Result(markdown(header, rows), (Figure("publish", (bars,)),))


@dataclass
class Destination:
    """An exchange and one queue bound to it, as a monitor has them."""

    place: Site
    names: Topology
    queue: str
    channel: BlockingChannel

    def publish(self, who: str, count: int, events: int, base: Path | None = None) -> dict[str, float]:
        """What a publisher measures of itself; its messages are counted in the queue, which is empty then."""
        found = self.run(who, count, events, base)
        there = self.channel.queue_purge(self.queue).method.message_count
        if there != count:
            raise RuntimeError(f"{who} has published {there:,} messages instead of {count:,}")
        return found

    def run(self, who: str, count: int, events: int, base: Path | None = None) -> dict[str, float]:
        """What a child says; without `base` it has a directory of its own."""
        with tempfile.TemporaryDirectory(dir=self.place.base) as own:
            command = [sys.executable, "-m", "bench.publish_child", who, self.place.url, self.names.namespace]
            arguments = [str(base or own), str(count), str(events)]
            done = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found


@contextmanager
def destination(place: Site) -> Iterator[Destination]:
    """Gone afterwards."""
    names = Topology(f"fsherald-publish-{os.getpid()}")
    exchange, queue = names.monitor_exchange(MONITOR_ID), f"{names.namespace}.queue"
    parameters = pika.URLParameters(place.url)
    parameters.heartbeat = 0  # it is silent while a publisher runs
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    try:
        for each in (names.events, exchange):
            channel.exchange_declare(each, "topic", durable=True)
        channel.exchange_bind(names.events, exchange, "#")
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, exchange, "#")
        yield Destination(place, names, queue, channel)
    finally:
        channel.queue_delete(queue)
        for each in (names.events, exchange):
            channel.exchange_delete(each)
        connection.close()


def measured(to: Destination, events: int, counts: dict[str, int]) -> Runs:
    """What each publisher measures; all have a turn in every round."""
    runs: Runs = {who: [] for who in counts}
    for _ in range(ROUNDS):
        for who, count in counts.items():
            runs[who].append(to.publish(who, count, events))
    return runs


def compared(events: int, counts: dict[str, int], runs: Runs) -> list[list[str]]:
    """A row for each publisher."""
    rates = {who: counts[who] / _median(found, "seconds") for who, found in runs.items()}
    return [
        [
            f"{events:,}",
            _NAMES[who],
            f"{rate:,.0f}",
            f"{rate * events:,.0f}",
            f"{_median(runs[who], 'us'):.0f} us",
            "-" if who == "pipelined" else f"{rate / rates['pipelined']:.2f}",
            GOAL if (who, events) == ("relay", 1) else "",
        ]
        for who, rate in rates.items()
    ]


def _median(runs: Sequence[dict[str, float]], what: str) -> float:
    return statistics.median(run[what] for run in runs)
