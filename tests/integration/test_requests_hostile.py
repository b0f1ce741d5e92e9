"""Requests as nobody should send them: they disturb nobody else, and every honest client is answered."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pika
import pika.data
import pytest
from structlog.testing import capture_logs

from control import consumer as consumer_module
from control.dispatcher import Caller, Dispatcher, Handler
from control.intake import Intake
from publisher.amqp import AmqpSettings
from schemas.rpc import methods_of
from schemas.topology import Topology
from tests.brokers import VirtualHost
from tests.integration.raw_client import DIRECT, RawClient, request
from tests.waiting import eventually, stays

FORGED = "amq.rabbitmq.reply-to.AAAA.BBBB"


class Field(bytes):
    """A value of a header as it is on the wire, for those that pika would not write."""


def nested(levels: int) -> bytes:
    """An array in an array, in an array."""
    value = b"V"
    for _ in range(levels):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


class Stub:
    """Both request queues served by handlers that return what they were asked, or what a test tells them to."""

    def __init__(self, url: str, **limits: int) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.died: list[BaseException] = []
        self.expired = 0
        self.handlers: dict[str, Handler] = {name: self._echo(name) for name in methods_of("control")}
        self.queries: dict[str, Handler] = {name: self._echo(name) for name in methods_of("files")}
        self.at_once: dict[str, Handler] = {"isFile": lambda _params, _caller: True}
        self.intake = Intake(
            AmqpSettings(url, connection_name="stub"),
            Topology(),
            control=Dispatcher("control", self.handlers, **limits),
            files=Dispatcher("files", self.queries, at_once=self.at_once, **limits),
            on_died=self.died.append,
            on_expired=self._on_expired,
        )

    def _on_expired(self) -> None:
        self.expired += 1

    def _echo(self, name: str) -> Handler:
        def handle(params: Any, _caller: Caller) -> object:
            self.asked.append((name, params))
            return getattr(params, "id", None) or getattr(params, "file_id", None) or name

        return handle

    def start(self) -> None:
        self.intake.start()
        eventually(lambda: self.intake.is_ready)

    def stop(self) -> bool:
        finished = self.intake.stop(5)
        assert self.intake.join(5)
        assert self.died == []
        return finished


@pytest.fixture
def stub(amqp_url: str) -> Iterator[Stub]:
    made = Stub(amqp_url)
    made.start()
    yield made
    made.stop()


@pytest.fixture(params=["queue", "direct"])
def client(amqp_url: str, stub: Stub, request: pytest.FixtureRequest) -> Iterator[RawClient]:
    """An honest client, replied to either way."""
    with RawClient(amqp_url, direct=request.param == "direct") as made:
        yield made


@pytest.fixture
def villain(amqp_url: str, stub: Stub) -> Iterator[RawClient]:
    with RawClient(amqp_url) as made:
        yield made


def depth(vhost: VirtualHost, queue: str) -> int:
    """Messages in a queue, delivered ones included, as the broker itself says it, not its statistics."""
    with RawClient(vhost.url) as probe:
        return int(probe.channel.queue_declare(queue, passive=True).method.message_count)


def test_replies_find_their_way(client: RawClient) -> None:
    """To a queue of the client's, or directly; with the correlation id, the type and the application's name."""
    client.send(request("startMonitor", 7, id="m"), correlation_id="c1")
    properties, body = client.reply("c1")
    assert json.loads(body) == {"jsonrpc": "2.0", "id": 7, "result": "m"}
    assert properties.type == "startMonitor"
    assert properties.content_type == "application/json"
    assert str(properties.app_id).startswith("fsherald/")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\x00rubbish",
        b"[" * 100_000,
        b"{}",
        b"[]",
        b"[1,2,3]",
        b'{"jsonrpc":"2.0","id":1,"method":"x"}',
    ],
    ids=lambda each: repr(each)[:24],
)
def test_rubbish_is_answered_with_an_error(client: RawClient, body: bytes) -> None:
    """Whatever is in it, and the next request as always."""
    client.send(body, correlation_id="bad")
    reply = json.loads(client.reply("bad")[1])
    assert "error" in (reply[0] if isinstance(reply, list) else reply)
    assert "result" in client.ask("startMonitor", id="m")


@pytest.mark.parametrize("queue", ["control", "files"])
def test_forged_addresses_cost_nobody_a_reply(
    amqp_url: str, stub: Stub, villain: RawClient, queue: str
) -> None:
    """The broker closes the connection over each of them; every honest reply arrives, queued or direct."""
    method, name = ("startMonitor", "id") if queue == "control" else ("getSize", "fileId")
    with RawClient(amqp_url) as queued, RawClient(amqp_url, direct=True) as direct:
        for number in range(6):
            villain.send(request(method, number, **{name: "/v"}), at=queue, reply_to=f"{FORGED}{number}")
            for honest in (queued, direct):
                body = request(method, number, **{name: f"/{number}"})
                honest.send(body, at=queue, correlation_id=str(number))
        for honest in (queued, direct):
            for number in range(6):
                assert json.loads(honest.reply(str(number), seconds=30)[1])["result"] == f"/{number}"
    eventually(lambda: stub.intake.replies.dropped == 6, seconds=30)


def test_a_truncated_address_costs_nobody_a_reply(amqp_url: str, stub: Stub, villain: RawClient) -> None:
    """A real one that was cut or bent is as bad as an invented one."""
    addresses: list[str] = []
    real = stub.handlers["stopMonitor"]
    consume = consumer_module.Consumer._serve

    def spying(self: Any, delivery: Any) -> None:
        addresses.append(delivery.reply_to)
        consume(self, delivery)

    with pytest.MonkeyPatch.context() as patch, RawClient(amqp_url, direct=True) as direct:
        patch.setattr(consumer_module.Consumer, "_serve", spying)
        assert "result" in direct.ask("startMonitor", id="m")
        address = addresses[0]
        assert address.startswith(DIRECT + ".")
        for bent in (address[:-5], address[: len(DIRECT) + 3], DIRECT + ".", address + "x", address.upper()):
            villain.send(request("startMonitor", 1, id="v"), reply_to=bent)
        assert "result" in direct.ask("startMonitor", id="m", seconds=30)
    assert real is stub.handlers["stopMonitor"]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nobody",
        "amq.gen-nobody",
        "amq.direct",
        "x" * 255,
        DIRECT + "x",
        "\N{SNOWMAN}" * 85,
        "a\0b",
        b"\xff\xfe",
    ],
    ids=lambda each: repr(each)[:24],
)
def test_an_address_where_nobody_is_disturbs_nobody(
    client: RawClient, villain: RawClient, vhost: VirtualHost, stub: Stub, address: Any
) -> None:
    """The request is executed and acknowledged; the reply comes back and is forgotten."""
    villain.send(request("stopMonitor", 1, id="v"), reply_to=address)
    eventually(lambda: villain.pump() or stub.asked)
    assert "result" in client.ask("startMonitor", id="m", seconds=30)
    assert [name for name, _ in stub.asked] == ["stopMonitor", "startMonitor"]
    eventually(lambda: depth(vhost, "fsherald.control") == 0)


def test_a_request_without_reply_to_is_executed(client: RawClient, stub: Stub, vhost: VirtualHost) -> None:
    """And not answered; it is none that nobody could read."""
    client.send(request("stopMonitor", 1, id="m"), reply=False)
    client.ask("startMonitor", id="m")
    assert [name for name, _ in stub.asked] == ["stopMonitor", "startMonitor"]
    assert len(client.replies) == 1
    assert depth(vhost, "fsherald.dead-letter") == 0


def test_a_reply_queue_deleted_meanwhile_disturbs_nobody(
    client: RawClient, stub: Stub, villain: RawClient
) -> None:
    """Its reply is returned, and the request acknowledged."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(_params: Any, _caller: Caller) -> object:
        begun.set()
        assert go_on.wait(20)
        return None

    stub.handlers["stopMonitor"] = slow
    villain.send(request("stopMonitor", 1, id="m"))
    assert begun.wait(10)
    villain.channel.queue_delete(villain.reply_to)
    go_on.set()
    assert "result" in client.ask("startMonitor", id="m")
    eventually(lambda: stub.intake.replies.returned == 1)
    assert stub.intake.replies.dropped == 0


def test_a_client_that_is_gone_disturbs_nobody(client: RawClient, stub: Stub, amqp_url: str) -> None:
    """Direct or queued, its reply comes back."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(_params: Any, _caller: Caller) -> object:
        begun.set()
        assert go_on.wait(20)
        return None

    stub.handlers["stopMonitor"] = slow
    for direct in (True, False):
        begun.clear()
        go_on.clear()
        with RawClient(amqp_url, direct=direct) as gone:
            gone.send(request("stopMonitor", 1, id="m"))
            assert begun.wait(10)
        go_on.set()
        assert "result" in client.ask("startMonitor", id="m")
    assert stub.intake.replies.dropped == 0


def test_a_request_of_20_mib_is_refused(client: RawClient, villain: RawClient, stub: Stub) -> None:
    """By us if the broker takes it (3.10), by the broker itself from 4.0 on; nobody else notices."""
    villain.send(b"[" * (20 << 20), correlation_id="large")
    assert "result" in client.ask("startMonitor", id="m", seconds=30)
    eventually(lambda: villain.pump(0.05) or villain.replies or villain.channel.is_closed)
    if villain.channel.is_open:
        reply = json.loads(villain.reply("large")[1])
        assert reply["error"]["code"] == -32600
        assert "1048576" in reply["error"]["message"]


def test_what_nobody_can_read_goes_to_the_dead_letter_queue(
    client: RawClient, stub: Stub, vhost: VirtualHost
) -> None:
    """If there is nobody to tell; with the reason, persistent."""
    client.send(b"rubbish", reply=False, at="files")
    client.send(b"x" * (2 << 20), reply=False)
    client.ask("startMonitor", id="m")
    eventually(lambda: depth(vhost, "fsherald.dead-letter") == 2)
    letters = {}
    for _ in range(2):
        _, properties, body = client.channel.basic_get("fsherald.dead-letter", auto_ack=True)
        assert properties is not None
        assert body is not None
        assert properties.delivery_mode == 2
        letters[properties.headers["queue"]] = (properties.headers, body)
    headers, body = letters["fsherald.files"]
    assert headers["reason"].startswith("parse-error")
    assert body == b"rubbish"
    headers, body = letters["fsherald.control"]
    assert headers["size"] == 2 << 20
    assert len(body) == 1 << 16


@pytest.mark.parametrize("queue", ["control", "files"])
@pytest.mark.parametrize(
    "headers",
    [
        {"x": Field(b"T" + b"\xff" * 8)},
        {"x": Field(nested(5000))},
        {"accept": 17, "version": None},
        {"x" * 255: "y" * 100_000},
    ],
    ids=["no time", "nested", "odd", "large"],
)
def test_no_header_can_stop_a_consumer(
    client: RawClient,
    villain: RawClient,
    stub: Stub,
    headers: Any,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """pika cannot read some of them, and the broker would deliver them again and again."""
    encode = pika.data.encode_value

    def encode_fields(pieces: list[bytes], value: Any) -> int:
        if not isinstance(value, Field):
            return encode(pieces, value)
        pieces.append(value)
        return len(value)

    monkeypatch.setattr(pika.data, "encode_value", encode_fields)
    method, params = ("stopMonitor", {"id": "v"}) if queue == "control" else ("getSize", {"fileId": "/v"})
    villain.send(request(method, 1, **params), at=queue, headers=headers, correlation_id="x")
    assert "result" in json.loads(villain.reply("x")[1])
    assert "result" in client.ask("startMonitor", id="m")
    assert stub.intake.reconnects == 0


def test_a_correlation_id_comes_back_byte_for_byte(client: RawClient) -> None:
    """Be it no text at all."""
    client.send(request("startMonitor", 1, id="m"), correlation_id=b"\xff\xfe")
    assert client.reply(b"\xff\xfe")


def test_an_expired_command_is_not_executed(client: RawClient, stub: Stub, vhost: VirtualHost) -> None:
    """It waits in the broker, which lets it expire, for one command is taken at a time."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(_params: Any, _caller: Caller) -> object:
        begun.set()
        assert go_on.wait(20)
        return None

    stub.handlers["stopMonitor"] = slow
    client.send(request("stopMonitor", 1, id="m"))
    assert begun.wait(10)
    client.send(request("destroyMonitor", 2, id="m"), expiration="50")
    client.send(request("describeMonitor", 3, id="m"), expiration="60000", correlation_id="3")
    stays(lambda: not stub.asked, seconds=0.2)
    go_on.set()
    client.reply("3")
    assert [name for name, _ in stub.asked] == ["describeMonitor"]


def test_an_expired_query_is_not_executed(client: RawClient, stub: Stub, vhost: VirtualHost) -> None:
    """Though it was delivered already, and waited for a worker here."""
    go_on = threading.Event()

    def slow(_params: Any, _caller: Caller) -> object:
        assert go_on.wait(20)
        return None

    stub.queries["getSize"] = slow
    for number in range(4):
        client.send(request("getSize", number, fileId="/x"), at="files")
    client.send(request("getOwner", 5, fileId="/late"), at="files", expiration="50")
    client.send(request("getOwner", 6, fileId="/x"), at="files", expiration="60000", correlation_id="6")
    stays(lambda: not stub.asked, seconds=0.2)
    go_on.set()
    client.reply("6")
    eventually(lambda: stub.expired == 1)
    assert [params.file_id for _, params in stub.asked] == ["/x"]
    eventually(lambda: depth(vhost, "fsherald.files") == 0)


def test_a_slow_query_delays_no_other(client: RawClient, stub: Stub) -> None:
    """Queries are served side by side, commands beside them."""
    go_on = threading.Event()
    stub.queries["getSize"] = lambda _params, _caller: go_on.wait(20)
    for _ in range(3):
        client.send(request("getSize", 1, fileId="/x"), at="files")
    assert "result" in client.ask("getOwner", at="files", fileId="/x")
    assert "result" in client.ask("startMonitor", id="m")
    go_on.set()


def test_what_takes_no_waiting_waits_for_no_worker(client: RawClient, stub: Stub, vhost: VirtualHost) -> None:
    """It is answered, and acknowledged, while all of them are busy."""
    go_on = threading.Event()
    stub.queries["getSize"] = lambda _params, _caller: go_on.wait(20)
    for number in range(4):
        client.send(request("getSize", number, fileId="/x"), at="files", correlation_id=f"slow {number}")
    assert client.ask("isFile", at="files", fileId="/x")["result"] is True
    go_on.set()
    for number in range(4):
        client.reply(f"slow {number}")
    assert stub.stop()
    assert depth(vhost, "fsherald.files") == 0


def test_commands_are_executed_in_order(client: RawClient, stub: Stub) -> None:
    """One at a time, as they came."""
    for number in range(50):
        client.send(request("startMonitor", number, id=str(number)), correlation_id=str(number))
    client.reply("49")
    assert [params.id for _, params in stub.asked] == [str(number) for number in range(50)]


def test_a_reply_that_the_broker_does_not_take_becomes_an_error(vhost: VirtualHost) -> None:
    """RabbitMQ 4 takes 16 MiB, 3.10 eight times that; everybody else's replies arrive."""
    stub = Stub(vhost.url, reply_limit_bytes=200 << 20)
    stub.queries["getOwner"] = lambda _params, _caller: "x" * (17 << 20)
    stub.start()
    with RawClient(vhost.url) as client:
        client.send(request("getOwner", 1, fileId="/x"), at="files", correlation_id="large")
        assert "result" in client.ask("getSize", at="files", fileId="/x", seconds=30)
        reply = json.loads(client.reply("large", seconds=30)[1])
        assert "result" in reply or reply["error"]["data"]["code"] == "limit-exceeded"
    assert stub.stop()


def test_a_queue_that_is_deleted_is_declared_again(client: RawClient, stub: Stub, vhost: VirtualHost) -> None:
    """And consumed again, without anybody doing anything."""
    names = {f"fsherald.{name}" for name in ("control", "files")}
    with capture_logs() as logs:
        for name in names:
            client.channel.queue_delete(name)
        eventually(lambda: {each["queue"] for each in logs if each["event"] == "consuming"} == names)
    assert "result" in client.ask("startMonitor", id="m")
    assert "result" in client.ask("getSize", at="files", fileId="/x")


def test_a_queue_of_another_kind_is_said_and_tried_again(
    vhost: VirtualHost,
) -> None:
    """The log names the queue and the remedy; when that is done, requests are served."""
    vhost.broker.declare_queue(vhost.name, "fsherald.control", kind="classic")
    stub = Stub(vhost.url)
    with capture_logs() as logs:
        stub.intake.start()
        eventually(lambda: any("fsherald.control" in entry.get("reason", "") for entry in logs))
    assert "delete it" in next(entry["reason"] for entry in logs if entry["log_level"] == "error")
    vhost.broker.delete_queue(vhost.name, "fsherald.control")
    eventually(lambda: stub.intake.is_ready)
    assert stub.stop()


def test_a_command_delivered_again_is_not_executed_again(
    amqp_url: str, stub: Stub, vhost: VirtualHost
) -> None:
    """The connection that consumes is lost while a command runs: executed once, and answered."""
    begun, go_on = threading.Event(), threading.Event()
    executed: list[str] = []

    def slow(params: Any, _caller: Caller) -> object:
        executed.append(params.id)
        begun.set()
        assert go_on.wait(30)
        return "made"

    stub.handlers["stopMonitor"] = slow
    with RawClient(amqp_url) as client:
        client.send(request("stopMonitor", 1, id="m"), correlation_id="1")
        assert begun.wait(10)
        eventually(lambda: vhost.broker.close_connections(vhost.name, "stub requests") == 1, seconds=20)
        eventually(lambda: stub.intake.reconnects == 1)
        eventually(lambda: stub.intake.is_ready)
        go_on.set()
        assert json.loads(client.reply("1", seconds=20)[1])["result"] == "made"
        assert "result" in client.ask("startMonitor", id="m")
    assert executed == ["m"]


def test_replies_survive_the_loss_of_their_connection(amqp_url: str, stub: Stub, vhost: VirtualHost) -> None:
    """What could not be confirmed is sent again, and nobody is taken for a culprit."""
    with RawClient(amqp_url, direct=True) as client:
        assert "result" in client.ask("startMonitor", id="m")
        eventually(lambda: vhost.broker.close_connections(vhost.name, "stub replies") == 1, seconds=20)
        for number in range(20):
            client.send(request("getSize", number, fileId="/x"), at="files", correlation_id=f"r{number}")
        for number in range(20):
            client.reply(f"r{number}")
    assert stub.intake.replies.dropped == 0


def test_what_was_not_begun_at_the_stop_stays_in_the_queue(vhost: VirtualHost) -> None:
    """What runs is answered; the rest is for the next server."""
    stub = Stub(vhost.url)
    begun, go_on = threading.Event(), threading.Event()

    def slow(_params: Any, _caller: Caller) -> object:
        begun.set()
        assert go_on.wait(20)
        return "done"

    stub.handlers["stopMonitor"] = slow
    stub.start()
    with RawClient(vhost.url) as client:
        client.send(request("stopMonitor", 1, id="m"), correlation_id="1")
        client.send(request("startMonitor", 2, id="m"), correlation_id="2")
        assert begun.wait(10)
        stopper = threading.Thread(target=stub.stop)
        stopper.start()
        stays(stopper.is_alive, seconds=0.2)
        go_on.set()
        stopper.join(10)
        assert json.loads(client.reply("1")[1])["result"] == "done"
        assert stub.asked == []
        eventually(lambda: depth(vhost, "fsherald.control") == 1)
        second = Stub(vhost.url)
        second.start()
        client.reply("2")
        assert second.stop()


def test_a_stop_in_a_hurry_waits_for_nobody(vhost: VirtualHost) -> None:
    """A second signal ends the waiting; the command goes to the next server."""
    stub = Stub(vhost.url)
    begun, go_on = threading.Event(), threading.Event()

    def slow(_params: Any, _caller: Caller) -> object:
        begun.set()
        return go_on.wait(20)

    stub.handlers["stopMonitor"] = slow
    stub.start()
    finished: list[bool] = []
    with RawClient(vhost.url) as client:
        client.send(request("stopMonitor", 1, id="m"))
        assert begun.wait(10)
        stopper = threading.Thread(target=lambda: finished.append(stub.intake.stop(60)))
        stopper.start()
        stays(stopper.is_alive, seconds=0.1)
        stub.intake.hurry()
        stopper.join(10)
        assert finished == [False]
        go_on.set()
        assert stub.intake.join(10)
        eventually(lambda: depth(vhost, "fsherald.control") == 1)
