"""What is measured of one side: a burst, single files while it is idle, and files at a steady rate."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.arrivals.sides import Watched, output
from bench.arrivals.writer import make
from bench.losses import processes
from bench.site import Site
from tests.waiting import eventually

QUIET_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 0.02
_SETTLED_SECONDS, _SETTLED_SHARE = 0.5, 0.02


@dataclass(frozen=True)
class Burst:
    """Files made by one writer.

    Attributes:
        per_second: Files heard of, from the first write to the last message.
        written_per_second: The pace of the writer.
        lost: Files that were not heard of.
        cpu_us: CPU of the process that watches, in microseconds for each file heard of.
    """

    per_second: float
    written_per_second: float
    lost: int
    cpu_us: float


@dataclass(frozen=True)
class Latency:
    """Milliseconds from a file to the message in the consumer's callback; files that were not heard of."""

    p50: float
    p99: float
    lost: int


def burst(site: Site, watched: Watched, files: int, rate: int) -> Burst:
    """So many files in one directory; at rate 0 as fast as the writer can."""
    before = settled_cpu_seconds(watched.pid)
    with writing(site, watched.directory, files, rate) as writer:
        watched.consumer.wait(files, quiet_seconds=QUIET_SECONDS)
    times = watched.consumer.times()
    used = settled_cpu_seconds(watched.pid) - before
    began, ended = (int(word) for word in output(site, writer).split())
    heard = max(len(times), 1)
    seconds = (max(times.values(), default=ended) - began) / 1e9
    return Burst(heard / seconds, files * 1e9 / (ended - began), files - len(times), used * 1e6 / heard)


def alone(watched: Watched, files: int) -> Latency:
    """File by file, each a while after the message of the last one: from its close."""
    chance = random.Random(files)
    closed: dict[str, int] = {}
    for number in range(files):
        make(f"{watched.directory}/alone{number}")
        closed[f"alone{number}"] = time.monotonic_ns()
        watched.consumer.wait(len(closed), quiet_seconds=QUIET_SECONDS)
        watched.consumer.pause(chance.uniform(0, LONGEST_PAUSE_SECONDS))
    times = watched.consumer.times()
    return latency([times[name] - at for name, at in closed.items() if name in times], files)


def steadily(site: Site, watched: Watched, files: int, rate: int) -> Latency:
    """Files at a rate: from the moment before each is made."""
    with writing(site, watched.directory, files, rate):
        watched.consumer.wait(files, quiet_seconds=QUIET_SECONDS)
    return latency([at - int(name) for name, at in watched.consumer.times().items()], files)


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
        looks.append((time.monotonic(), _cpu_seconds(pid)))
        if len(looks) == 1:
            return False
        (began, before), (ended, after) = looks[-2:]
        return after - before < (ended - began) * _SETTLED_SHARE

    eventually(is_settled, seconds=30, every_seconds=_SETTLED_SECONDS)
    return looks[-1][1]


def _cpu_seconds(pid: int) -> float:
    # clock_getcpuclockid(3): the ticks of /proc/PID/stat are too coarse for microseconds a file.
    return time.clock_gettime(~pid << 3 | 2)


def latency(nanoseconds: Sequence[int], files: int) -> Latency:
    """Of so many files, those that were heard of so late."""
    times = [each / 1e6 for each in nanoseconds]
    lost = files - len(times)
    if len(times) < 2:
        return Latency(float("nan"), float("nan"), lost)
    return Latency(statistics.median(times), statistics.quantiles(times, n=100)[98], lost)
