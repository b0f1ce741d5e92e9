"""A watcher at work on one root, as the situations see it: heard, held, ended and started again."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import count
from pathlib import Path

from bench.losses import processes
from bench.losses.ear import Ear
from bench.losses.findings import Told

_READY_SECONDS = 20


class Watcher(ABC):
    """One process that watches, and the ear at its output. Made started; used on one thread; to be closed."""

    def __init__(self, root: Path, kind_of: Callable[[str], str]) -> None:
        self.root = root
        self.ear = Ear(kind_of)
        self._canaries = count()
        self._process = self._start()

    @property
    def has_ended(self) -> bool:
        """Whether its process is gone."""
        return self._process.poll() is not None

    def wait_until_ready(self) -> None:
        """Makes files in the root until one is heard of: then it watches. Or until the process has ended.

        Raises:
            TimeoutError: Neither happened.
        """
        canaries: set[str] = set()
        for _ in range(_READY_SECONDS * 10):
            canary = self.root / f"canary{next(self._canaries)}"
            canary.touch()
            canaries.add(str(canary))
            if self.ear.wait(
                lambda: bool(canaries & self.ear.paths) or self.has_ended, quiet_seconds=0.1, seconds=0.1
            ):
                break
        else:
            raise TimeoutError(f"nothing was heard of its root for {_READY_SECONDS} s")
        # What belongs to the other canaries is not to be taken for something later.
        self.ear.wait(lambda: self.has_ended, quiet_seconds=0.3, seconds=5)

    def hold(self) -> None:
        """Stops the process, as a machine that is busy elsewhere would."""
        processes.hold(self._process)

    def release(self) -> None:
        """Lets it go on."""
        processes.release(self._process)

    def restart(self, meanwhile: Callable[[], None]) -> None:
        """Ends the process in good order, does what is to happen meanwhile, and starts it again."""
        processes.end(self._process)
        meanwhile()
        self._process = self._start()

    @abstractmethod
    def told(self) -> Told:
        """What it has said about itself until now."""

    def close(self) -> None:
        """Ends the process, and what belongs to it."""
        processes.end(self._process)

    @abstractmethod
    def _start(self) -> subprocess.Popen[bytes]:
        """Starts the process and listens to it."""
