"""compose.yaml as a user runs it: brought up, driven from outside over RPC, and taken down."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from control.embedded import free_port
from tests.clients.wire import WireClient

PROJECT = Path(__file__).parents[2]


class Composition:
    """The project's own compose.yaml under a name, on ports and with a watched directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.data.mkdir()
        # The image's user is nobody on this machine, and is to read it.
        self.data.chmod(0o755)
        ports: list[int] = []
        while len(ports) < 3:
            ports.append(free_port(frozenset(ports)))
        self.amqp_port, self.http_port = ports[0], ports[2]
        names = ("AMQP_PORT", "MANAGEMENT_PORT", "HTTP_PORT")
        self._environment = {
            **os.environ,
            **{name: str(port) for name, port in zip(names, ports, strict=True)},
            "FSHERALD_DATA": str(self.data),
            "COMPOSE_PROJECT_NAME": f"fsherald-test-{uuid.uuid4().hex[:8]}",
        }

    @property
    def url(self) -> str:
        """Where the broker is seen from outside."""
        return f"amqp://guest:guest@127.0.0.1:{self.amqp_port}/"

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run `docker compose` and return what it prints."""
        done = subprocess.run(
            ["docker", "compose", "--file", str(PROJECT / "compose.yaml"), *arguments],
            env=self._environment,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
            check=False,
        )
        if check and done.returncode != 0:
            logs = self.run("logs", "--no-color", "--tail", "40", check=False)
            raise AssertionError(f"docker compose {' '.join(arguments)}:\n{done.stdout[-3000:]}\n{logs}")
        return done.stdout

    def drop_and_receive(self, name: str) -> None:
        """One file dropped into the volume is announced to a client outside."""
        with WireClient(self.url) as client:
            monitor, subscription = client.watch("/data", blockSize=1)
            (self.data / name).write_bytes(b"content")
            event = subscription.block()["events"][0]
            assert event == {"fileId": f"/data/{name}", "baseName": name, "type": "Create"}
            assert client.call("getSize", fileId=event["fileId"]) == 7
            client.call("destroyMonitor", id=monitor)


@pytest.fixture
def composition(tmp_path: Path) -> Iterator[Composition]:
    if not _is_engine_there():
        reason = "no Docker engine with Compose v2"
        if os.environ.get("FSHERALD_REQUIRE_DOCKER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    made = Composition(tmp_path)
    yield made
    made.run("down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "3")


def _is_engine_there() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = (["docker", "info"], ["docker", "compose", "version"])
    return all(subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in asked)


def test_up_wait_is_all(composition: Composition) -> None:
    """Healthy when the command returns; monitors and their numbers survive a restart of either container."""
    composition.run("up", "--build", "--wait")
    composition.drop_and_receive("a.tif")

    with WireClient(composition.url) as client:
        monitor = client.create("/data", queue="kept", blockSize=1)
        client.call("startMonitor", id=monitor)
        # RabbitMQ writes down the members of a new quorum queue half a second late: killed before that, it
        # comes back with a queue that nothing can be written to any more.
        client.pump(lambda: False, 2)
    composition.run("kill", "rabbitmq")
    (composition.data / "meanwhile.tif").touch()
    composition.run("up", "--wait")
    with WireClient(composition.url) as client:
        assert client.consume("kept").block(seconds=60)["events"][0]["baseName"] == "meanwhile.tif"
    composition.run("restart", "fsherald")
    composition.run("up", "--wait")
    with WireClient(composition.url) as client:
        assert client.call("getMonitorState", id=monitor) == "Started"

    user = composition.run("exec", "-T", "fsherald", "id", "--user").split()[-1]
    assert user == "10001"


def test_the_start_order_does_not_matter(composition: Composition) -> None:
    """The service first, alive without a broker; requests are answered once that is there."""
    composition.run("up", "--build", "--detach", "--no-deps", "fsherald")
    composition.run("up", "--detach", "rabbitmq")
    composition.run("up", "--wait")
    composition.drop_and_receive("b.tif")
    composition.run("stop", "--timeout", "25", "fsherald")
    state = composition.run("ps", "--all", "--format", "{{.Service}} {{.ExitCode}}")
    assert "fsherald 0" in state
