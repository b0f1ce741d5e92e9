"""Every kind of message, read from its golden file and written again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas import rpc
from schemas.errors import ErrorCode, OmeroFSError, RequestError
from schemas.events import SystemCode, decode_event_list, encode_event_list
from schemas.methods import METHODS
from tests.contract import golden

SINGLE_REQUESTS = [name for name in golden.names("*.request") if name != "batch.request"]
METHOD_REPLIES = [name for name in golden.names("*.reply") if name != "batch.reply"]


def written(value: object) -> object:
    return json.loads(rpc.dumps(value))


def request_again(request: rpc.Request | rpc.InvalidRequest) -> dict[str, object]:
    assert isinstance(request, rpc.Request)
    params = METHODS[request.method].parse_params(request.params)
    return rpc.request_object(
        request.method, params.model_dump(by_alias=True, exclude_unset=True), request.id
    )


@pytest.mark.parametrize("name", SINGLE_REQUESTS)
def test_a_request_survives_being_read_and_written(name: str) -> None:
    """What was asked for is what is understood, parameter by parameter."""
    message = rpc.parse_message(golden.body(name))

    assert not message.is_batch
    assert written(request_again(message.requests[0])) == golden.value(name)


def test_a_batch_survives_being_read_and_written() -> None:
    """A batch is a list of requests in their order, notifications among them."""
    message = rpc.parse_message(golden.body("batch.request"))

    assert message.is_batch
    assert written([request_again(each) for each in message.requests]) == golden.value("batch.request")


@pytest.mark.parametrize("name", METHOD_REPLIES)
def test_a_result_survives_being_read_and_written(name: str) -> None:
    """A result is validated as the method's type and written under the same names."""
    method = METHODS[name.removesuffix(".reply")]
    reply: Any = rpc.loads(golden.body(name))

    result = method.result_adapter.validate_python(rpc.result_of(reply))

    assert written(rpc.success(reply["id"], result)) == golden.value(name)


@pytest.mark.parametrize("name", golden.names("*.error"))
def test_an_error_survives_being_read_and_written(name: str) -> None:
    """The client's exception holds everything that the server's did."""
    reply: Any = rpc.loads(golden.body(name))

    with pytest.raises((OmeroFSError, RequestError)) as caught:
        rpc.result_of(reply)

    assert written(rpc.failure(reply["id"], caught.value)) == golden.value(name)


def test_the_replies_to_a_batch_are_results_and_errors_in_one_array() -> None:
    """Each entry of the array is a reply of its own."""
    replies: Any = rpc.loads(golden.body("batch.reply"))
    first, second, third = replies

    assert rpc.result_of(first) is None
    assert rpc.result_of(second) == []
    with pytest.raises(RequestError, match="must be an object"):
        rpc.result_of(third)


@pytest.mark.parametrize("name", golden.names("EventList.*"))
def test_a_block_survives_being_read_and_written(name: str) -> None:
    """Absent members stay absent, names that are not UTF-8 stay what they are."""
    block = decode_event_list(golden.body(name))

    assert json.loads(encode_event_list(block)) == golden.value(name)


def test_every_method_has_a_golden_request_and_reply() -> None:
    """No method comes without an example."""
    for name in METHODS:
        assert golden.names(f"{name}.request")
        assert golden.names(f"{name}.reply")


def test_every_failure_has_a_golden_error() -> None:
    """All the names of protocol errors and of the contract's failures are there."""
    rpc_names = {"parse-error", "invalid-request", "method-not-found", "invalid-params", "internal-error"}

    assert {name.removesuffix(".error") for name in golden.names("*.error")} == rpc_names | set(ErrorCode)


def test_every_system_code_has_a_golden_block() -> None:
    """A System event says by its code what happened."""
    found = {
        decode_event_list(golden.body(name)).events[0].detail["code"]  # type: ignore[index]  # System events have one
        for name in golden.names("EventList.system-*")
    }

    assert found == set(SystemCode)


def test_golden_names_that_are_not_utf_8_are_ascii_escapes_on_the_wire() -> None:
    """Such a block or reply can be read by any JSON parser that keeps lone surrogates."""
    block = encode_event_list(decode_event_list(golden.body("EventList.not-utf-8")))

    assert block.isascii()
    assert rb"\udcff\udc80" in block
    assert rb"\udcff\udc80" in rpc.dumps(rpc.loads(golden.body("getDirectory.reply")))
