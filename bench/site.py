"""What a comparison runs on: a broker, the service as a process of its own, and other processes beside it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from control.embedded import EmbeddedBroker
from tests.waiting import eventually


@dataclass
class Site:
    """A broker and a root on tmpfs, where the disk is not what is measured."""

    url: str
    base: Path
    root: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    node: EmbeddedBroker | None = None

    @cached_property
    def broker_pid(self) -> int | None:
        """The process that is the broker; None for one that was given to us, which may be anywhere."""
        if self.node is None:
            return None
        found = re.search(r"\d+", self.node.control("eval", "os:getpid()."))
        return int(found[0]) if found else None

    def spawn(self, *command: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """A process that is ended with the site; its output goes to a file in `base`."""
        with (self.base / f"log{len(self.processes)}.txt").open("wb") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **(env or {})}, stdout=log, stderr=subprocess.STDOUT
            )
        self.processes.append(process)
        return process

    def serve(
        self, namespace: str = "fsherald", *, prefix: Sequence[str] = (), **settings: str
    ) -> subprocess.Popen[bytes]:
        """The service, ready for requests; `prefix` is a command that runs it."""
        port = 20_000 + os.getpid() % 10_000 + len(self.processes)
        env = {
            "FSHERALD_AMQP_URL": self.url,
            "FSHERALD_NAMESPACE": namespace,
            "FSHERALD_ROOTS": str(self.root),
            "FSHERALD_STATE_DIR": str(self.base / f"state-{namespace}"),
            "FSHERALD_HTTP": f"127.0.0.1:{port}",
            **settings,
        }
        process = self.spawn(*prefix, sys.executable, "-m", "control", "serve", env=env)
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}/readyz")
        except BaseException:
            process.kill()
            process.wait()
            raise
        return process

    def close(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def site(*, broker: bool = True) -> Iterator[Site]:
    """A site of its own, gone afterwards; without a broker its URL is empty."""
    with ExitStack() as stack:
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        base = Path(tempfile.mkdtemp(prefix="fsherald-bench-", dir=shm))
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        url = os.environ.get("FSHERALD_BENCH_AMQP_URL") if broker else ""
        node = None
        if url is None:
            node = stack.enter_context(EmbeddedBroker(base / "broker", say=print))
            url = node.url
        root = base / "root"
        root.mkdir()
        made = Site(url, base, root, node=node)
        stack.callback(made.close)
        yield made


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads of a process so far; OSError once it is gone."""
    # clock_getcpuclockid(3): the ticks of /proc/PID/stat are too coarse for microseconds a file.
    return time.clock_gettime(~pid << 3 | 2)


def resident_bytes(pid: int) -> int:
    """The largest resident set of a process so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _wait_until_ready(service: subprocess.Popen[bytes], url: str) -> None:
    eventually(lambda: _answers(url) or service.poll() is not None, seconds=60)
    if service.poll() is not None:
        raise RuntimeError(f"the service ended with code {service.returncode}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
