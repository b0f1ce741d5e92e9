"""JSON-RPC 2.0: bodies to requests, results and errors to replies."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import rpc
from schemas.errors import ErrorCode, FieldProblem, NotFoundError, OmeroFSError, RequestError, error_class

WELL_FORMED = {"jsonrpc": "2.0", "id": 1, "method": "listMonitors", "params": {}}


def parse_one(value: object) -> rpc.Request | rpc.InvalidRequest:
    message = rpc.parse_message(json.dumps(value).encode())
    assert not message.is_batch
    return message.requests[0]


@pytest.mark.parametrize("id_", [1, 0, -7, "a", "", "\udcff", 1.5, None, 10**40])
def test_an_id_may_be_a_string_a_number_or_null_and_is_echoed(id_: rpc.RequestId) -> None:
    """null is an id, if a poor one: such a request is answered."""
    request = parse_one({**WELL_FORMED, "id": id_})

    assert isinstance(request, rpc.Request)
    assert not request.is_notification
    assert request.id == id_
    assert json.loads(rpc.dumps(rpc.success(id_, None))) == {"jsonrpc": "2.0", "id": id_, "result": None}


def test_a_request_without_an_id_is_a_notification() -> None:
    """Executed, not answered."""
    request = parse_one({"jsonrpc": "2.0", "method": "stopMonitor"})

    assert request == rpc.Request("stopMonitor", {}, rpc.ABSENT)
    assert isinstance(request, rpc.Request)
    assert request.is_notification


def test_absent_params_are_no_params() -> None:
    """The member may be left out."""
    assert parse_one({"jsonrpc": "2.0", "id": 1, "method": "x"}) == rpc.Request("x", {}, 1)


def test_params_by_position_are_well_formed_json_rpc() -> None:
    """Refused later, as invalid parameters of the method."""
    assert parse_one({**WELL_FORMED, "params": [1]}) == rpc.Request("listMonitors", [1], 1)


@pytest.mark.parametrize(
    ("value", "id_", "problem"),
    [
        (1, None, "must be an object"),
        ("x", None, "must be an object"),
        (None, None, "must be an object"),
        ({}, None, "jsonrpc"),
        ({**WELL_FORMED, "jsonrpc": "1.0"}, 1, "jsonrpc"),
        ({**WELL_FORMED, "jsonrpc": 2.0}, 1, "jsonrpc"),
        ({"id": "a", "method": "x"}, "a", "jsonrpc"),
        ({**WELL_FORMED, "method": 1}, 1, "method"),
        ({**WELL_FORMED, "method": None}, 1, "method"),
        ({"jsonrpc": "2.0", "id": 1}, 1, "method"),
        ({"jsonrpc": "2.0"}, None, "method"),
        ({**WELL_FORMED, "params": "x"}, 1, "params"),
        ({**WELL_FORMED, "params": None}, 1, "params"),
        ({**WELL_FORMED, "id": True}, None, "id"),
        ({**WELL_FORMED, "id": {}}, None, "id"),
        ({**WELL_FORMED, "id": [1]}, None, "id"),
        ({**WELL_FORMED, "extra": 1}, 1, "unknown member 'extra'"),
        ({**WELL_FORMED, "\udcff": 1}, 1, "unknown member"),
    ],
)
def test_json_that_is_no_request_is_an_invalid_request(
    value: object, id_: rpc.RequestId, problem: str
) -> None:
    """Answered under its id if it has a proper one, else under null."""
    request = parse_one(value)

    assert isinstance(request, rpc.InvalidRequest)
    assert request.id == id_
    assert (request.error.rpc_code, request.error.name) == (-32600, "invalid-request")
    assert problem in request.error.message
    rpc.dumps(rpc.failure(request.id, request.error))


def test_an_id_too_large_for_a_number_is_refused_rather_than_echoed_as_infinity() -> None:
    """A reply is always JSON."""
    request = rpc.parse_message(b'{"jsonrpc": "2.0", "id": 1e999, "method": "x"}').requests[0]

    assert isinstance(request, rpc.InvalidRequest)
    assert request.id is None


def test_an_empty_batch_is_an_invalid_request() -> None:
    """As JSON-RPC defines; answered by one error, not by an array."""
    with pytest.raises(RequestError) as caught:
        rpc.parse_message(b"[]")

    assert caught.value.name == "invalid-request"


@pytest.mark.parametrize("body", [b" " * (rpc.BODY_MAX_BYTES + 1), json.dumps([1] * 10_001).encode()])
def test_a_body_or_batch_that_is_too_large_is_an_invalid_request(body: bytes) -> None:
    """Memory is bounded, whatever is sent."""
    with pytest.raises(RequestError, match=r"at most|limit") as caught:
        rpc.parse_message(body)

    assert caught.value.name == "invalid-request"


def test_each_entry_of_a_batch_stands_for_itself() -> None:
    """Rubbish in a batch does not take the others along."""
    message = rpc.parse_message(json.dumps([1, WELL_FORMED, []]).encode())

    assert message.is_batch
    kinds = [type(each) for each in message.requests]
    assert kinds == [rpc.InvalidRequest, rpc.Request, rpc.InvalidRequest]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "x"]), inner, max_size=4)
        ),
    )
)
def test_whatever_is_parsed_can_be_answered(value: object) -> None:
    """No body leads to anything but requests and errors, and each error can be written."""
    try:
        message = rpc.parse_message(json.dumps(value).encode())
    except RequestError as exc:
        rpc.dumps(rpc.failure(None, exc))
        return
    for each in message.requests:
        if isinstance(each, rpc.InvalidRequest):
            rpc.dumps(rpc.failure(each.id, each.error))


@pytest.mark.parametrize("code", ErrorCode)
def test_a_failure_of_the_contract_is_the_same_exception_on_the_other_side(code: ErrorCode) -> None:
    """Class, code and reason."""
    error = error_class(code)("'/data/\udcff' is odd")

    obj = json.loads(rpc.dumps(rpc.error_object(error)))

    assert obj == {
        "code": -32000,
        "message": error.message,
        "data": {"type": "OmeroFSError", "code": code, "reason": "'/data/\udcff' is odd"},
    }
    with pytest.raises(OmeroFSError) as caught:
        rpc.raise_error(obj)
    assert type(caught.value) is type(error)
    assert caught.value.reason == error.reason


def test_invalid_params_carry_each_field_and_its_problem() -> None:
    """In data.errors."""
    error = RequestError.invalid_params("wrong", [FieldProblem("id", "is required")])

    assert rpc.error_object(error) == {
        "code": -32602,
        "message": "wrong",
        "data": {"code": "invalid-params", "errors": [{"field": "id", "problem": "is required"}]},
    }


def test_an_internal_error_tells_nothing_of_the_exception() -> None:
    """No traceback, no text that may hold a secret."""
    try:
        raise KeyError("password=hunter2")
    except KeyError as exc:
        text = rpc.dumps(rpc.failure(7, exc))

    assert b"hunter2" not in text
    assert b"KeyError" not in text
    assert json.loads(text)["error"]["code"] == -32603


@pytest.mark.parametrize(
    "obj",
    [None, 1, "x", [], {}, {"code": "x"}, {"code": -32000}, {"code": -32602, "data": {"errors": [1, {}]}}],
)
def test_a_malformed_error_is_an_error_all_the_same(obj: object) -> None:
    """A client never stumbles over what a server sent."""
    with pytest.raises((OmeroFSError, RequestError)):
        rpc.raise_error(obj)


def test_a_code_of_a_newer_server_is_the_contracts_error_with_its_reason() -> None:
    """Names may be added."""
    obj = {"code": -32000, "message": "m", "data": {"code": "too-cold", "reason": "it is cold"}}

    error = rpc.from_error_object(obj)

    assert type(error) is OmeroFSError
    assert str(error) == "it is cold"


@pytest.mark.parametrize("reply", [None, [], 1, {}, {"jsonrpc": "2.0", "id": 1}, {"error": None}])
def test_what_is_no_reply_is_an_internal_error(reply: object) -> None:
    """Rather than a result of None."""
    with pytest.raises(RequestError, match="cannot be read"):
        rpc.result_of(reply)


def test_a_client_ignores_members_of_a_reply_that_it_does_not_know() -> None:
    """A newer server may say more."""
    assert rpc.result_of({"jsonrpc": "2.0", "id": 1, "result": 5, "took": 0.1, "error": None}) == 5
    error = rpc.from_error_object({"code": -32000, "data": {"code": "not-found", "reason": "r", "hint": 1}})
    assert isinstance(error, NotFoundError)
