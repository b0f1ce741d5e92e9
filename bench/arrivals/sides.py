"""Who tells a consumer of files: the service with a monitor, a script, or Sarracenia. Each watches one directory."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

import pika

from bench.arrivals import sarracenia
from bench.arrivals.consumer import Consumer, of_block, of_sarracenia, of_script
from bench.arrivals.writer import CANARY, make
from bench.losses import processes
from bench.site import Site
from control.client import MonitorServerClient
from schemas.topology import Topology

QueueType = Literal["classic", "quorum"]

_READY_LOOKS = 100
_numbers = count()


@dataclass(frozen=True)
class Watched:
    """A directory that is watched.

    Attributes:
        directory: Empty but for what was made to see that it is watched.
        pid: Of the process that watches.
        consumer: Has heard nothing yet.
    """

    directory: Path
    pid: int
    consumer: Consumer


class ServiceSide:
    """The service as a process, and a new monitor for each directory, as it is created by default."""

    name = "fsherald"
    install = "make setup"
    is_installed = True

    def __init__(self, site: Site) -> None:
        self._site = site
        self._names = Topology(f"fsherald-arrival-{os.getpid()}")
        self._process = site.serve(self._names.namespace)

    @contextmanager
    def watching(self, block_size: int, queue_type: QueueType) -> Iterator[Watched]:
        """A directory with a monitor on it whose blocks are of that size."""
        with (
            new_directory(self._site) as directory,
            _queue(self._site, queue_type) as queue,
            MonitorServerClient(self._site.url, self._names.namespace) as server,
        ):
            monitor = server.create_monitor(str(directory), block_size=block_size, queue=queue)
            try:
                with closing(Consumer(self._site.url, queue, of_block)) as consumer:
                    server.start_monitor(monitor)
                    yield Watched(directory, self._process.pid, consumer)
            finally:
                server.destroy_monitor(monitor)

    def close(self) -> None:
        """Ends the service and leaves nothing on a broker that was given to us."""
        processes.end(self._process, seconds=15)
        with closing(pika.BlockingConnection(pika.URLParameters(self._site.url))) as connection:
            channel = connection.channel()
            channel.exchange_delete(self._names.events)
            for queue in (self._names.control, self._names.files, self._names.dead_letter):
                channel.queue_delete(queue)


class ScriptSide:
    """A script: a process of its own for each directory."""

    def __init__(self, site: Site, watcher: str, client: str, modules: Sequence[str]) -> None:
        """Takes the names of the two libraries, and of the modules that they are."""
        self.name = f"{watcher} + {client}"
        self.install = f"pip install {watcher} {client}"
        self.is_installed = all(importlib.util.find_spec(module) is not None for module in modules)
        self._site = site
        self._module = f"bench.arrivals.{watcher}_script"

    @contextmanager
    def watching(self, block_size: int, queue_type: QueueType) -> Iterator[Watched]:  # noqa: ARG002 - no blocks
        """A directory with a script that watches it."""
        with new_directory(self._site) as directory, _queue(self._site, queue_type) as queue:
            process = self._site.spawn(
                sys.executable, "-m", self._module, self._site.url, queue, str(directory)
            )
            try:
                with closing(Consumer(self._site.url, queue, of_script)) as consumer:
                    _wait_until_ready(self._site, process, directory, consumer)
                    yield Watched(directory, process.pid, consumer)
            finally:
                processes.end(process)

    def close(self) -> None:
        """Nothing is left to end."""


class SarraceniaSide:
    """Sarracenia's `sr3 watch`: a process, a home and an exchange of its own for each directory."""

    name = "Sarracenia sr3 watch"
    install = "make bench"

    def __init__(self, site: Site) -> None:
        self.is_installed = sarracenia.is_installed()
        self._site = site

    @contextmanager
    def watching(self, block_size: int, queue_type: QueueType) -> Iterator[Watched]:  # noqa: ARG002 - no blocks
        """A directory that it announces the files of."""
        site = self._site
        with (
            new_directory(site) as directory,
            _queue(site, queue_type) as queue,
            _exchange(site, f"xs_{queue}", queue) as exchange,
            new_directory(site) as home,
        ):
            process = site.spawn(
                *sarracenia.command(), env=sarracenia.make_home(home, site.url, exchange, directory)
            )
            try:
                with closing(Consumer(site.url, queue, of_sarracenia)) as consumer:
                    _wait_until_ready(site, process, directory, consumer)
                    yield Watched(directory, process.pid, consumer)
            finally:
                processes.end(process)

    def close(self) -> None:
        """Nothing is left to end."""


Side = ServiceSide | ScriptSide | SarraceniaSide


def output(site: Site, process: subprocess.Popen[bytes]) -> str:
    """What a process of the site has printed until now."""
    return (site.base / f"log{site.processes.index(process)}.txt").read_text()


@contextmanager
def new_directory(site: Site) -> Iterator[Path]:
    """An empty one: what is made in it fills the memory, and goes with it."""
    directory = Path(tempfile.mkdtemp(dir=site.root))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def _queue(site: Site, queue_type: QueueType) -> Iterator[str]:
    """A durable queue, there until the end."""
    name = f"bench-arrival-{os.getpid()}-{next(_numbers)}"
    with closing(pika.BlockingConnection(pika.URLParameters(site.url))) as connection:
        connection.channel().queue_declare(name, durable=True, arguments={"x-queue-type": queue_type})
    try:
        yield name
    finally:
        with closing(pika.BlockingConnection(pika.URLParameters(site.url))) as connection:
            connection.channel().queue_delete(name)


@contextmanager
def _exchange(site: Site, name: str, queue: str) -> Iterator[str]:
    """A topic exchange that fills the queue, declared as Sarracenia will; there until the end."""
    with closing(pika.BlockingConnection(pika.URLParameters(site.url))) as connection:
        channel = connection.channel()
        channel.exchange_declare(name, "topic", durable=True)
        channel.queue_bind(queue, name, "#")
    try:
        yield name
    finally:
        with closing(pika.BlockingConnection(pika.URLParameters(site.url))) as connection:
            connection.channel().exchange_delete(name)


def _wait_until_ready(
    site: Site, process: subprocess.Popen[bytes], directory: Path, consumer: Consumer
) -> None:
    """Makes files until one of them is heard of: then the script watches."""
    for number in range(_READY_LOOKS):
        make(f"{directory}/{number}{CANARY}")
        if consumer.wait(1, quiet_seconds=0.2):
            break
        if process.poll() is not None:
            raise RuntimeError(f"the script has ended: {output(site, process)}")
    else:
        raise TimeoutError("the script was not heard of")
    # What belongs to the other canaries is not to be taken for something later.
    consumer.wait(_READY_LOOKS + 1, quiet_seconds=1.0)
    consumer.forget()
