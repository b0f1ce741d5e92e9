"""The running service: `fsherald serve` as a child process, driven and judged from outside."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from control.embedded import free_port
from tests.waiting import eventually

PROJECT = Path(__file__).parents[2]


class Service:
    """One `fsherald serve` with a state directory of its own; it can be stopped, killed and started again.

    `prefix` is a command that takes the service's as its arguments and becomes it: `setpriv`, `unshare`.
    """

    def __init__(
        self,
        amqp_url: str,
        roots: list[Path],
        directory: Path,
        *,
        prefix: Sequence[str] = (),
        **settings: str,
    ) -> None:
        self.amqp_url = amqp_url
        self.directory = directory
        self.prefix = prefix
        self.http_port = free_port()
        self.settings = {
            "FSHERALD_AMQP_URL": amqp_url,
            "FSHERALD_ROOTS": ":".join(str(root) for root in roots),
            "FSHERALD_STATE_DIR": str(directory / "state"),
            "FSHERALD_HTTP": f"127.0.0.1:{self.http_port}",
            "FSHERALD_LOG_LEVEL": "debug",
            "FSHERALD_LOG_FORMAT": "json",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        self.wait_until_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has written, of every start."""
        return (self.directory / "output").read_text(errors="replace")

    def start(self) -> None:
        """Start it and return at once."""
        with (self.directory / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "control", "serve"],
                env={**clean_environment(), **self.settings},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self, *, seconds: float = 30.0) -> None:
        """Return when it answers requests."""

        def ready() -> bool:
            assert self._process is not None
            code = self._process.poll()
            if code is not None:
                raise RuntimeError(f"ended with code {code}:\n{self.output[-3000:]}")
            return self.get("/readyz") == 200

        try:
            eventually(ready, seconds=seconds, every_seconds=0.05)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.output[-3000:]}") from exc

    def get(self, path: str) -> int:
        """The status of an HTTP request to it; 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def metrics(self) -> str:
        """Its metrics as they are; nothing when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        except OSError:
            return ""
        finally:
            connection.close()

    def has_started_monitors(self, count: int) -> bool:
        """Whether its metrics show so many monitors that are awake."""
        return f'fsherald_monitors{{state="Started"}} {count}.0' in self.metrics()

    def terminate(self, sent: signal.Signals = signal.SIGTERM, *, seconds: float = 30.0) -> int:
        """Ask it to end and return its exit code."""
        assert self._process is not None
        self._process.send_signal(sent)
        return self._process.wait(timeout=seconds)

    def pause(self) -> None:
        """Stop it (SIGSTOP), and return when none of its threads runs any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        eventually(lambda: all(_state(task) == "T" for task in tasks.iterdir()))

    def resume(self) -> None:
        """Have it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def wait(self, *, seconds: float) -> int:
        """Wait for its end and return its exit code; `subprocess.TimeoutExpired` if it goes on."""
        assert self._process is not None
        return self._process.wait(timeout=seconds)

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Start it again after it has ended, and return when it answers."""
        self.start()
        self.wait_until_ready()

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Under a supervisor meanwhile, which starts it, and again whenever it ends with 1."""
        over = threading.Event()

        def supervise() -> None:
            while not over.wait(0.05):
                if self._process is not None and self._process.poll() == 1:
                    self.start()

        self.start()
        supervisor = threading.Thread(target=supervise)
        supervisor.start()
        try:
            yield
        finally:
            over.set()
            supervisor.join()


def _state(task: Path) -> str:
    """The state of a thread: the field after its name, which stands in parentheses (proc(5))."""
    return (task / "stat").read_text().rpartition(") ")[2][:1]


def clean_environment() -> dict[str, str]:
    """The environment without any setting of fsherald's, and with the project importable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FSHERALD_")}
    return {**kept, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}
