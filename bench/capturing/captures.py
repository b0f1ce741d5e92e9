"""Watchers that only capture: what each uses for a file, how many files it loses, how late it is."""

from __future__ import annotations

import importlib.util
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench.arrivals.measures import (
    LONGEST_PAUSE_SECONDS,
    Latency,
    latency,
    settled_cpu_seconds,
    writing,
)
from bench.arrivals.sides import new_directory, output
from bench.arrivals.writer import CANARY, make
from bench.capturing.tally import TELL, distinct
from bench.losses import processes
from bench.losses.ear import Ear
from bench.losses.lines import LineReader
from bench.site import Site
from tests.waiting import eventually

COUNT = "count"
_QUIET_SECONDS = 2.0


@dataclass(frozen=True)
class Capture:
    """One of them.

    Attributes:
        name: Of its column.
        install: What installs it; empty for what is there anyway.
        command: What is run before the directory.
        needs: The module that it is of; empty for a program.
        heard: How many files its whole output tells of, canaries left out.
        has_modes: Whether it is told, after the directory, to count or to tell of each file.
        goal: For the ratio of the service's CPU to its own; None for none.
    """

    name: str
    install: str
    command: Sequence[str]
    heard: Callable[[str], int]
    needs: str = ""
    has_modes: bool = True
    goal: str | None = None

    @property
    def is_installed(self) -> bool:
        """Whether it can be run here."""
        if self.needs:
            return importlib.util.find_spec(self.needs) is not None
        return shutil.which(self.command[0]) is not None

    def line(self, directory: Path, mode: str) -> list[str]:
        """The whole command."""
        return [*self.command, str(directory), *([mode] if self.has_modes else [])]


def capture(site: Site, watcher: Capture, files: int, rate: int) -> tuple[float, int]:
    """CPU microseconds for each file heard of, and how many files were lost."""
    with new_directory(site) as directory:
        process = site.spawn(*watcher.line(directory, COUNT))
        try:
            _wait_until_ready(site, process, directory)
            before = settled_cpu_seconds(process.pid)
            with writing(site, directory, files, rate):
                pass
            used = settled_cpu_seconds(process.pid) - before
        finally:
            processes.end(process)
    heard = watcher.heard(output(site, process))
    return used * 1e6 / max(heard, 1), files - heard


def alone(site: Site, watcher: Capture, files: int) -> Latency:
    """File by file, each a while after the last one was heard of: from its close to the watcher's handler.

    The handler of inotifywait is whoever reads what it prints: for it, the time is that at which a line is read.
    """
    chance = random.Random(files)
    closed: dict[str, float] = {}
    with new_directory(site) as directory, _listening(site, watcher, directory) as ear:
        for number in range(files):
            path = f"{directory}/alone{number}"
            make(path)
            closed[path] = time.monotonic()
            ear.wait_for([path], quiet_seconds=_QUIET_SECONDS)
            ear.wait(lambda: False, quiet_seconds=chance.uniform(0, LONGEST_PAUSE_SECONDS))
        heard = {event.path: _at(event.kind, event.at) for event in reversed(ear.heard)}
    late = [round((heard[path] - at) * 1e9) for path, at in closed.items() if path in heard]
    return latency(late, files)


def _at(word: str, arrived: float) -> float:
    """When a file was heard of (monotonic seconds): the watcher's own time, if its word is one."""
    return int(word) / 1e9 if word.isdigit() else arrived


@contextmanager
def _listening(site: Site, watcher: Capture, directory: Path) -> Iterator[Ear]:
    """The ear of a watcher that watches."""
    process, pipe = processes.start(watcher.line(directory, TELL), site.base / "errors.txt")
    try:
        ear = Ear(lambda word: word)
        ear.listen(pipe)
        numbers = count()

        def is_heard() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} has ended: {(site.base / 'errors.txt').read_text()}")
            path = f"{directory}/{next(numbers)}{CANARY}"
            make(path)
            return ear.wait_for([path], quiet_seconds=0.2)

        eventually(is_heard)
        yield ear
    finally:
        processes.end(process)


def _wait_until_ready(site: Site, process: subprocess.Popen[bytes], directory: Path) -> None:
    """Makes files until one of them is heard of."""
    numbers = count()

    def is_ready() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} has ended: {output(site, process)}")
        make(f"{directory}/{next(numbers)}{CANARY}")
        return CANARY in output(site, process)

    eventually(is_ready, every_seconds=0.1)


def _last_word(text: str) -> int:
    return int(text.rsplit(maxsplit=1)[-1])


def _lines(text: str) -> int:
    return distinct([path for _, path in LineReader().feed(text.encode())])


def _child(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"bench.capturing.{name}")


CAPTURES = (
    Capture("this emitter", "", _child("emitter"), _last_word),
    Capture("watchdog", "", _child("watchdog_default"), _last_word, "watchdog", goal="<= 0.17"),
    Capture("watchdog without its buffer", "", _child("watchdog_unbuffered"), _last_word, "watchdog"),
    Capture("watchfiles", "pip install watchfiles", _child("watchfiles_default"), _last_word, "watchfiles"),
    Capture(
        "inotifywait",
        "apt-get install inotify-tools",
        ("inotifywait", "-m", "-r", "-e", "close_write", "--format", "closed\t%w%f"),
        _lines,
        has_modes=False,
        goal="<= 1.5",
    ),
    Capture("plain reader", "", _child("plain"), _last_word),
)
