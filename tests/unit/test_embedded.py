"""The private RabbitMQ node: starts as any user, anywhere, alone, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from control import embedded_package
from control.embedded import EmbeddedBroker, EmbeddedBrokerError, find, find_or_install, free_port
from tests.waiting import eventually

needs_rabbitmq = pytest.mark.skipif(
    find() is None, reason="rabbitmq-server is not installed; `make test` does"
)

_RUN_UNTIL_KILLED = """
import pathlib, signal, sys
from control.embedded import EmbeddedBroker
broker = EmbeddedBroker(pathlib.Path(sys.argv[1]), say=lambda line: None)
broker.start()
print(broker.url, flush=True)
signal.pause()
"""


def quiet(line: str) -> None:
    """Say nothing."""


def processes_of(directory: Path) -> list[str]:
    """The command lines of all processes whose environment names the directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(directory) in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def answers_amqp(url: str) -> bool:
    port = int(url.rpartition(":")[2].rstrip("/"))
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def listening_addresses(ports: set[int]) -> set[str]:
    """On which addresses somebody listens on one of these ports (proc_net_tcp(5))."""
    addresses = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, port = local.partition(":")
            if state == "0A" and int(port, 16) in ports:
                addresses.add(address)
    return addresses


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a state directory, with spaces")


@pytest.fixture(scope="module")
def node(state_dir: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(state_dir, say=quiet) as running:
        yield running
    assert processes_of(state_dir) == []


@needs_rabbitmq
class TestARunningNode:
    """One node for all that can be asked of it while it runs."""

    def test_it_answers_when_start_returns(self, node: EmbeddedBroker) -> None:
        """Nobody has to wait again after start()."""
        assert node.is_running
        assert answers_amqp(node.url)

    def test_it_listens_on_the_loopback_address_alone(self, node: EmbeddedBroker, state_dir: Path) -> None:
        """Broker, distribution and port mapper are nobody else's business: 127.0.0.1 or ::1."""
        ports = {int(part) for part in _numbers((state_dir / "broker" / "ports.json").read_text())}
        assert listening_addresses(ports) <= {"0100007F", "0" * 24 + "01000000"}

    def test_its_secrets_are_its_owners(self, node: EmbeddedBroker, state_dir: Path) -> None:
        """Whoever reads the Erlang cookie commands the node: owner only, and no well-known password."""
        directory = state_dir / "broker"
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        for name in (".erlang.cookie", "password", "conf/rabbitmq.conf"):
            assert stat.S_IMODE((directory / name).stat().st_mode) & 0o077 == 0
        assert len((directory / ".erlang.cookie").read_text()) >= 40
        assert "guest" not in node.url

    def test_it_takes_commands(self, node: EmbeddedBroker) -> None:
        """Its rabbitmqctl reaches this node, not the system's."""
        assert "fsherald" in node.control("-q", "list_users")

    def test_a_second_one_in_the_same_directory_is_refused(
        self, node: EmbeddedBroker, state_dir: Path
    ) -> None:
        """Two nodes on one database would destroy it."""
        with pytest.raises(EmbeddedBrokerError, match="another fsherald runs a broker"):
            EmbeddedBroker(state_dir, say=quiet).start()
        assert answers_amqp(node.url)


@needs_rabbitmq
def test_a_killed_process_leaves_nothing_and_its_directory_starts_again(tmp_path: Path) -> None:
    """Even after SIGKILL node and port mapper end; the next start has the same address and data."""
    command = [sys.executable, "-c", _RUN_UNTIL_KILLED, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert answers_amqp(url)
        parent.send_signal(signal.SIGKILL)
        parent.wait()

    with EmbeddedBroker(tmp_path, say=quiet) as node:
        assert node.url == url
        assert answers_amqp(url)
        node.kill()
        assert not node.is_running
        assert processes_of(tmp_path) == []
    eventually(lambda: not processes_of(tmp_path))


@needs_rabbitmq
def test_a_node_that_does_not_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    """The error carries the end of the log, and neither node nor port mapper stays."""
    node = EmbeddedBroker(tmp_path, say=quiet, settings={"no.such.setting": "1"})
    with pytest.raises(EmbeddedBrokerError, match=r"no\.such\.setting"):
        node.start()
    assert processes_of(tmp_path) == []
    assert not node.is_running
    assert not list(tmp_path.rglob("erl_crash.dump"))


def test_stopping_what_was_never_started_has_no_effect(tmp_path: Path) -> None:
    """stop() is safe in every state."""
    node = EmbeddedBroker(tmp_path / "never", say=quiet)
    node.stop()
    node.stop()
    assert not (tmp_path / "never").exists()


def test_a_port_is_not_one_that_a_client_may_be_given() -> None:
    """A client that retries for ever could connect to itself on an ephemeral port and keep the node out."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(free_port() < low for _ in range(20))


def test_without_rabbitmq_and_without_root_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be installed from here is told in one sentence with the command to type."""
    said: list[str] = []
    monkeypatch.setattr(embedded_package, "find", lambda: None)
    monkeypatch.setattr(embedded_package, "_privilege", lambda: None)
    with pytest.raises(EmbeddedBrokerError, match="sudo apt-get install rabbitmq-server"):
        find_or_install(said.append)
    assert said == []


def test_without_apt_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """On other systems a running broker can be named instead."""
    monkeypatch.setattr(embedded_package, "find", lambda: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(EmbeddedBrokerError, match="FSHERALD_AMQP_URL"):
        find_or_install(lambda line: None)


def test_a_failed_installation_shows_what_apt_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of apt's own output is the best explanation there is."""
    said: list[str] = []
    monkeypatch.setattr(embedded_package, "find", lambda: None)
    monkeypatch.setattr(embedded_package, "_privilege", list)
    monkeypatch.setattr(embedded_package, "_INSTALL", "echo E: no such package; exit 100")
    with pytest.raises(EmbeddedBrokerError, match="E: no such package"):
        find_or_install(said.append)
    assert len(said) == 1


def _numbers(text: str) -> list[str]:
    return "".join(char if char.isdigit() else " " for char in text).split()
