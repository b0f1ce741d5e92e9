"""Watchers that only capture, for scale: files made in a directory, and what the watcher used for each it heard of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench.arrivals.measures import settled_cpu_seconds, writing
from bench.arrivals.sides import new_directory, output
from bench.arrivals.writer import CANARY, make
from bench.losses import processes
from bench.site import Site
from tests.waiting import eventually


@dataclass(frozen=True)
class Capture:
    """One of them.

    Attributes:
        name: Of its column.
        command: What is run before the directory.
        goal: For the ratio of the service's CPU to its own.
        heard: How many files its whole output tells of, canaries left out.
    """

    name: str
    command: Sequence[str]
    goal: str
    heard: Callable[[str], int]

    @property
    def is_installed(self) -> bool:
        """Whether it can be run here."""
        return shutil.which(self.command[0]) is not None


def capture(site: Site, watcher: Capture, files: int, rate: int) -> tuple[float, int]:
    """CPU microseconds for each file heard of, and how many files were lost."""
    with new_directory(site) as directory:
        process = site.spawn(*watcher.command, str(directory))
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


def _wait_until_ready(site: Site, process: subprocess.Popen[bytes], directory: Path) -> None:
    """Makes files until one of them is heard of."""
    numbers = count()

    def is_ready() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} has ended: {output(site, process)}")
        make(f"{directory}/{next(numbers)}{CANARY}")
        return CANARY in output(site, process)

    eventually(is_ready, every_seconds=0.1)


CAPTURES = (
    Capture(
        "inotifywait alone",
        ("inotifywait", "-m", "-r", "-e", "close_write", "--format", "/%f"),
        "<= 1.5",
        lambda text: text.count("\n/") - text.count(CANARY),
    ),
    Capture(
        "watchdog alone",
        (sys.executable, "-m", "bench.arrivals.watchdog_counter"),
        "<= 0.17",
        lambda text: int(text.split()[-1]),
    ),
)
