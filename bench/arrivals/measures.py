"""What is measured of one side: a burst, single files while it is idle, and files at a steady rate."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.arrivals.consumer import LONGEST_SECONDS
from bench.arrivals.sides import Watched, output
from bench.arrivals.writer import make
from bench.losses import processes
from bench.site import Site, cpu_seconds
from tests.waiting import eventually

QUIET_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 0.02
LONGEST_ALONE_SECONDS = 30.0
_SETTLED_SECONDS, _SETTLED_SHARE = 0.5, 0.02


@dataclass(frozen=True)
class Burst:
    """Files made by one writer.

    Attributes:
        per_second: Files heard of, from the first write to the last message.
        written_per_second: The pace of the writer.
        lost: Files that were not heard of.
        cpu_us: CPU of the process that watches, in microseconds for each file heard of.
        broker_us: The same of the broker, consumer included; None if it is not ours to ask.
        is_cut: Whether files were still coming when it was given up: what is lost may be late.
    """

    per_second: float
    written_per_second: float
    lost: int
    cpu_us: float
    broker_us: float | None = None
    is_cut: bool = False


@dataclass(frozen=True)
class Latency:
    """Milliseconds from a file to the message in the consumer's callback.

    Attributes:
        lost: Files that were not heard of.
        files: Files that were made.
        is_cut: Whether files were still coming when it was given up.
    """

    p50: float
    p99: float
    lost: int
    files: int
    is_cut: bool = False


def burst(site: Site, watched: Watched, files: int, rate: int) -> Burst:
    """So many files in one directory; at rate 0 as fast as the writer can."""
    before, broker_before = settled_cpu_seconds(watched.pid), _broker_seconds(site)
    waited_from = time.monotonic()
    with writing(site, watched.directory, files, rate) as writer:
        watched.consumer.wait(files, quiet_seconds=QUIET_SECONDS, is_busy=_work(watched.pid))
    is_cut = time.monotonic() - waited_from > LONGEST_SECONDS
    times = watched.consumer.times()
    used = (cpu_seconds if is_cut else settled_cpu_seconds)(watched.pid) - before
    broker_used = _broker_seconds(site) - broker_before
    began, ended = (int(word) for word in output(site, writer).split())
    heard = max(len(times), 1)
    return Burst(
        per_second=heard * 1e9 / (max(times.values(), default=ended) - began),
        written_per_second=files * 1e9 / (ended - began),
        lost=files - len(times),
        cpu_us=used * 1e6 / heard,
        broker_us=broker_used * 1e6 / heard if site.broker_pid is not None else None,
        is_cut=is_cut,
    )


def alone(watched: Watched, files: int) -> Latency:
    """File by file, each a while after the message of the last one: from its close. Fewer where that takes too long."""
    chance = random.Random(files)
    closed: dict[str, int] = {}
    deadline = time.monotonic() + LONGEST_ALONE_SECONDS
    for number in range(files):
        if time.monotonic() > deadline:
            break
        make(f"{watched.directory}/alone{number}")
        closed[f"alone{number}"] = time.monotonic_ns()
        watched.consumer.wait(len(closed), quiet_seconds=QUIET_SECONDS)
        watched.consumer.pause(chance.uniform(0, LONGEST_PAUSE_SECONDS))
    times = watched.consumer.times()
    return latency([times[name] - at for name, at in closed.items() if name in times], len(closed))


def steadily(site: Site, watched: Watched, files: int, rate: int) -> Latency:
    """Files at a rate: from the moment before each is made."""
    began = time.monotonic()
    with writing(site, watched.directory, files, rate):
        watched.consumer.wait(files, quiet_seconds=QUIET_SECONDS, is_busy=_work(watched.pid))
    is_cut = time.monotonic() - began > LONGEST_SECONDS
    late = [at - int(name) for name, at in watched.consumer.times().items()]
    return replace(latency(late, files), is_cut=is_cut)


@contextmanager
def writing(site: Site, directory: Path, files: int, rate: int) -> Iterator[subprocess.Popen[bytes]]:
    """A writer at work, done at the end."""
    writer = site.spawn(sys.executable, "-m", "bench.arrivals.writer", str(directory), str(files), str(rate))
    try:
        yield writer
        if writer.wait(60):
            raise RuntimeError(f"the writer ended with code {writer.returncode}")
    finally:
        processes.end(writer)


def settled_cpu_seconds(pid: int) -> float:
    """CPU that a process has used when it has no more to do than waiting."""
    looks: list[tuple[float, float]] = []

    def is_settled() -> bool:
        looks.append((time.monotonic(), cpu_seconds(pid)))
        if len(looks) == 1:
            return False
        (began, before), (ended, after) = looks[-2:]
        return after - before < (ended - began) * _SETTLED_SHARE

    eventually(is_settled, seconds=30, every_seconds=_SETTLED_SECONDS)
    return looks[-1][1]


def _broker_seconds(site: Site) -> float:
    return 0.0 if site.broker_pid is None else cpu_seconds(site.broker_pid)


def _work(pid: int) -> Callable[[], bool]:
    """Tells whether a process had something to do in the last half second or so, messages or not."""
    began, before, is_busy = time.monotonic(), cpu_seconds(pid), True

    def ask() -> bool:
        nonlocal began, before, is_busy
        now = time.monotonic()
        if now - began >= _SETTLED_SECONDS:
            used = cpu_seconds(pid) - before
            is_busy = used > (now - began) * _SETTLED_SHARE
            began, before = now, before + used
        return is_busy

    return ask


def latency(nanoseconds: Sequence[int], files: int) -> Latency:
    """Of so many files, those that were heard of so late."""
    times = [each / 1e6 for each in nanoseconds]
    lost = files - len(times)
    if len(times) < 2:
        return Latency(float("nan"), float("nan"), lost, files)
    return Latency(statistics.median(times), statistics.quantiles(times, n=100)[98], lost, files)
