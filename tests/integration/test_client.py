"""The clients against a real broker, and a server that answers from a dict."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from control.client import (
    BadReplyError,
    BrokerUnreachableError,
    ClientClosedError,
    FileServerClient,
    MonitorServerClient,
    NoServerError,
    ReplyTimeoutError,
    RpcClient,
)
from publisher.amqp import AmqpConnection
from schemas.errors import NoSuchMonitorError, NotFoundError, RequestError
from schemas.monitors import MonitorState
from tests.integration.fake_server import FakeServer
from tests.waiting import eventually

ID = "0d7c0000-0000-11f0-8000-000000000000"


@pytest.fixture
def server(amqp_url: str):
    with FakeServer(amqp_url, {}) as fake:
        yield fake


def fail(exc: Exception):
    def handler(_params: object) -> object:
        raise exc

    return handler


def test_a_result_comes_back_from_the_server(amqp_url: str, server: FakeServer):
    """A call returns what the server's method returned."""
    server.handlers["getMonitorState"] = lambda params: "Started" if params == {"id": ID} else "Stopped"
    with MonitorServerClient(amqp_url) as client:
        assert client.get_monitor_state(ID) is MonitorState.STARTED


def test_create_monitor_sends_the_contract_parameters_and_a_message_id(amqp_url: str, server: FakeServer):
    """Parameters travel by their wire names; the message id makes a repeated request idempotent."""
    server.handlers["createMonitor"] = lambda _params: ID
    with MonitorServerClient(amqp_url) as client:
        assert client.create_monitor("/data", whitelist=[".tif"], block_size=7, message_id="mine") == ID
        assert client.create_monitor("/data", queue="images") == ID
    (first, first_properties), (second, second_properties) = server.requests
    assert first["params"] == {
        "mType": "Persistent",
        "eTypes": ["All"],
        "pMode": "Follow",
        "pathString": "/data",
        "whitelist": [".tif"],
        "blacklist": [],
        "timeout": 0.0,
        "blockSize": 7,
        "ignoreSysFiles": True,
        "ignoreDirEvents": False,
        "platformCheck": False,
    }
    assert first_properties.message_id == "mine"
    assert second["params"]["queue"] == "images"
    assert second_properties.message_id
    assert 0 < int(second_properties.expiration) <= 30_000


def test_an_error_of_the_contract_arrives_as_its_own_class(amqp_url: str, server: FakeServer):
    """OmeroFSError keeps its code and its reason across the broker."""
    server.handlers["stopMonitor"] = fail(NoSuchMonitorError("there is no monitor 'x'"))
    with MonitorServerClient(amqp_url) as client, pytest.raises(NoSuchMonitorError, match="no monitor 'x'"):
        client.stop_monitor("x")


def test_an_error_of_the_request_arrives_as_request_error(amqp_url: str, server: FakeServer):
    """An internal error of the server is a RequestError, without details."""
    server.handlers["startMonitor"] = fail(KeyError("secret"))
    with MonitorServerClient(amqp_url) as client, pytest.raises(RequestError) as caught:
        client.start_monitor("x")
    assert "secret" not in str(caught.value)


def test_a_result_of_the_wrong_type_is_a_bad_reply(amqp_url: str, server: FakeServer):
    """What a server sends is checked before it is used."""
    server.handlers["getMonitorState"] = lambda _params: 17.5
    with MonitorServerClient(amqp_url) as client, pytest.raises(BadReplyError):
        client.get_monitor_state(ID)


def test_names_that_are_not_utf_8_survive_the_round_trip(amqp_url: str, server: FakeServer):
    """A name is bytes: what is not UTF-8 is there again on the other side, in both directions."""
    server.handlers["getBaseName"] = lambda params: params["fileId"].rpartition("/")[2]
    with FileServerClient(amqp_url) as client:
        assert client.get_base_name("/data/\udcff\udc80.tif") == "\udcff\udc80.tif"


def test_read_block_asks_for_the_bytes_themselves(amqp_url: str, server: FakeServer):
    """readBlock travels as application/octet-stream, its version in a header."""
    server.handlers["readBlock"] = lambda params: (bytes(params["size"]), {"version": "v1"})
    with FileServerClient(amqp_url) as client:
        assert client.read_block("/data/a", 0, 1000) == (bytes(1000), "v1")
    ((_, properties),) = server.requests
    assert properties.headers == {"accept": "application/octet-stream"}


def test_an_error_of_read_block_is_json_all_the_same(amqp_url: str, server: FakeServer):
    """The error of a binary request is a JSON-RPC error."""
    server.handlers["readBlock"] = fail(NotFoundError("'/data/a' does not exist"))
    with FileServerClient(amqp_url) as client, pytest.raises(NotFoundError):
        client.read_block("/data/a", 0, 1000)


def test_read_keeps_to_one_version(amqp_url: str, server: FakeServer):
    """The blocks after the first ask for the version of the first."""
    content = b"0123456789"
    server.handlers["readBlock"] = lambda params: (
        content[params["offset"] : params["offset"] + params["size"]],
        {"version": "v1"},
    )
    with FileServerClient(amqp_url) as client:
        assert list(client.read("/data/a", block_bytes=4)) == [b"0123", b"4567", b"89"]
    assert [request["params"].get("version") for request, _ in server.requests] == [None, "v1", "v1", "v1"]


def test_many_threads_may_call_at_once(amqp_url: str, server: FakeServer):
    """Each reply finds the caller whose request it answers."""
    server.handlers["getSize"] = lambda params: int(params["fileId"].removeprefix("/"))
    with FileServerClient(amqp_url) as client, ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda n: client.get_size(f"/{n}"), range(200))) == list(range(200))


def test_a_missing_server_is_told_at_once(amqp_url: str):
    """Where no server has ever been, a call fails without waiting for its time to pass."""
    with MonitorServerClient(amqp_url) as client, pytest.raises(NoServerError, match=r"fsherald\.control"):
        client.list_monitors()


def test_a_stopped_server_is_told_at_once_and_the_request_is_not_executed_later(amqp_url: str):
    """The queue outlives its server; a first request is not left in it for nobody."""
    with FakeServer(amqp_url, {}):
        pass
    with MonitorServerClient(amqp_url) as client, pytest.raises(NoServerError):
        client.create_monitor("/data")
    with FakeServer(amqp_url, {"listMonitors": lambda _params: []}) as server:
        with MonitorServerClient(amqp_url) as client:
            assert client.list_monitors() == []
        assert [request["method"] for request, _ in server.requests] == ["listMonitors"]


def test_a_reply_that_does_not_come_is_an_error_with_method_and_seconds(amqp_url: str, server: FakeServer):
    """A caller waits no longer than it said."""
    server.silent.add("listMonitors")
    with (
        MonitorServerClient(amqp_url, timeout_seconds=0.3) as client,
        pytest.raises(ReplyTimeoutError, match=r"no reply to listMonitors within 0\.3 seconds"),
    ):
        client.list_monitors()


def test_an_unreachable_broker_is_told_at_once():
    """A refused connection needs no timeout to be told; the sentence names the address and no password."""
    before = time.monotonic()
    with (
        MonitorServerClient("amqp://guest:secret@127.0.0.1:1/") as client,
        pytest.raises(BrokerUnreachableError, match=r"127\.0\.0\.1:1") as caught,
    ):
        client.list_monitors()
    assert "secret" not in str(caught.value)
    assert time.monotonic() - before < 10


def test_a_lost_connection_is_made_again_and_the_request_sent_again(amqp_url: str, server: FakeServer):
    """A request that may be repeated survives the loss of the connection that carried it."""
    server.handlers["listMonitors"] = lambda _params: []
    server.silent.add("listMonitors")
    with MonitorServerClient(amqp_url) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.list_monitors)
        eventually(lambda: server.requests)
        server.silent.clear()
        cut(client.rpc)
        assert waiting.result(10) == []
    assert len(server.requests) == 2


def test_destroy_monitor_is_not_sent_twice(amqp_url: str, server: FakeServer):
    """Whether a destroy was executed is not known after a lost connection: the caller is told, not the server again."""
    server.silent.add("destroyMonitor")
    with MonitorServerClient(amqp_url) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.destroy_monitor, ID)
        eventually(lambda: server.requests)
        cut(client.rpc)
        with pytest.raises(BrokerUnreachableError):
            waiting.result(10)


def test_close_ends_the_calls_under_way(amqp_url: str, server: FakeServer):
    """Nobody waits for a reply that can no longer come, and no thread is left."""
    server.silent.add("listMonitors")
    client = MonitorServerClient(amqp_url)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.list_monitors)
        eventually(lambda: server.requests)
        client.close()
        with pytest.raises(ClientClosedError):
            waiting.result(10)
    with pytest.raises(ClientClosedError):
        client.list_monitors()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fsherald client")]


def cut(rpc: RpcClient) -> None:
    """Ends the connection of a client from below, as a network would."""
    connection: AmqpConnection = rpc._connection
    connection.call(lambda: connection._connection.close(320, "cut by the test"))
