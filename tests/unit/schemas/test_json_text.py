"""JSON as read and written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RequestError
from schemas.files import FileStats, FileType
from schemas.json_text import dumps, loads

TEXT = st.text(st.characters(exclude_categories=[]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXT, children, max_size=4),
    max_leaves=20,
)
STATS = FileStats(
    base_name="\udcff", owner="lab", size=1, m_time=1.0, c_time=1.0, a_time=1.0, type=FileType.LINK
)


def same(value: object) -> object:
    """What a value is after the standard library wrote and read it: lone halves of a pair may have met."""
    return json.loads(json.dumps(value))


@given(VALUES.filter(lambda value: same(value) == value))
def test_any_value_is_read_as_it_was_written(value: object) -> None:
    """Lone surrogates, large integers and all."""
    assert loads(dumps(value)) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_parse_error(body: bytes) -> None:
    """Rubbish disturbs nobody."""
    name = "parse-error"
    try:
        loads(body)
    except RequestError as exc:
        name = exc.name
    assert name == "parse-error"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b"[1] 2",
        b"NaN",
        b'{"a": Infinity}',
        b"[-Infinity]",
        b"[" * 1_000_000,
        b'{"a":' * 500_000,
        b"9" * 5000,
        b'{"a": 1, "a": 2}',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        "null".encode("utf-16"),
        b'"a\nb"',
        b"\x00",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_not_json_in_utf_8_is_a_parse_error(body: bytes) -> None:
    """Deep nesting, NaN, endless integers, names used twice, other encodings."""
    with pytest.raises(RequestError) as caught:
        loads(body)

    assert (caught.value.rpc_code, caught.value.name) == (-32700, "parse-error")
    assert len(str(caught.value)) < 200


def test_a_byte_order_mark_is_ignored() -> None:
    """RFC 8259 lets a parser do so; some clients cannot help writing one."""
    assert loads(b"\xef\xbb\xbf[1]") == [1]


def test_lone_surrogates_are_kept() -> None:
    """They stand for bytes that are not UTF-8."""
    assert loads(rb'"\udcff"') == "\udcff"


@pytest.mark.parametrize("value", [STATS, {"result": [STATS]}, [{"result": {"a": (STATS,)}}]])
def test_models_with_names_that_are_not_utf_8_are_written_by_their_wire_names(value: object) -> None:
    """At whatever depth a model stands."""
    text = dumps(value)

    assert text.isascii()
    assert rb'{"baseName":"\udcff","owner":"lab","size":1,"mTime":1.0' in text
    assert b'"type":"Link"}' in text


def test_text_in_other_scripts_is_written_as_utf_8() -> None:
    """No escapes where none are needed."""
    assert dumps({"a": "é文"}) == '{"a":"é文"}'.encode()


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_number_that_json_has_not_is_never_written(value: float) -> None:
    """A reply is always JSON."""
    assert dumps({"a": value}) == b'{"a":null}'


@pytest.mark.parametrize("value", [object(), {"a": "\udcff", "b": object()}])
def test_what_has_no_json_is_a_value_error(value: object) -> None:
    """Told to whoever wrote the handler."""
    with pytest.raises(ValueError, match=r"JSON|serialize"):
        dumps(value)
