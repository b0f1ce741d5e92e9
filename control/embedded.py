"""A private RabbitMQ node as a child process: a first run, and the tests, without a broker to set up.

The node is the distribution's own `rabbitmq-server`, run as the calling user with an environment, ports,
data and Erlang port mapper (epmd) of its own, so that it neither disturbs nor needs the system's broker.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from control.embedded_files import NODE, PATH, USER, NodeDirectory, free_port
from control.embedded_package import EmbeddedBrokerError, find, find_or_install, tail

__all__ = ["EmbeddedBroker", "EmbeddedBrokerError", "find", "find_or_install", "free_port"]

# The broker answers the protocol header with a method frame, which is of type 1 (AMQP 0-9-1, 4.2.2).
_AMQP_HEADER: Final = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME: Final = b"\x01"


class EmbeddedBroker:
    """One private RabbitMQ node and its port mapper, both children of this process.

    They end with this process however it ends, SIGKILL included (`PR_SET_PDEATHSIG`). The kernel sends that
    signal when the *thread* that started a child ends, so call `start()` on the main thread.

    Data, credentials, ports and log live in `state_dir/broker` and are kept for the next start.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        say: Callable[[str], None],
        management: bool = False,
        settings: Mapping[str, str] | None = None,
        start_seconds: float = 90.0,
        stop_seconds: float = 20.0,
    ) -> None:
        """Prepare a node; nothing is started or written yet.

        Args:
            state_dir: A directory of the calling user; any name, spaces included.
            say: Told in one line each what is about to be done.
            management: Also serve the management interface and its HTTP API.
            settings: Further lines of `rabbitmq.conf`.
            start_seconds: How long the node may take until it answers.
            stop_seconds: How long it may take to stop before it is killed.
        """
        self._directory = NodeDirectory(
            (state_dir / "broker").absolute(), management=management, settings=settings or {}
        )
        self._say = say
        self._management = management
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._lock: int | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The AMQP URL of the virtual host `/`, password included; known once started."""
        return f"amqp://{USER}:{self._directory.password}@127.0.0.1:{self._directory.ports['amqp']}/"

    @property
    def management_url(self) -> str:
        """The URL of the management interface, without credentials; only with `management`."""
        return f"http://127.0.0.1:{self._directory.ports['management']}"

    @property
    def is_running(self) -> bool:
        """Whether the node's process is there."""
        return self._node is not None and self._node.poll() is None

    @property
    def log_path(self) -> Path:
        """Where the node writes its log."""
        return self._directory.log("node.log")

    def start(self) -> None:
        """Install what is missing, start the node and return when it answers AMQP; main thread only.

        Raises:
            EmbeddedBrokerError: Not installable, in use by another process, or not up in time; with the
                end of its log. Nothing is left running then.
        """
        if self.is_running:
            return
        self.stop()
        server = find_or_install(self._say)
        self._directory.make()
        self._take_lock()
        try:
            self._end_strays()
            self._directory.write()
            self._say("starting a private RabbitMQ node, about ten seconds")
            self._start_epmd()
            self._node = self._spawn([str(server)], "server.log")
            self._wait_until_it_answers(self._node)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the node and its port mapper and return when they are gone; no effect when not running."""
        if self._lock is None:
            return
        for process in (self._node, self._epmd):
            if process is not None:
                self._end(process)
        self._node = self._epmd = None
        self._end_strays()
        os.close(self._lock)
        self._lock = None

    def kill(self) -> None:
        """End everything at once, as a crash would; the data stays. For tests of recovery."""
        if self._node is not None:
            _signal_group(self._node)
        self.stop()

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on the node and return what it prints.

        Raises:
            EmbeddedBrokerError: It failed; with what it printed.
        """
        command = [str(find_or_install(self._say).with_name("rabbitmqctl")), "-n", NODE, *arguments]
        environment = self._directory.environment()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise EmbeddedBrokerError(f"rabbitmqctl {arguments[0]}: {tail(done.stdout + done.stderr)}")
        return done.stdout

    def __enter__(self) -> Self:
        """Start the node."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the node."""
        self.stop()

    def _take_lock(self) -> None:
        lock = os.open(self._directory.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(lock)
            raise EmbeddedBrokerError(f"another fsherald runs a broker in {self._directory.path}") from exc
        self._lock = lock

    def _spawn(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        setpriv = shutil.which("setpriv", path=PATH)
        if setpriv is None:
            raise EmbeddedBrokerError("setpriv is not installed: `sudo apt-get install util-linux`")
        with self._directory.log(log).open("wb") as output:
            return subprocess.Popen(
                [setpriv, "--pdeathsig", "TERM", *command],
                env=self._directory.environment(),
                cwd=self._directory.path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the service, which stops the node when it needs it no longer.
                start_new_session=True,
            )

    def _start_epmd(self) -> None:
        # Without one that listens the node would start a daemon that outlives it.
        port = self._directory.ports["epmd"]
        self._epmd = self._spawn(["epmd", "-port", str(port), "-address", "127.0.0.1"], "epmd.log")
        self._wait(self._epmd, "epmd.log", lambda: _answers(port, b"", b""))

    def _wait_until_it_answers(self, node: subprocess.Popen[bytes]) -> None:
        amqp, management = self._directory.ports["amqp"], self._directory.ports["management"]
        self._wait(node, "node.log", lambda: _answers(amqp, _AMQP_HEADER, _METHOD_FRAME))
        if self._management:
            self._wait(node, "node.log", lambda: _answers(management, b"GET / HTTP/1.0\r\n\r\n", b"HTTP"))

    def _wait(self, process: subprocess.Popen[bytes], log: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._start_seconds
        while not is_ready():
            try:
                code = process.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                if time.monotonic() < deadline:
                    continue
                reason = f"did not answer within {self._start_seconds:g} s"
            else:
                reason = f"ended with code {code}"
            raise EmbeddedBrokerError(f"the private RabbitMQ node {reason}:\n{self._said(log)}")

    def _said(self, log: str) -> str:
        """What a log tells of a failure: its first errors, which name the cause, else its end."""
        for path in (self._directory.log(log), self._directory.log("server.log")):
            with suppress(OSError):
                if text := path.read_text(errors="replace").strip():
                    errors = [line for line in text.splitlines() if "[error]" in line]
                    return "\n".join([*errors[:10], f"({path})"]) if errors else tail(text)
        return "it wrote no log"

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(timeout=self._stop_seconds)
        except subprocess.TimeoutExpired:
            _signal_group(process)
            process.wait()

    def _end_strays(self) -> None:
        """End what is left of a node in this directory: of a run that was killed and is still stopping."""
        deadline = time.monotonic() + self._stop_seconds
        asked: set[int] = set()
        while strays := _processes_marked(self._directory.mark):
            late = time.monotonic() - deadline
            if late > self._stop_seconds:
                raise EmbeddedBrokerError(f"a former node does not end, not even killed: {strays}")
            for pid in strays:
                if late > 0 or pid not in asked:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL if late > 0 else signal.SIGTERM)
                    asked.add(pid)
            _wait_for_end(strays[0], seconds=0.5)


def _processes_marked(mark: str) -> list[int]:
    """The processes of this user that were started with the environment entry `mark`, zombies left out."""
    entry = os.fsencode(mark)
    marked = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry in (directory / "environ").read_bytes().split(b"\0"):
                marked.append(int(directory.name))
    return marked


def _wait_for_end(pid: int, *, seconds: float) -> None:
    """Wait until a process, which need not be a child, has ended; no longer than `seconds`."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            select.select([handle], [], [], seconds)
        finally:
            os.close(handle)


def _signal_group(leader: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)


def _answers(port: int, request: bytes, start_of_answer: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(request)
            return not start_of_answer or connection.recv(len(start_of_answer)) == start_of_answer
    except OSError:
        return False
