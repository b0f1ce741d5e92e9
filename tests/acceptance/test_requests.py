"""Commands over the wire: JSON-RPC over AMQP as docs/protocol.md says, errors included."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Site
from tests.clients.wire import Json, WireClient, WireError
from tests.waiting import eventually


def request(method: str, number: object = 1, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def test_the_life_of_a_monitor(client: WireClient, shared_site: Site, folder: Path) -> None:
    """Created stopped, started, stopped, destroyed; its exchange comes and goes with it."""
    monitor = client.create(folder)
    exchange = f"fsherald.monitor.{monitor}"
    assert uuid.UUID(monitor).version == 1
    assert client.call("getMonitorState", id=monitor) == "Stopped"
    assert exchange in [row["name"] for row in shared_site.vhost.broker.exchanges(shared_site.vhost.name)]
    assert client.call("startMonitor", id=monitor) is None
    assert client.call("getMonitorState", id=monitor) == "Started"
    assert client.call("startMonitor", id=monitor) is None
    assert client.call("stopMonitor", id=monitor) is None
    assert client.call("stopMonitor", id=monitor) is None
    assert client.call("getMonitorState", id=monitor) == "Stopped"
    assert client.call("destroyMonitor", id=monitor) is None
    assert exchange not in [row["name"] for row in shared_site.vhost.broker.exchanges(shared_site.vhost.name)]


@pytest.mark.parametrize(
    "method", ["startMonitor", "stopMonitor", "destroyMonitor", "getMonitorState", "describeMonitor"]
)
def test_an_unknown_monitor_is_told_by_name(client: WireClient, method: str) -> None:
    """Every operation that takes an id."""
    with pytest.raises(WireError) as caught:
        client.call(method, id="0d7c9a52-0000-11f1-8000-000000000000")
    assert caught.value.code == -32000
    assert caught.value.data["type"] == "OmeroFSError"
    assert caught.value.data["code"] == "no-such-monitor"
    assert "0d7c9a52" in caught.value.data["reason"]


def test_a_monitor_can_be_described(client: WireClient, folder: Path) -> None:
    """Id, specification with its defaults, state, counters, coverage, last error."""
    (folder / "sub").mkdir()
    monitor, subscription = client.watch(folder, blockSize=1)
    (folder / "a").touch()
    subscription.next()
    described = eventually(lambda: described_with_events(client, monitor))
    spec = described["spec"]
    assert spec["pathString"] == str(folder)
    assert (spec["mType"], spec["eTypes"], spec["pMode"]) == ("Persistent", ["All"], "Follow")
    assert (spec["whitelist"], spec["blacklist"], spec["timeout"], spec["blockSize"]) == ([], [], 0, 1)
    assert (spec["ignoreSysFiles"], spec["ignoreDirEvents"], spec["platformCheck"]) == (True, False, False)
    assert described["state"] == "Started"
    assert described["coverage"]["directories"] == described["coverage"]["watched"] == 2
    assert described["lastError"] is None
    assert monitor in [row["id"] for row in client.call("listMonitors")]


def described_with_events(client: WireClient, monitor: str) -> Json:
    described: Json = client.call("describeMonitor", id=monitor)
    counters = described["counters"]
    assert counters["events"] == counters["blocks"] == 1
    return described


def test_enumerators_are_taken_by_number_and_told_by_name(client: WireClient, folder: Path) -> None:
    """The contract numbers them; the wire names them."""
    monitor = client.create(folder, mType=0, eTypes=[0, 2], pMode=1)
    spec = client.call("describeMonitor", id=monitor)["spec"]
    assert (spec["mType"], spec["eTypes"], spec["pMode"]) == (
        "Persistent",
        ["Creation", "Deletion"],
        "Recurse",
    )


def test_the_same_message_id_creates_one_monitor(client: WireClient, folder: Path) -> None:
    """A client that does not know whether its request arrived asks again and gets the first answer."""
    key = {"message_id": str(uuid.uuid4())}
    params: Json = {"mType": "Persistent", "eTypes": ["All"], "pMode": "Flat", "pathString": str(folder)}
    first = client.call("createMonitor", how=key, **params)
    assert client.call("createMonitor", how=key, **params) == first
    assert client.call("createMonitor", **params) != first


def test_a_queue_is_declared_and_bound_before_the_reply(
    client: WireClient, shared_site: Site, folder: Path
) -> None:
    """Durable, a quorum queue; it holds what happens while nobody consumes."""
    broker, vhost = shared_site.vhost.broker, shared_site.vhost.name
    queue = f"mine-{uuid.uuid4().hex}"
    monitor = client.create(folder, queue=queue)
    assert broker.queue(vhost, queue)["arguments"]["x-queue-type"] == "quorum"
    assert broker.queue(vhost, queue)["durable"] is True
    client.call("startMonitor", id=monitor)
    (folder / "a").touch()
    assert client.consume(queue).block()["events"][0]["fileId"] == str(folder / "a")


def test_a_queue_that_exists_is_bound_as_it_is(client: WireClient, shared_site: Site, folder: Path) -> None:
    """Whoever made it knows what it is to be."""
    broker, vhost = shared_site.vhost.broker, shared_site.vhost.name
    queue = f"theirs-{uuid.uuid4().hex}"
    broker.declare_queue(vhost, queue, kind="classic")
    monitor = client.create(folder, queue=queue)
    assert broker.queue(vhost, queue)["arguments"]["x-queue-type"] == "classic"
    client.call("startMonitor", id=monitor)
    (folder / "a").touch()
    assert client.consume(queue).block()["monitorId"] == monitor


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"pathString": "relative/path"}, None),
        ({"pathString": "/no/such/directory"}, "path-not-allowed"),
        ({"pathString": "/etc"}, "path-not-allowed"),
        ({"pathString": "FOLDER/missing"}, "not-found"),
        ({"pathString": "FOLDER/../../../../../etc"}, "path-not-allowed"),
        ({"pathString": "FOLDER/file"}, "not-a-directory"),
        ({"pathString": "FOLDER/way-out"}, "path-not-allowed"),
        ({"eTypes": []}, None),
        ({"eTypes": ["Everything"]}, None),
        ({"eTypes": [4]}, None),
        ({"mType": "Sometimes"}, None),
        ({"pMode": 3}, None),
        ({"timeout": -1}, None),
        ({"mType": "Inactivity"}, None),
        ({"blockSize": -1}, None),
        ({"proxy": "x"}, None),
        ({"mType": None}, None),
    ],
)
def test_what_cannot_be_monitored_is_refused(
    client: WireClient, folder: Path, params: dict[str, object], code: str | None
) -> None:
    """At creation, by name, and nothing is left of it: invalid-params where no code of the contract is named."""
    (folder / "file").touch()
    (folder / "way-out").symlink_to("/etc")
    path = str(params.get("pathString", "FOLDER")).replace("FOLDER", str(folder))
    before = len(client.call("listMonitors"))
    with pytest.raises(WireError) as caught:
        client.create(folder, **{**params, "pathString": path})
    if code is None:
        assert caught.value.code in (-32602, -32000)
    else:
        assert (caught.value.code, caught.value.data["code"]) == (-32000, code)
    assert len(client.call("listMonitors")) == before


def test_each_wrong_field_is_told(client: WireClient, folder: Path) -> None:
    """All of them in one reply, each by its name on the wire."""
    with pytest.raises(WireError) as caught:
        client.create(folder, blockSize="many", pMode="Sideways", colour="red")
    assert caught.value.code == -32602
    assert caught.value.data["code"] == "invalid-params"
    told = json.dumps(caught.value.data["errors"])
    assert all(field in told for field in ("blockSize", "pMode", "colour"))


@pytest.mark.parametrize(
    ("body", "code", "name"),
    [
        (b"{not json", -32700, "parse-error"),
        (b"\xff\xfe\x00", -32700, "parse-error"),
        (b"[" * 100_000, -32700, "parse-error"),
        (b"", -32700, "parse-error"),
        (b"42", -32600, "invalid-request"),
        (b"[]", -32600, "invalid-request"),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "listMonitors"}', -32600, "invalid-request"),
        (b'{"jsonrpc": "2.0", "id": 1}', -32600, "invalid-request"),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "noSuchMethod"}', -32601, "method-not-found"),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "getMonitorState", "params": {}}', -32602, "invalid-params"),
        (
            b'{"jsonrpc": "2.0", "id": 1, "method": "getMonitorState", "params": ["x"]}',
            -32602,
            "invalid-params",
        ),
    ],
)
def test_what_is_no_request_is_answered_as_json_rpc_defines(
    client: WireClient, body: bytes, code: int, name: str
) -> None:
    """And the next request is served as if nothing had been."""
    error = client.request(body).json()["error"]
    assert (error["code"], error["data"]["code"]) == (code, name)
    assert "Traceback" not in json.dumps(error)
    assert isinstance(client.call("listMonitors"), list)


def test_a_batch_is_answered_with_an_array(client: WireClient) -> None:
    """One answer per request with an id, an error for what is none, nothing for a notification."""
    batch = [
        request("listMonitors", 1),
        1,
        {"jsonrpc": "2.0", "method": "listMonitors"},
        request("nope", "b"),
    ]
    answers = client.request(batch).json()
    assert len(answers) == 3
    by_id = {answer["id"]: answer for answer in answers}
    assert isinstance(by_id[1]["result"], list)
    assert by_id[None]["error"]["code"] == -32600
    assert by_id["b"]["error"]["code"] == -32601


def test_a_notification_is_executed_and_not_answered(client: WireClient, folder: Path) -> None:
    """Without an id nobody waits; a batch of notifications is answered with nothing at all."""
    monitor = client.create(folder)
    client.send(json.dumps({"jsonrpc": "2.0", "method": "startMonitor", "params": {"id": monitor}}).encode())
    eventually(lambda: client.call("getMonitorState", id=monitor) == "Started")
    client.send(json.dumps([{"jsonrpc": "2.0", "method": "stopMonitor", "params": {"id": monitor}}]).encode())
    eventually(lambda: client.call("getMonitorState", id=monitor) == "Stopped")
    assert client.no_reply()


def test_the_reply_carries_what_the_protocol_says(client: WireClient) -> None:
    """Correlation id echoed, content type, the method as type, the server as app id."""
    reply = client.request(request("listMonitors"), correlation_id="mine: ü")
    assert reply.properties["content_type"] == "application/json"
    assert reply.properties["type"] == "listMonitors"
    assert reply.properties["app_id"].startswith("fsherald/")


def test_direct_reply_to_works(client: WireClient) -> None:
    """The broker's pseudo-queue, which most RPC clients use."""
    replies: list[Any] = []
    client.channel.basic_consume("amq.rabbitmq.reply-to", no_ack=True, callback=replies.append)
    client.send(json.dumps(request("listMonitors", 77)).encode(), reply_to="amq.rabbitmq.reply-to")
    client.pump(lambda: bool(replies), 10)
    assert json.loads(replies[0].body)["id"] == 77


def test_a_forged_reply_address_disturbs_nobody_else(client: WireClient) -> None:
    """The broker closes the connection that answers one: every other request is answered all the same."""
    body = json.dumps(request("listMonitors")).encode()
    for forged in ("amq.rabbitmq.reply-to.AAAA.BBBB", "no-such-queue", "x" * 255):
        client.send(body, reply_to=forged, correlation_id="forged")
        assert isinstance(client.call("listMonitors"), list)


def test_a_request_without_reply_address_is_executed(client: WireClient, folder: Path) -> None:
    """Nothing is answered then, and nothing fails."""
    monitor = client.create(folder)
    client.send(json.dumps(request("startMonitor", id=monitor)).encode(), reply_to="")
    eventually(lambda: client.call("getMonitorState", id=monitor) == "Started")


def test_rubbish_without_reply_address_goes_to_the_dead_letters(
    client: WireClient, shared_site: Site
) -> None:
    """Nobody can be told, so it is kept for whoever looks."""
    broker, vhost = shared_site.vhost.broker, shared_site.vhost.name
    client.send(b"\x00rubbish", reply_to="")
    rows = eventually(lambda: broker.get(vhost, "fsherald.dead-letter"))
    assert b"\x00rubbish" in [row["payload"] for row in rows]


def test_a_large_rubbish_request_disturbs_nobody(client: WireClient) -> None:
    """Fifteen megabytes, just below what a broker takes by default."""
    assert client.request(b"x" * (15 << 20), seconds=30).json()["error"]["code"] in (-32700, -32600)
    assert isinstance(client.call("listMonitors"), list)


@pytest.mark.parametrize("queue", ["control", "files"])
def test_each_queue_describes_itself(client: WireClient, queue: str) -> None:
    """rpc.discover returns an OpenRPC document with the methods of that queue."""
    document = client.call("rpc.discover", how={"queue": queue})
    names = {method["name"] for method in document["methods"]}
    assert document["openrpc"].startswith("1.")
    assert ("createMonitor" in names) == (queue == "control")
    assert ("readBlock" in names) == (queue == "files")


def test_a_method_belongs_to_its_queue(client: WireClient) -> None:
    """A query is not a command."""
    with pytest.raises(WireError) as caught:
        client.call("getSize", how={"queue": "control"}, fileId="/x")
    assert caught.value.code == -32601


def test_all_is_declared_by_the_server(shared_site: Site, client: WireClient, folder: Path) -> None:
    """Topology of the protocol: kinds, durability, the binding of a monitor's exchange to that of all events."""
    broker, vhost = shared_site.vhost.broker, shared_site.vhost.name
    monitor = client.create(folder)
    queues = {row["name"]: row for row in broker.queues(vhost)}
    assert queues["fsherald.control"]["arguments"]["x-queue-type"] == "quorum"
    assert queues["fsherald.files"]["arguments"].get("x-queue-type", "classic") == "classic"
    assert "x-max-length" in queues["fsherald.dead-letter"]["arguments"]
    assert all(queues[f"fsherald.{name}"]["durable"] for name in ("control", "files", "dead-letter"))
    exchanges = {row["name"]: row for row in broker.exchanges(vhost)}
    for name in ("fsherald.events", f"fsherald.monitor.{monitor}"):
        assert (exchanges[name]["type"], exchanges[name]["durable"]) == ("topic", True)
    bound = [
        (row["source"], row["destination"], row["routing_key"])
        for row in broker.bindings(vhost)
        if row["destination_type"] == "exchange"
    ]
    assert (f"fsherald.monitor.{monitor}", "fsherald.events", "#") in bound
