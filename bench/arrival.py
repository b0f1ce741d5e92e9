"""From a file that is closed to a consumer that has the message: the service, and what one would run instead.

All of them run on one machine, broker, writer and consumer included, in turns; each cell is the median of the rounds.
A file counts as lost when no message told of it, and nothing has come for 5 s in which the process that watches had
nothing to do. CPU is that of this process, for each file that it told of; that of the broker, which has to be ours for
that, includes what the consumer costs it.
Queues are durable classic ones, as scripts declare them; createMonitor declares a quorum queue where there is none, so
these are measured as well.

One script is watchdog and pika as people write it: a message for each file, without confirms; when the broker goes, so
do its messages, and that is the price of its speed. The other is watchfiles and aio-pika, which awaits a confirm for
each; watchfiles cannot tell that a file is closed, so it announces files that may be incomplete. Sarracenia's `sr3
watch` is configured as its guides say. Who takes more than SIDE_SECONDS takes part in no further round.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import pika

from bench.arrivals.consumer import LONGEST_SECONDS, Consumer, of_script
from bench.arrivals.measures import Burst, Latency, alone, burst, steadily
from bench.arrivals.sides import SarraceniaSide, ScriptSide, ServiceSide, Side
from bench.capturing.captures import CAPTURES, Capture, capture
from bench.result import Bars, Figure, Result
from bench.site import Site, site
from bench.table import markdown, missing
from control.logs import configure_logs
from tests.waiting import eventually

ROUNDS = 3
FILES = 20_000
BLOCK_SIZE = 100
PACE = 10_000
SINGLE_FILES = 200
STEADY_RATE, STEADY_SECONDS = 5_000, 3
SIDE_SECONDS = 120


@dataclass
class Found:
    """What the rounds have found of one side, and how long they took."""

    seconds: float = 0.0
    fast: list[Burst] = field(default_factory=list)
    paced: list[Burst] = field(default_factory=list)
    quorum: list[Burst] = field(default_factory=list)
    alone: list[Latency] = field(default_factory=list)
    alone_quorum: list[Latency] = field(default_factory=list)
    steady: list[Latency] = field(default_factory=list)


def main() -> Result:
    """Runs the comparison and returns its tables and a figure; about ten minutes."""
    configure_logs("warning")  # the standard output is the table's
    with site() as place, ExitStack() as stack:
        service = stack.enter_context(closing(ServiceSide(place)))
        everybody: list[Side] = [
            service,
            ScriptSide(place, "watchdog", "pika", ["watchdog", "pika"]),
            ScriptSide(place, "watchfiles", "aio-pika", ["watchfiles", "aio_pika"]),
            SarraceniaSide(place),
        ]
        sides = [side for side in everybody if side.is_installed]
        watchers = [watcher for watcher in CAPTURES if watcher.goal and watcher.is_installed]
        found = {side.name: Found() for side in sides}
        captured: dict[str, list[list[tuple[float, int]]]] = {each.name: [] for each in watchers}
        for _ in range(ROUNDS):
            for side in sides:
                if found[side.name].seconds < SIDE_SECONDS:
                    _measure(place, side, found[side.name])
            for watcher in watchers:
                captured[watcher.name].append(_capture(place, watcher))
        consumer = consumer_rate(place.url)
    columns = list(found.values())
    written = _median([each.written_per_second for column in columns for each in column.fast])
    note = f"The consumer alone takes {consumer:,.0f} messages a second; the writer made {written:,.0f} files a second."
    tables = "\n\n".join([arrival(found), *short_of_rounds(found), _cpu(found[service.name], captured), note])
    text = tables + missing({side.name: side.install for side in everybody if side not in sides})
    return Result(text, (figure(found),))


def _measure(place: Site, side: Side, found: Found) -> None:
    began = time.monotonic()
    with side.watching(BLOCK_SIZE, "classic") as watched:
        found.fast.append(burst(place, watched, FILES, 0))
    with side.watching(BLOCK_SIZE, "quorum") as watched:
        found.quorum.append(burst(place, watched, FILES, 0))
    with side.watching(BLOCK_SIZE, "classic") as watched:
        found.paced.append(burst(place, watched, FILES, PACE))
    with side.watching(1, "classic") as watched:
        found.alone.append(alone(watched, SINGLE_FILES))
    with side.watching(1, "quorum") as watched:
        found.alone_quorum.append(alone(watched, SINGLE_FILES))
    with side.watching(1, "classic") as watched:
        found.steady.append(steadily(place, watched, STEADY_RATE * STEADY_SECONDS, STEADY_RATE))
    found.seconds += time.monotonic() - began


def _capture(place: Site, watcher: Capture) -> list[tuple[float, int]]:
    return [capture(place, watcher, FILES, rate) for rate in (0, PACE)]


def consumer_rate(url: str) -> float:
    """Messages a second that the consumer takes when they are all there already."""
    queue = f"bench-arrival-{os.getpid()}"
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        try:
            for number in range(FILES):
                channel.basic_publish("", queue, f"/data/{number}".encode())
            eventually(lambda: channel.queue_declare(queue, passive=True).method.message_count == FILES)
            began = time.monotonic()
            with closing(Consumer(url, queue, of_script)) as consumer:
                consumer.wait(FILES, quiet_seconds=5)
            return FILES / (time.monotonic() - began)
        finally:
            channel.queue_delete(queue)


def arrival(found: dict[str, Found]) -> str:
    """A column for each side."""

    def row(what: str, cell: Callable[[Found], str], goal: str) -> list[str]:
        return [what, *(cell(column) for column in found.values()), goal]

    fast, paced = f"{FILES:,} files at full speed", f"{FILES:,} files at {PACE:,} a second"
    steady = f"{STEADY_RATE:,} files a second for {STEADY_SECONDS} s, blockSize 1"
    rows = [
        row(f"{fast}: arrived a second", lambda each: _rate(each.fast), "the most"),
        row(f"{fast}: lost", lambda each: _lost(each.fast), "0"),
        row(f"{fast}: CPU of a file", lambda each: f"{_us(each.fast):.1f} us", "the least"),
        row(f"{fast}: CPU of the broker for a file", lambda each: _broker_us(each.fast), "the least"),
        row("the same to a quorum queue: arrived a second", lambda each: _rate(each.quorum), "the most"),
        row(f"{paced}: lost", lambda each: _lost(each.paced), "0"),
        row(f"{paced}: CPU of a file", lambda each: f"{_us(each.paced):.1f} us", "the least"),
        row(f"{paced}: CPU of the broker for a file", lambda each: _broker_us(each.paced), "the least"),
        row("close to message, idle, blockSize 1: p50 / p99", lambda each: _ms(each.alone), "<= 2 / 10 ms"),
        row("the same to a quorum queue: p50 / p99", lambda each: _ms(each.alone_quorum), "<= 2 / 10 ms"),
        row(f"{steady}: p50 / p99", lambda each: _ms(each.steady), "p99 <= 50 ms"),
        row(f"{steady}: lost", lambda each: _lost(each.steady), "0"),
    ]
    return markdown(["what", *found, "goal"], rows)


def figure(found: dict[str, Found]) -> Figure:
    """What tells most of each side, every round."""

    def bars(title: str, measured: str, value: Callable[[Found], list[float]]) -> Bars:
        return Bars(title, measured, {name: value(each) for name, each in found.items()})

    fast = f"{FILES:,} files at full speed"
    return Figure(
        "arrival",
        (
            bars(fast, "arrived a second", lambda each: [run.per_second for run in each.fast]),
            bars(fast, "lost", lambda each: [float(run.lost) for run in each.fast]),
            bars(fast, "CPU of a file, us", lambda each: [run.cpu_us for run in each.fast]),
            bars("one file, idle", "close to message, p50, ms", lambda each: [run.p50 for run in each.alone]),
            bars(
                f"{STEADY_RATE:,} files a second, one a block",
                "p99, ms",
                lambda each: [run.p99 for run in each.steady],
            ),
        ),
    )


def short_of_rounds(found: dict[str, Found]) -> list[str]:
    """A sentence for each side that has not taken part in every round."""
    return [
        f"{name}: {len(each.fast)} of {ROUNDS} rounds, after which more than {SIDE_SECONDS} s were over."
        for name, each in found.items()
        if len(each.fast) < ROUNDS
    ]


def _cpu(service: Found, captured: dict[str, list[list[tuple[float, int]]]]) -> str:
    rows = []
    goal = ", ".join(["<= 20 us", *(each.goal or "" for each in CAPTURES if each.name in captured)])
    for index, (pace, bursts) in enumerate(
        (("full speed", service.fast), (f"{PACE:,} a second", service.paced))
    ):
        ours = _us(bursts)
        cells, ratios = [], []
        for rounds in captured.values():
            used = _median([each[index][0] for each in rounds])
            lost = _median([each[index][1] for each in rounds])
            cells.append(f"{used:.1f} us" + (f" ({lost:,.0f} lost)" if lost else ""))
            ratios.append(f"{ours / used:.2f}")
        rows.append([f"at {pace}", f"{ours:.1f} us", *cells, *ratios, goal])
    names = ["fsherald, whole service", *(f"{name} alone" for name in captured)]
    ratio_names = [f"ratio to {name}" for name in captured]
    return markdown(["CPU of a file", *names, *ratio_names, "goal"], rows)


def _rate(bursts: Sequence[Burst]) -> str:
    return f"{_median([each.per_second for each in bursts]):,.0f}"


def _us(bursts: Sequence[Burst]) -> float:
    return _median([each.cpu_us for each in bursts])


def _broker_us(bursts: Sequence[Burst]) -> str:
    used = [each.broker_us for each in bursts if each.broker_us is not None]
    return f"{_median(used):.1f} us" if used else "-"


def _ms(latencies: Sequence[Latency]) -> str:
    p50, p99 = (_median([getattr(each, name) for each in latencies]) for name in ("p50", "p99"))
    files = round(_median([each.files for each in latencies]))
    return f"{p50:.1f} / {p99:.1f} ms" + (f" (of {files})" if files < SINGLE_FILES else "")


def _lost(measured: Sequence[Burst] | Sequence[Latency]) -> str:
    lost = f"{_median([each.lost for each in measured]):,.0f}"
    return (
        f"{lost} not there after {LONGEST_SECONDS:.0f} s" if any(each.is_cut for each in measured) else lost
    )


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)
