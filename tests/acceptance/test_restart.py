"""What is kept through kills, restarts and broker failures; and how the service starts and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import Site
from tests.brokers import Broker, VirtualHost
from tests.clients.service import PROJECT, Service, clean_environment
from tests.clients.wire import Json, WireClient, events
from tests.waiting import eventually


class Kept:
    """A monitor whose blocks go to a durable queue, which is read at the end of a story."""

    def __init__(self, site: Site, **params: object) -> None:
        self.site = site
        self.taken: dict[int, Json] = {}
        with WireClient(site.url) as client:
            self.monitor = client.create(site.root, queue="kept", blockSize=1, **params)
            client.call("startMonitor", id=self.monitor)

    def settle(self) -> None:
        """Let RabbitMQ write down the members of the new queue, which it does half a second late."""
        with WireClient(self.site.url) as client:
            client.pump(lambda: False, 2)

    def write(self, *names: str) -> None:
        for name in names:
            (self.site.root / name).write_bytes(b"x")

    def blocks(self, count: int) -> list[Json]:
        """That many new blocks, each with its message id checked; a redelivered one is as it was, and dropped."""
        found: dict[int, Json] = {}

        def complete() -> bool:
            for row in self.site.vhost.broker.get(self.site.vhost.name, "kept"):
                message_id = row["properties"]["message_id"]
                block = json.loads(row["payload"])
                assert message_id == f"{self.monitor}:{block['sequence']}"
                if block["sequence"] in self.taken:
                    assert self.taken[block["sequence"]] == block
                else:
                    assert found.setdefault(block["sequence"], block) == block
            return len(found) >= count

        eventually(complete, seconds=40)
        assert list(found) == sorted(found), "out of order"
        self.taken |= found
        return list(found.values())

    def state(self) -> str:
        with WireClient(self.site.url) as client:
            return str(client.call("getMonitorState", id=self.monitor))


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_monitors_survive_the_end_of_the_service(site: Site, how: str) -> None:
    """Same ids, same specification, same state; sequence numbers go on where they were."""
    kept = Kept(site)
    with WireClient(site.url) as client:
        stopped = client.create(site.root, pMode="Flat", blacklist=[".tmp"])
        before = {row["id"]: row["spec"] for row in client.call("listMonitors")}
    kept.write("a", "b")
    first = kept.blocks(2)
    assert site.service.terminate(signal.Signals[how]) == (0 if how == "SIGTERM" else -signal.SIGKILL)
    site.service.restart()
    with WireClient(site.url) as client:
        assert {row["id"]: row["spec"] for row in client.call("listMonitors")} == before
        assert client.call("getMonitorState", id=stopped) == "Stopped"
    assert kept.state() == "Started"
    kept.write("c", "d")
    again = kept.blocks(2)
    assert [event["baseName"] for event in events(first + again)] == ["a", "b", "c", "d"]
    assert [block["sequence"] for block in first + again] == [1, 2, 3, 4]


def test_a_created_monitor_is_remembered_by_its_message_id(site: Site) -> None:
    """The first answer is given again, also after a restart."""
    params: Json = {"mType": "Persistent", "eTypes": ["All"], "pMode": "Flat", "pathString": str(site.root)}
    with WireClient(site.url) as client:
        first = client.call("createMonitor", how={"message_id": "run-7"}, **params)
    site.service.kill()
    site.service.restart()
    with WireClient(site.url) as client:
        assert client.call("createMonitor", how={"message_id": "run-7"}, **params) == first


def test_connections_closed_by_force_come_back(site: Site) -> None:
    """Whatever the broker closes: events and requests go on, nothing is lost, nothing is out of order."""
    kept = Kept(site)
    names = [f"f{number:02}" for number in range(30)]
    for number, name in enumerate(names):
        kept.write(name)
        if number % 10 == 5:
            assert eventually(lambda: site.vhost.broker.close_connections(site.vhost.name))
    blocks = kept.blocks(len(names))
    assert [event["baseName"] for event in events(blocks)] == names
    assert [block["sequence"] for block in blocks] == list(range(1, len(names) + 1))
    site.service.wait_until_ready()
    assert kept.state() == "Started"


def test_a_request_from_before_the_end_is_answered_after_it(site: Site) -> None:
    """Commands wait in a durable queue for the next service."""
    with WireClient(site.url) as client:
        assert site.service.terminate() == 0
        client.send(b'{"jsonrpc": "2.0", "id": 1, "method": "listMonitors"}', correlation_id="early")
        client.send(
            b'{"jsonrpc": "2.0", "id": 2, "method": "createMonitor", "params": {"mType": "Persistent",'
            b' "eTypes": ["All"], "pMode": "Flat", "pathString": "%s"}}' % os.fsencode(site.root),
            correlation_id="expired",
            expiration="1",
        )
        client.pump(lambda: False, 0.3)
        site.service.restart()
        assert client.reply("early").json()["result"] == []
        assert client.call("listMonitors") == [], "an expired request was executed"


def test_a_returned_block_waits_for_a_queue_and_holds_up_nobody_else(site: Site) -> None:
    """Unroutable: kept and offered again, in order; other monitors go on."""
    with WireClient(site.url) as client:
        unheard = client.create(site.root, blockSize=1)
        client.call("startMonitor", id=unheard)
        _, heard = client.watch(site.root, blockSize=1)
        for name in ("a", "b", "c"):
            (site.root / name).touch()
        assert [event["baseName"] for event in events(heard.blocks(3))] == ["a", "b", "c"]
        late = client.subscribe(f"fsherald.monitor.{unheard}")
        blocks = late.blocks(3)
        assert [event["baseName"] for event in events(blocks)] == ["a", "b", "c"]
        assert [block["sequence"] for block in blocks] == [1, 2, 3]


class TestWithABrokerThatComesAndGoes:
    """The broker itself is stopped and killed."""

    @pytest.fixture(autouse=True)
    def own_broker(self, broker: Broker) -> Iterator[None]:
        yield
        broker.wait_until_ready()

    def test_it_may_be_killed_and_nothing_is_lost(self, site: Site) -> None:
        """What happened meanwhile is delivered with the same message ids, in order."""
        kept = Kept(site)
        kept.write("before")
        assert [event["baseName"] for event in events(kept.blocks(1))] == ["before"]
        kept.settle()
        site.vhost.broker.kill()
        kept.write("a", "b", "c")
        assert site.service.get("/healthz") == 200, "a broker that is away is no reason to restart"
        site.vhost.broker.start()
        blocks = kept.blocks(3)
        assert [event["baseName"] for event in events(blocks)] == ["a", "b", "c"]
        assert [block["sequence"] for block in blocks] == [2, 3, 4]
        site.service.wait_until_ready(seconds=60)
        assert kept.state() == "Started"

    def test_it_may_be_absent_at_the_start(self, vhost: VirtualHost, tmp_path: Path) -> None:
        """The service waits for it; monitors of before record meanwhile."""
        root = tmp_path / "root"
        root.mkdir()
        with Service(vhost.url, [root], tmp_path) as service:
            kept = Kept(Site(service, vhost, root))
            assert service.terminate() == 0
            vhost.broker.stop()
            service.start()
            eventually(lambda: service.has_started_monitors(1))
            assert service.get("/healthz") == 200
            assert service.get("/readyz") != 200
            kept.write("meanwhile")
            vhost.broker.start()
            service.wait_until_ready(seconds=60)
            assert [event["baseName"] for event in events(kept.blocks(1))] == ["meanwhile"]


def serve(directory: Path, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `fsherald serve` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "control", "serve", *options],
        env={**clean_environment(), "FSHERALD_STATE_DIR": str(directory / "state"), **settings},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({}, "FSHERALD_ROOTS"),
        ({"FSHERALD_ROOTS": "relative"}, "FSHERALD_ROOTS"),
        ({"FSHERALD_ROOTS": "/no/such/directory"}, "FSHERALD_ROOTS"),
        ({"FSHERALD_ROOTS": "/tmp", "FSHERALD_AMQP_URL": "http://user:secret@x/"}, "FSHERALD_AMQP_URL"),
        ({"FSHERALD_ROOTS": "/tmp", "FSHERALD_NAMESPACE": "no spaces"}, "FSHERALD_NAMESPACE"),
        ({"FSHERALD_ROOTS": "/tmp", "FSHERALD_LOG_LEVEL": "loud"}, "FSHERALD_LOG_LEVEL"),
        ({"FSHERALD_ROOTS": "/tmp", "FSHERALD_LOG_FORMAT": "xml"}, "FSHERALD_LOG_FORMAT"),
        ({"FSHERALD_ROOTS": "/tmp", "FSHERALD_HTTP": "nowhere"}, "FSHERALD_HTTP"),
        (
            {"FSHERALD_ROOTS": "/tmp", "FSHERALD_AMQP_PASSWORD_FILE": "/no/file"},
            "FSHERALD_AMQP_PASSWORD_FILE",
        ),
        ({"FSHERALD_ROOTS": "/tmp", "FSHERALD_STATE_DIR": "/proc/no"}, "FSHERALD_STATE_DIR"),
    ],
)
def test_a_wrong_configuration_is_one_sentence_and_code_2(
    tmp_path: Path, settings: dict[str, str], variable: str
) -> None:
    """It names the variable, shows no password and no traceback."""
    done = serve(tmp_path, **settings)
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert variable in said
    assert "Traceback" not in said
    assert "secret" not in said
    assert len(said.strip().splitlines()) <= 3, said


def test_options_go_before_the_env_file_and_that_before_the_environment(tmp_path: Path) -> None:
    """The order of precedence, told by which value the start stumbles over."""
    (tmp_path / ".env").write_text("FSHERALD_LOG_LEVEL=from-file\n")
    environment = {"FSHERALD_ROOTS": str(tmp_path), "FSHERALD_LOG_LEVEL": "from-environment"}
    assert serve(tmp_path, **environment).returncode == 2
    assert serve(tmp_path, "--log-level", "info", "--http", "nowhere", **environment).returncode == 2
    done = serve(tmp_path, "--log-level", "info", "--http", "nowhere", **environment)
    assert "HTTP" in done.stdout + done.stderr


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_ends_with_code_0(vhost: VirtualHost, tmp_path: Path, sent: signal.Signals) -> None:
    """And it has published what it had accepted."""
    with Service(vhost.url, [tmp_path], tmp_path) as service:
        site = Site(service, vhost, tmp_path)
        with WireClient(vhost.url) as client:
            client.create(site.root, queue="kept", blockSize=1000, pMode="Flat")
            for row in client.call("listMonitors"):
                client.call("startMonitor", id=row["id"])
        (tmp_path / "last").touch()
        assert service.terminate(sent) == 0
        names = [event for row in vhost.broker.get(vhost.name, "kept") for event in _names(row["payload"])]
        assert "last" in names


def test_without_a_broker_it_still_ends_with_code_0(tmp_path: Path) -> None:
    """It waits for a broker, but not with its end."""
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "control", "serve"],
            env={
                **clean_environment(),
                "FSHERALD_ROOTS": str(tmp_path),
                "FSHERALD_STATE_DIR": str(tmp_path / "state"),
                "FSHERALD_AMQP_URL": "amqp://127.0.0.1:1/",
            },
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    eventually(lambda: b"service started" in (tmp_path / "output").read_bytes())
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 0


def test_two_services_do_not_share_a_state_directory(site: Site, tmp_path: Path) -> None:
    """The second one would answer for monitors that the first one runs."""
    done = serve(tmp_path, FSHERALD_ROOTS=str(site.root), FSHERALD_AMQP_URL=site.url)
    assert done.returncode == 2
    assert "FSHERALD_STATE_DIR" in done.stdout + done.stderr


def _names(payload: bytes) -> list[str]:
    return [event["baseName"] for event in json.loads(payload)["events"]]
