"""`fsherald serve` as a child process of the demonstration: started, waited for, ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from control.client import NoServerError
from schemas.errors import FsheraldError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from control.client import MonitorServerClient

_START_SECONDS = 60.0
_STOP_SECONDS = 25.0
_LOOK_SECONDS = 0.2
_LOG_TAIL_LINES = 5


class ChildServerError(FsheraldError):
    """The server could not start, or has ended."""


class ChildServer:
    """One server, with a session of its own: Ctrl-C at the terminal reaches its parent alone, which then ends it."""

    def __init__(self, log: Path) -> None:
        """Starts nothing yet; `log` receives what it says."""
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, options: Sequence[str]) -> None:
        """Starts `fsherald serve` with `options`; main thread only, since the kernel ends it with that thread."""
        command = [sys.executable, "-m", "control", "serve", *options]
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "TERM", *command]
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def has_ended(self) -> bool:
        """Whether it runs no more, or never did."""
        return self._process is None or self._process.poll() is not None

    def wait_until_it_answers(self, client: MonitorServerClient) -> None:
        """Blocks until it serves requests.

        Raises:
            ChildServerError: it has ended, or takes too long; with what it said last.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers(client):
            if self._has_ended_within(_LOOK_SECONDS):
                raise ChildServerError(f"the server could not start; {self.last_words()}")
            if time.monotonic() > deadline:
                raise ChildServerError(f"the server does not answer; {self.last_words()}")

    def _answers(self, client: MonitorServerClient) -> bool:
        try:
            client.list_monitors()
        except NoServerError:
            return False
        return True

    def _has_ended_within(self, seconds: float) -> bool:
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self) -> str:
        """What it said last, and where the rest of it is."""
        lines = self.log.read_text(errors="replace").strip().splitlines()[-_LOG_TAIL_LINES:]
        return f"it said (all of it is in {short_path(self.log)}): {' | '.join(lines) or 'nothing'}"

    def stop(self) -> None:
        """Asks it to end, insists after a while, and returns when it is gone; no effect when it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        if not self._has_ended_within(_STOP_SECONDS):
            self._process.kill()
            self._process.wait()


def short_path(path: Path) -> str:
    """`path` as seen from here, if it is below."""
    try:
        return os.path.join(".", path.relative_to(Path.cwd()))  # noqa: PTH118 - Path drops the leading "./"
    except ValueError:
        return str(path)
