"""The dispatcher: JSON-RPC 2.0 on one queue, and nothing that a message can do to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from control.dispatcher import (
    AT_ONCE_LIMIT_BYTES,
    BATCH_LIMIT,
    NOT_AT_ONCE,
    REQUEST_LIMIT_BYTES,
    Aside,
    Caller,
    Dispatcher,
    Handler,
    Incoming,
    Octets,
    Outcome,
)
from schemas.errors import ErrorCode, OmeroFSError, error_class
from schemas.rpc import dumps, methods_of

SECRET = "the text of an exception that nobody outside should read"


class Handlers(dict[str, Handler]):
    """A handler for each method of the control queue; what they were asked is in `asked`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.callers: list[Caller] = []
        super().__init__({name: self._handler(name) for name in methods_of("control")})

    def _handler(self, name: str) -> Handler:
        def handle(params: Any, caller: Caller) -> object:
            self.asked.append((name, params))
            self.callers.append(caller)
            return f"{name} done"

        return handle


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
def dispatcher(handlers: Handlers) -> Dispatcher:
    return Dispatcher("control", handlers)


def ask(dispatcher: Dispatcher, body: bytes | object, **more: Any) -> Any:
    """The decoded reply to a body, None if there is none."""
    outcome = dispatcher.dispatch(Incoming(body if isinstance(body, bytes) else dumps(body), **more))
    return decoded(outcome)


def decoded(outcome: Outcome) -> Any:
    return None if outcome.reply is None else json.loads(outcome.reply.body)


def request(method: str = "startMonitor", id: object = 1, **params: object) -> dict[str, object]:
    if not params and method.endswith(("Monitor", "State")):
        params = {"id": "m"}
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def notification(method: str = "startMonitor", **params: object) -> dict[str, object]:
    made = request(method, **params)
    del made["id"]
    return made


def error(reply: dict[str, Any]) -> tuple[int, str]:
    return reply["error"]["code"], reply["error"]["data"]["code"]


@pytest.mark.parametrize("id", [1, 0, -5, "text", "", None, 1.5, 2**70, "\udcff"])
def test_the_id_comes_back_as_it_was(dispatcher: Dispatcher, id: object) -> None:
    """A reply has the id of its request, whatever a string or number it is."""
    assert ask(dispatcher, request(id=id)) == {"jsonrpc": "2.0", "id": id, "result": "startMonitor done"}


def test_a_null_result_is_said(dispatcher: Dispatcher, handlers: Handlers) -> None:
    """An operation that returns nothing is answered with the result null."""
    handlers["startMonitor"] = lambda _params, _caller: None
    assert ask(dispatcher, request()) == {"jsonrpc": "2.0", "id": 1, "result": None}


def test_a_notification_is_executed_and_not_answered(dispatcher: Dispatcher, handlers: Handlers) -> None:
    """A request without id gets no reply, not even an error."""
    assert ask(dispatcher, notification()) is None
    assert ask(dispatcher, notification("no such method")) is None
    assert ask(dispatcher, notification("startMonitor", wrong=1)) is None
    assert [name for name, _ in handlers.asked] == ["startMonitor"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe\xfd",
        b"\x00" * 100,
        b"nonsense",
        b'{"jsonrpc": NaN}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"jsonrpc":"2.0","jsonrpc":"2.0"}',
        b"9" * 5000,
        b'{"jsonrpc": "2.0", "method": "startMonitor", "id": 1',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_json_is_a_parse_error(dispatcher: Dispatcher, body: bytes) -> None:
    """-32700 under the id null, for rubbish, NaN, deep nesting and numbers without end."""
    outcome = dispatcher.dispatch(Incoming(body))
    reply = decoded(outcome)
    assert (reply["id"], *error(reply)) == (None, -32700, "parse-error")
    assert outcome.unreadable is not None


@pytest.mark.parametrize(
    ("body", "id"),
    [
        ([], None),
        ("text", None),
        (17, None),
        (None, None),
        ({}, None),
        ({"jsonrpc": "1.0", "id": 3, "method": "startMonitor"}, 3),
        ({"id": 3, "method": "startMonitor"}, 3),
        ({"jsonrpc": "2.0", "id": 3}, 3),
        ({"jsonrpc": "2.0", "id": 3, "method": 7}, 3),
        ({"jsonrpc": "2.0", "id": 3, "method": "startMonitor", "params": "text"}, 3),
        ({"jsonrpc": "2.0", "id": True, "method": "startMonitor"}, None),
        ({"jsonrpc": "2.0", "id": {}, "method": "startMonitor"}, None),
    ],
)
def test_json_that_is_no_request_is_invalid(dispatcher: Dispatcher, body: object, id: object) -> None:
    """-32600 under the id of the request if it has one; the empty batch is one of them."""
    outcome = dispatcher.dispatch(Incoming(dumps(body)))
    reply = decoded(outcome)
    assert (reply["id"], *error(reply)) == (id, -32600, "invalid-request")
    assert outcome.unreadable is not None


def test_an_unknown_method_is_not_found(dispatcher: Dispatcher) -> None:
    """-32601."""
    assert error(ask(dispatcher, request("startmonitor"))) == (-32601, "method-not-found")


def test_a_method_of_the_other_queue_is_said_to_be_there(dispatcher: Dispatcher) -> None:
    """-32601 that names the queue to ask."""
    reply = ask(dispatcher, request("getSize", fileId="/data/x"))
    assert error(reply) == (-32601, "method-not-found")
    assert "files" in reply["error"]["message"]


def test_each_wrong_parameter_is_named(dispatcher: Dispatcher) -> None:
    """-32602 lists what is missing, what is wrong and what is not known, by the names of the wire."""
    reply = ask(dispatcher, request("createMonitor", mType="Never", eTypes=[], pMode=0, blokSize=1))
    assert error(reply) == (-32602, "invalid-params")
    assert {each["field"] for each in reply["error"]["data"]["errors"]} == {
        "mType",
        "eTypes",
        "pathString",
        "blokSize",
    }


def test_parameters_are_taken_by_name_only(dispatcher: Dispatcher) -> None:
    """-32602 for an array of parameters."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "startMonitor", "params": ["m"]}
    assert error(ask(dispatcher, body)) == (-32602, "invalid-params")


def test_an_internal_error_carries_a_reference_and_nothing_else(
    dispatcher: Dispatcher, handlers: Handlers
) -> None:
    """-32603; what happened stands in the log under the same reference."""

    def fail(_params: object, _caller: Caller) -> object:
        raise ZeroDivisionError(SECRET)

    handlers["startMonitor"] = fail
    with capture_logs() as logs:
        outcome = dispatcher.dispatch(Incoming(dumps(request())))
    assert outcome.reply is not None
    assert b"Traceback" not in outcome.reply.body
    assert SECRET.encode() not in outcome.reply.body
    reply = decoded(outcome)
    assert error(reply) == (-32603, "internal-error")
    assert logs[0]["reference"] in reply["error"]["message"]


def test_a_result_that_has_no_json_is_an_internal_error(dispatcher: Dispatcher, handlers: Handlers) -> None:
    """A handler's mistake is a reply too."""
    handlers["startMonitor"] = lambda _params, _caller: object()
    with capture_logs():
        assert error(ask(dispatcher, request())) == (-32603, "internal-error")


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_failure_of_the_contract_has_its_code(
    dispatcher: Dispatcher, handlers: Handlers, code: ErrorCode
) -> None:
    """-32000 with type, code and reason in its data."""

    def fail(_params: object, _caller: Caller) -> object:
        raise error_class(code)("what failed")

    handlers["startMonitor"] = fail
    reply = ask(dispatcher, request())
    assert reply["error"]["code"] == -32000
    assert reply["error"]["data"] == {"type": "OmeroFSError", "code": code.value, "reason": "what failed"}


def test_a_batch_is_answered_with_an_array_in_its_order(dispatcher: Dispatcher, handlers: Handlers) -> None:
    """One reply for each request that wants one; rubbish among them is answered under null."""
    replies = ask(dispatcher, [request(id=1), notification(), 17, request("nothing", id=2)])
    assert [reply["id"] for reply in replies] == [1, None, 2]
    assert "result" in replies[0]
    assert error(replies[1]) == (-32600, "invalid-request")
    assert error(replies[2]) == (-32601, "method-not-found")
    assert len(handlers.asked) == 2


def test_a_batch_of_notifications_is_not_answered(dispatcher: Dispatcher, handlers: Handlers) -> None:
    """As JSON-RPC says: nothing, not an empty array."""
    assert ask(dispatcher, [notification(), notification()]) is None
    assert len(handlers.asked) == 2


def test_a_batch_is_bounded(dispatcher: Dispatcher, handlers: Handlers) -> None:
    """Nothing of a batch that is too long is executed."""
    reply = ask(dispatcher, [request()] * (BATCH_LIMIT + 1))
    assert error(reply) == (-32600, "invalid-request")
    assert str(BATCH_LIMIT) in reply["error"]["message"]
    assert handlers.asked == []


def test_a_body_that_is_too_large_is_not_read(dispatcher: Dispatcher) -> None:
    """20 MiB of anything get an error that names the limit."""
    reply = ask(dispatcher, b"[" * (20 << 20))
    assert error(reply) == (-32600, "invalid-request")
    assert str(REQUEST_LIMIT_BYTES) in reply["error"]["message"]


def test_a_reply_that_is_too_large_is_an_error(handlers: Handlers) -> None:
    """The broker would close the channel over it; in a batch only the reply that does not fit is one."""
    handlers["startMonitor"] = lambda _params, _caller: "x" * 600
    dispatcher = Dispatcher("control", handlers, reply_limit_bytes=1000)
    first, second = ask(dispatcher, [request(id=1), request(id=2)])
    assert first["result"] == "x" * 600
    assert (second["id"], *error(second)) == (2, -32000, "limit-exceeded")


def test_what_the_broker_does_not_take_is_replaced_by_an_error(dispatcher: Dispatcher) -> None:
    """A broker may take less than we assume; the client hears so under the ids of its requests."""
    single = dispatcher.dispatch(Incoming(dumps(request(id=7)))).reply
    batch = dispatcher.dispatch(Incoming(dumps([request(id=1), request(id=2)]))).reply
    assert single is not None
    assert batch is not None
    assert error(json.loads(single.too_large().body)) == (-32000, "limit-exceeded")
    assert [each["id"] for each in json.loads(batch.too_large().body)] == [1, 2]


def test_discovery_lists_the_methods_of_the_queue(dispatcher: Dispatcher, handlers: Handlers) -> None:
    """rpc.discover is answered on both queues, by a handler as the others are."""
    handlers["rpc.discover"] = lambda _params, _caller: {"openrpc": "1.3.2"}
    assert ask(dispatcher, request("rpc.discover"))["result"] == {"openrpc": "1.3.2"}


def test_octets_travel_as_they_are(handlers: Handlers) -> None:
    """With `accept: application/octet-stream` the body of the reply is the result."""

    def octets(_params: Any, caller: Caller) -> object:
        return Octets(b"\x00\xff", {"version": "v"}) if caller.takes_octets else "json"

    handlers["startMonitor"] = octets
    dispatcher = Dispatcher("control", handlers)
    incoming = Incoming(dumps(request()), headers={"accept": "application/octet-stream"})
    reply = dispatcher.dispatch(incoming).reply
    assert reply is not None
    assert (reply.body, reply.content_type, dict(reply.headers)) == (
        b"\x00\xff",
        "application/octet-stream",
        {"version": "v"},
    )
    batch = Incoming(dumps([request()]), headers={"accept": "application/octet-stream"})
    assert decoded(dispatcher.dispatch(batch))[0]["result"] == "json"


def test_what_takes_long_is_finished_aside(handlers: Handlers) -> None:
    """The rest of a batch is done by then; failures aside are replies as everywhere."""

    def fail() -> object:
        raise error_class("file-changed")("it changed")

    handlers["startMonitor"] = lambda _params, _caller: Aside(lambda: "late")
    handlers["stopMonitor"] = lambda _params, _caller: Aside(fail)
    outcome = Dispatcher("control", handlers).dispatch(
        Incoming(dumps([request(id=1), request("stopMonitor", id=2), request("getMonitorState", id=3)]))
    )
    assert outcome.reply is None
    assert outcome.aside is not None
    late, failed, quick = decoded(outcome.aside())
    assert late["result"] == "late"
    assert error(failed) == (-32000, "file-changed")
    assert quick["result"] == "getMonitorState done"


def test_the_identity_of_a_request_reaches_its_handler(dispatcher: Dispatcher, handlers: Handlers) -> None:
    """The message's id is the request's; in a batch each request has its own."""
    ask(dispatcher, request(), message_id="a")
    ask(dispatcher, [request(), request()], message_id="b")
    ask(dispatcher, request())
    assert [caller.message_id for caller in handlers.callers] == ["a", "b#0", "b#1", None]


def test_every_request_is_counted_with_its_outcome(handlers: Handlers) -> None:
    """By method and outcome; a method that nobody knows has no name to count under."""
    seen: list[tuple[str, str]] = []
    dispatcher = Dispatcher(
        "control", handlers, observe=lambda method, outcome, _: seen.append((method, outcome))
    )
    for body in (request(), request("junk"), notification(), request("startMonitor", wrong=1), 17):
        ask(dispatcher, body)
    assert seen == [
        ("startMonitor", "ok"),
        ("", "method-not-found"),
        ("startMonitor", "ok"),
        ("startMonitor", "invalid-params"),
        ("", "invalid-request"),
    ]


def test_a_failure_of_the_contract_is_no_bug(dispatcher: Dispatcher, handlers: Handlers) -> None:
    """Nothing is logged for what a client did wrong."""

    def fail(_params: object, _caller: Caller) -> object:
        raise OmeroFSError("no")

    handlers["startMonitor"] = fail
    with capture_logs() as logs:
        ask(dispatcher, request())
    assert logs == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": JSON,
        "method": st.sampled_from(sorted(methods_of("control"))) | JSON,
        "params": JSON | st.fixed_dictionaries({"id": JSON}),
    },
)


@given(body=st.binary(max_size=200) | (JSON | REQUESTS | st.lists(REQUESTS, max_size=3)).map(
    lambda value: json.dumps(value).encode("ascii")
))  # fmt: skip
def test_no_message_makes_it_raise(body: bytes) -> None:
    """Whatever comes, there is a reply that is JSON, or none; lone surrogates and NaN included."""
    outcome = Dispatcher("control", Handlers()).dispatch(Incoming(body))
    if outcome.reply is not None:
        json.loads(outcome.reply.body)


class TestAtOnce:
    """What a thread may have served that must not wait."""

    def made(self, at_once: Handler, observed: list[str] | None = None) -> Dispatcher:
        seen = [] if observed is None else observed
        return Dispatcher(
            "control",
            Handlers(),
            at_once={"startMonitor": at_once},
            observe=lambda _method, outcome, _seconds: seen.append(outcome),
        )

    def test_a_result_is_the_same_reply(self) -> None:
        """Nothing in it tells who served it; it is counted once."""
        observed: list[str] = []
        dispatcher = self.made(lambda _params, _caller: "startMonitor done", observed)
        incoming = Incoming(dumps(request(id="x")))
        assert dispatcher.dispatch_at_once(incoming) == dispatcher.dispatch(incoming)
        assert observed == ["ok", "ok"]

    def test_whatever_else_is_left_to_the_handlers(self) -> None:
        """Errors too, and it is not counted."""
        observed: list[str] = []

        def fail(_params: Any, _caller: Caller) -> object:
            raise error_class("not-found")("gone")

        for handler in (fail, lambda _params, _caller: NOT_AT_ONCE):
            assert self.made(handler, observed).dispatch_at_once(Incoming(dumps(request()))) is None
        assert observed == []

    @pytest.mark.parametrize(
        "body",
        [
            b"rubbish",
            dumps([request()]),
            dumps([]),
            dumps({"jsonrpc": "1.0"}),
            dumps(request("stopMonitor")),
            dumps(request(id=["no id"])),
            dumps(request(wrong="parameter")),
            dumps(request()).ljust(AT_ONCE_LIMIT_BYTES + 1),
        ],
        ids=lambda each: repr(each)[:30],
    )
    def test_what_is_not_one_small_request_of_its_kind_is_not_served(self, body: bytes) -> None:
        """A thread that must not be kept busy does not read a megabyte."""
        asked: list[object] = []
        dispatcher = self.made(lambda params, _caller: asked.append(params))
        assert dispatcher.dispatch_at_once(Incoming(body)) is None
        assert asked == []

    def test_a_notification_is_served_and_not_answered(self) -> None:
        """As always."""
        outcome = self.made(lambda _params, _caller: 1).dispatch_at_once(Incoming(dumps(notification())))
        assert outcome == Outcome()

    def test_without_such_handlers_nothing_is_read(self, dispatcher: Dispatcher) -> None:
        """The control queue has none."""
        assert dispatcher.dispatch_at_once(Incoming(dumps(request()))) is None
