"""The service with any number of monitors, and a consumer of all their events, which counts them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, cycle, islice
from pathlib import Path

import pika
from pika.adapters.blocking_connection import BlockingChannel

from bench.site import Site, cpu_seconds
from control.client import MonitorServerClient
from schemas.topology import HEADER_EVENT_COUNT, Topology
from tests.waiting import eventually

LONGEST_SECONDS = 120
_STOP_SECONDS = 60
_LOOK_SECONDS = 0.5
_FILES_AT_ONCE = 4_000
"""What the kernel's queue of 16,384 records takes, whenever the service comes to read it."""
_QUIET_SECONDS = 0.02
"""Processor time of a service between two looks up to which it is taken for idle."""

_numbers = count()


class Crowd:
    """The service as a process of its own, in a namespace of its own. `crowd` makes it."""

    def __init__(self, place: Site, names: Topology, channel: BlockingChannel) -> None:
        self.root = place.root / names.namespace
        self.root.mkdir()
        self._place = place
        self._names = names
        self._channel = channel
        self._queue = f"{names.namespace}.heard"
        self._channel.queue_declare(self._queue, durable=True)
        self._channel.exchange_declare(names.events, "topic", durable=True)
        self._channel.queue_bind(self._queue, names.events, "#")
        self._exchanges: list[str] = []
        self._bursts = count()
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def service(self) -> subprocess.Popen[bytes]:
        if self._running is None:
            raise RuntimeError("the service does not run")
        return self._running

    @property
    def pid(self) -> int:
        return self.service.pid

    def serve(self) -> float:
        """Starts the service; the seconds until it is ready."""
        began = time.perf_counter()
        self._running = self._place.serve(self._names.namespace)
        return time.perf_counter() - began

    def end(self) -> float:
        """Has the service end as an operator would, and kills it when it does not; the seconds that took."""
        began = time.perf_counter()
        self.service.send_signal(signal.SIGTERM)
        try:
            self.service.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.service.kill()
            self.service.wait()
        self._running = None
        return time.perf_counter() - began

    def watch(self, directories: Sequence[Path], *, block_size: int = 100) -> float:
        """A monitor on each; the seconds that took."""
        began = time.perf_counter()
        with MonitorServerClient(self._place.url, self._names.namespace) as server:
            for directory in directories:
                monitor_id = server.create_monitor(str(directory), block_size=block_size)
                self._exchanges.append(self._names.monitor_exchange(monitor_id))
                server.start_monitor(monitor_id)
        return time.perf_counter() - began

    def burst(self, directories: Sequence[Path], files: int) -> tuple[float, float]:
        """New files, in turns over the directories: microseconds of the service's processor time for each, and blocks.

        As many at once as the kernel's queue takes, and the next when these are heard. Afterwards they are deleted,
        which is not measured: the next burst finds what this one found.

        Raises:
            AssertionError: Not all were announced in time, or a monitor had to compare.
        """
        self.rest()
        number, used = next(self._bursts), cpu_seconds(self.pid)
        turns = islice(cycle(directories), files)
        paths = [f"{place}/image_{number:03}_{file:05}.tif" for file, place in enumerate(turns)]
        blocks = self._each(paths, lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)))
        self.rest()
        cost = (cpu_seconds(self.pid) - used) * 1e6 / files
        self._each(paths, os.unlink)
        return cost, blocks

    def rest(self) -> None:
        """Returns when the service has nothing to do, or has ended."""
        looks: list[float] = []

        def idle() -> bool:
            looks.append(cpu_seconds(self.pid))
            return len(looks) > 1 and looks[-1] - looks[-2] <= _QUIET_SECONDS

        eventually(
            lambda: self.service.poll() is not None or idle(),
            seconds=LONGEST_SECONDS,
            every_seconds=_LOOK_SECONDS,
        )

    def close(self) -> None:
        """Ends the service and takes what is its own from the disk and from the broker."""
        if self._running is not None:
            self.end()
        shutil.rmtree(self.root)
        for exchange in (*self._exchanges, self._names.events):
            self._channel.exchange_delete(exchange)
        for queue in (self._queue, self._names.control, self._names.files, self._names.dead_letter):
            self._channel.queue_delete(queue)

    def _each(self, paths: Sequence[str], change: Callable[[str], None]) -> int:
        """Changes every file and hears of it; in how many blocks."""
        blocks, rest = 0, iter(paths)
        while at_once := list(islice(rest, _FILES_AT_ONCE)):
            for path in at_once:
                change(path)
            blocks += self._hear(len(at_once))
        return blocks

    def _hear(self, events: int) -> int:
        """Consumes until so many events have come; in how many blocks."""
        deadline = time.monotonic() + LONGEST_SECONDS
        heard = blocks = 0
        for method, properties, _ in self._channel.consume(self._queue, auto_ack=True, inactivity_timeout=1):
            if method is not None and properties is not None:
                assert not method.routing_key.endswith(".system"), "a monitor had to compare"
                heard += properties.headers[HEADER_EVENT_COUNT]
                blocks += 1
            if heard >= events:
                break
            assert time.monotonic() < deadline, f"only {heard} of {events} events were heard"
        self._channel.cancel()
        return blocks


@contextmanager
def crowd(place: Site) -> Iterator[Crowd]:
    """Ended afterwards."""
    parameters = pika.URLParameters(place.url)
    parameters.heartbeat = 0  # it is silent for long
    connection = pika.BlockingConnection(parameters)
    made = Crowd(place, Topology(f"fsherald-scale-{os.getpid()}-{next(_numbers)}"), connection.channel())
    try:
        made.serve()
        yield made
    finally:
        made.close()
        connection.close()


def directories(root: Path, number: int) -> list[Path]:
    """New directories."""
    made = [root / f"directory{each:06}" for each in range(number)]
    for each in made:
        each.mkdir(parents=True)
    return made


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def watches_allowed() -> int:
    """Directories that the kernel watches for one user."""
    return int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
