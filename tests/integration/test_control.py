"""MonitorServer as its clients see it: the whole service, a real broker, real files."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control.config import ConfigError, load_config
from control.service import Service, build
from tests.brokers import VirtualHost
from tests.clients.service import Service as Process
from tests.integration.live import serving
from tests.integration.raw_client import RawClient, request
from tests.waiting import eventually

SPEC = {"mType": "Persistent", "eTypes": ["All"], "pMode": "Follow", "blockSize": 1}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def service(amqp_url: str, root: Path, tmp_path: Path) -> Iterator[Service]:
    with serving(amqp_url, root, tmp_path / "state") as running:
        yield running


@pytest.fixture
def client(amqp_url: str, service: Service) -> Iterator[RawClient]:
    with RawClient(amqp_url) as made:
        yield made


def create(client: RawClient, path: Path, **more: Any) -> str:
    reply = client.ask("createMonitor", **{**SPEC, "pathString": str(path), **more})
    return str(reply["result"])


def blocks(client: RawClient, queue: str, count: int) -> list[dict[str, Any]]:
    """So many EventLists from a queue."""
    found: list[dict[str, Any]] = []

    def get() -> bool:
        _, _, body = client.channel.basic_get(queue, auto_ack=True)
        if body is not None:
            found.append(json.loads(body))
        return len(found) == count

    eventually(get)
    return found


def error_code(reply: dict[str, Any]) -> str:
    return str(reply["error"]["data"]["code"])


def test_a_monitor_from_its_creation_to_its_end(client: RawClient, root: Path) -> None:
    """Created with a queue, started, heard of, stopped, destroyed; every step over the wire."""
    monitor = create(client, root, queue="ingest")
    assert client.ask("getMonitorState", id=monitor)["result"] == "Stopped"
    assert client.ask("startMonitor", id=monitor)["result"] is None
    assert client.ask("getMonitorState", id=monitor)["result"] == "Started"
    (root / "a.tif").write_bytes(b"x")
    (block,) = blocks(client, "ingest", 1)
    assert block["monitorId"] == monitor
    assert block["sequence"] == 1
    assert block["events"] == [{"fileId": f"{root}/a.tif", "baseName": "a.tif", "type": "Create"}]
    info = client.ask("describeMonitor", id=monitor)["result"]
    assert info["state"] == "Started"
    assert info["counters"]["events"] == 1
    assert client.ask("listMonitors")["result"][0]["id"] == monitor
    assert client.ask("stopMonitor", id=monitor)["result"] is None
    assert client.ask("destroyMonitor", id=monitor)["result"] is None
    assert error_code(client.ask("getMonitorState", id=monitor)) == "no-such-monitor"
    assert client.ask("listMonitors")["result"] == []


def test_a_request_repeated_by_its_message_id_makes_one_monitor(
    amqp_url: str, root: Path, tmp_path: Path
) -> None:
    """The same answer at once and after a restart."""
    answers = []
    body = request("createMonitor", 1, **SPEC, pathString=str(root))
    for _ in range(2):
        with serving(amqp_url, root, tmp_path / "state"), RawClient(amqp_url) as client:
            for number in range(2):
                client.send(body, message_id="the one", correlation_id=str(number))
                answers.append(json.loads(client.reply(str(number))[1])["result"])
            assert len(client.ask("listMonitors")["result"]) == 1
    assert len(set(answers)) == 1


def test_monitors_go_on_after_a_restart(amqp_url: str, root: Path, tmp_path: Path) -> None:
    """Same ids, same states; the sequence is continued."""
    with serving(amqp_url, root, tmp_path / "state"), RawClient(amqp_url) as client:
        started = create(client, root, queue="ingest")
        stopped = create(client, root)
        client.ask("startMonitor", id=started)
        (root / "a").write_bytes(b"x")
        assert blocks(client, "ingest", 1)[0]["sequence"] == 1
    with serving(amqp_url, root, tmp_path / "state"), RawClient(amqp_url) as client:
        states = {each["id"]: each["state"] for each in client.ask("listMonitors")["result"]}
        assert states == {started: "Started", stopped: "Stopped"}
        (root / "b").write_bytes(b"x")
        (block,) = blocks(client, "ingest", 1)
        assert (block["sequence"], block["events"][0]["baseName"]) == (2, "b")


def test_what_happened_before_the_stop_is_published(client: RawClient, root: Path) -> None:
    """The partial block goes out; nothing after it does."""
    monitor = create(client, root, queue="ingest", blockSize=0)
    client.ask("startMonitor", id=monitor)
    for number in range(10):
        (root / str(number)).write_bytes(b"x")
    client.ask("stopMonitor", id=monitor)
    (root / "late").write_bytes(b"x")
    client.ask("startMonitor", id=monitor)
    (root / "end").write_bytes(b"x")
    names: list[str] = []

    def all_there() -> bool:
        names.extend(event["baseName"] for event in blocks(client, "ingest", 1)[0]["events"])
        return names[-1] == "end"

    eventually(all_there)
    assert names == [*map(str, range(10)), "end"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"pathString": "/"}, "path-not-allowed"),
        ({"pathString": "relative"}, "path-not-allowed"),
        ({"pathString": "{root}/missing"}, "not-found"),
        ({"pathString": "{root}/file"}, "not-a-directory"),
        ({"mType": "Sometimes"}, "invalid-params"),
        ({"eTypes": []}, "invalid-params"),
        ({"timeout": -1}, "invalid-params"),
        ({"mType": "Inactivity"}, "invalid-params"),
        ({"blockSize": -1}, "invalid-params"),
        ({"proxy": "gone"}, "invalid-params"),
        ({"queue": "amq.mine"}, "invalid-params"),
    ],
)
def test_a_bad_specification_is_refused(
    client: RawClient, root: Path, change: dict[str, Any], code: str
) -> None:
    """At once, and nothing is left of it."""
    (root / "file").touch()
    params = {**SPEC, "pathString": str(root), **change}
    params["pathString"] = str(params["pathString"]).format(root=root)
    assert error_code(client.ask("createMonitor", **params)) == code
    assert client.ask("listMonitors")["result"] == []


def test_a_queue_that_cannot_be_bound_is_said(client: RawClient, root: Path, amqp_url: str) -> None:
    """An exclusive queue of somebody else: monitor-failed, and no monitor is left."""
    with RawClient(amqp_url) as other:
        params = {**SPEC, "pathString": str(root), "queue": other.reply_to}
        reply = client.ask("createMonitor", **{**params, "queue": "mine"})
        other.channel.queue_declare("theirs", exclusive=True)
        refused = client.ask("createMonitor", **{**params, "queue": "theirs"})
    assert "result" in reply
    assert error_code(refused) == "monitor-failed"
    assert "theirs" in refused["error"]["data"]["reason"]
    assert len(client.ask("listMonitors")["result"]) == 1


def test_each_queue_describes_itself(client: RawClient) -> None:
    """rpc.discover answers with the OpenRPC document of its own methods."""
    control = {each["name"] for each in client.ask("rpc.discover")["result"]["methods"]}
    files = {each["name"] for each in client.ask("rpc.discover", at="files")["result"]["methods"]}
    assert "createMonitor" in control - files
    assert "readBlock" in files - control
    assert control & files == {"rpc.discover"}


def test_a_batch_is_answered_with_an_array(client: RawClient, root: Path) -> None:
    """In its order; the notification in it is executed."""
    monitor = create(client, root)
    start = request("startMonitor", id=monitor)
    del start["id"]
    client.send([start, request("getMonitorState", 5, id=monitor), request("junk", 6)], correlation_id="b")
    replies = json.loads(client.reply("b")[1])
    assert [reply["id"] for reply in replies] == [5, 6]
    assert replies[0]["result"] == "Started"


def test_a_state_directory_serves_one_service(
    service: Service, amqp_url: str, root: Path, tmp_path: Path
) -> None:
    """The second is told which it is and does not start."""
    with pytest.raises(ConfigError, match="state"), serving(amqp_url, root, tmp_path / "state"):
        pass


def test_a_dead_thread_is_the_end(amqp_url: str, root: Path, tmp_path: Path) -> None:
    """Nothing limps: unhealthy at once, and `run` would return 1."""
    with serving(amqp_url, root, tmp_path / "state") as service:
        assert service.unhealthy() is None
        service._on_died(RuntimeError("bug"))
        assert service.unhealthy() == "a thread died: RuntimeError"
        assert service._ended.is_set()


def test_a_stop_answers_and_leaves_no_thread(amqp_url: str, root: Path, tmp_path: Path) -> None:
    """Quickly, with the broker there."""
    before = set(threading.enumerate())
    with serving(amqp_url, root, tmp_path / "state"):
        assert len(set(threading.enumerate()) - before) > 5
    assert set(threading.enumerate()) - before == set()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_on_a_signal(vhost: VirtualHost, tmp_path: Path, sent: signal.Signals) -> None:
    """With exit code 0; its health can be asked until then."""
    root = tmp_path / "root"
    root.mkdir()
    with Process(vhost.url, [root], tmp_path) as process:
        assert process.get("/healthz") == 200
        connection = http.client.HTTPConnection("127.0.0.1", process.http_port, timeout=5)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        assert 'fsherald_monitors{state="Started"} 0.0' in text
        assert "fsherald_broker_connected 1.0" in text
        assert process.terminate(sent) == 0


def test_an_absent_broker_is_waited_for(tmp_path: Path) -> None:
    """Not ready, but healthy, and ended by a signal in good order."""
    root = tmp_path / "root"
    root.mkdir()
    process = Process("amqp://guest:guest@127.0.0.1:1/", [root], tmp_path)
    process.start()
    try:
        eventually(lambda: process.get("/healthz") == 200, seconds=30)
        assert process.get("/readyz") == 503
        assert process.terminate() == 0
    finally:
        process.__exit__(None, None, None)


def test_a_wrong_configuration_is_exit_code_2(tmp_path: Path) -> None:
    """One sentence that names the variable, and no traceback."""
    process = Process("http://nonsense", [tmp_path], tmp_path)
    process.start()
    assert process._process is not None
    assert process._process.wait(30) == 2
    assert "FSHERALD_AMQP_URL" in process.output
    assert "Traceback" not in process.output


def test_a_service_that_was_never_started_stops(root: Path, tmp_path: Path) -> None:
    """It gives the state directory back."""
    root.mkdir()
    config = load_config(amqp_url="amqp://127.0.0.1:1/", roots=str(root), state_dir=tmp_path / "state")
    for _ in range(2):
        service = build(config)
        service.stop()
        service.stop()
