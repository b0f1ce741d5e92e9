"""Requests of any shape: every one of them is answered, or is a notification; none of them raises."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from control.dispatcher import Dispatcher, Incoming
from schemas.methods import METHODS, methods_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
PARAMETERS = sorted(
    {field.alias or name for method in METHODS.values() for name, field in method.params.model_fields.items()}
)
REQUESTS = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | JSON, "method": st.sampled_from(sorted(METHODS)) | JSON},
    optional={
        "id": JSON,
        "params": st.dictionaries(st.sampled_from(PARAMETERS) | st.text(max_size=5), JSON, max_size=6) | JSON,
        "extra": JSON,
    },
)


def dispatcher() -> Dispatcher:
    def served(_params: object, _caller: object) -> None:
        return None

    return Dispatcher("files", dict.fromkeys(methods_of("files"), served))


def check(body: bytes) -> None:
    outcome = dispatcher().dispatch(Incoming(body))
    if outcome.reply is None:
        return
    answer: Any = json.loads(outcome.reply.body)
    for reply in answer if isinstance(answer, list) else [answer]:
        assert reply["jsonrpc"] == "2.0"
        assert ("result" in reply) != ("error" in reply)
        if "error" in reply:
            assert isinstance(reply["error"]["code"], int)
            assert "Traceback" not in reply["error"]["message"]
            assert reply["error"]["code"] != -32603, reply


@settings(max_examples=300, deadline=None)
@given(REQUESTS | st.lists(REQUESTS, max_size=3) | JSON)
def test_any_json_is_answered_as_json_rpc(message: Any) -> None:
    """Right or wrong: a result, or an error that is the client's and not ours."""
    check(json.dumps(message).encode())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_answered_as_json_rpc(body: bytes) -> None:
    """What is no JSON is a parse error."""
    check(body)


@settings(max_examples=200, deadline=None)
@given(REQUESTS, st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_a_damaged_request_is_answered_as_json_rpc(message: Any, place: int, damage: bytes) -> None:
    """A valid one with some bytes overwritten."""
    body = bytearray(json.dumps(message).encode())
    at = place % len(body)
    body[at : at + len(damage)] = damage
    check(bytes(body))
