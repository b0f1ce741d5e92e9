"""Blocks to JSON and back."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DecodeError
from schemas.events import (
    EventInfo,
    EventList,
    EventType,
    SystemCode,
    decode_event_list,
    encode_event_list,
    system_event,
)

NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name).map(os.fsdecode)
EVENTS = st.builds(
    EventInfo,
    file_id=NAMES,
    base_name=NAMES,
    type=st.sampled_from(["Create", "Modify", "Delete"]),
    is_dir=st.sampled_from([None, True]),
    origin=st.sampled_from([None, "scan"]),
)
DETAILS = st.dictionaries(
    st.text(max_size=8).filter(lambda key: key != "code"),
    st.none() | st.integers(-(2**53), 2**53) | st.booleans() | NAMES,
    max_size=3,
)
SYSTEM_EVENTS = st.builds(
    lambda code, text, detail: EventInfo(text, "", "System", detail={"code": code.value, **detail}),
    st.sampled_from(SystemCode),
    NAMES,
    DETAILS,
)
BLOCKS = st.builds(
    EventList,
    monitor_id=st.uuids().map(str),
    sequence=st.integers(1, 2**63 - 1),
    events=st.lists(EVENTS, max_size=20) | st.lists(SYSTEM_EVENTS, min_size=1, max_size=1),
)


def block(*events: EventInfo) -> EventList:
    return EventList("m", 1, list(events))


@given(BLOCKS)
def test_a_block_is_decoded_to_what_was_encoded(el: EventList) -> None:
    """Whatever bytes the names are made of."""
    assert decode_event_list(encode_event_list(el)) == el


@given(BLOCKS)
def test_the_body_of_a_block_is_utf_8_that_any_json_parser_reads(el: EventList) -> None:
    """No raw surrogates, no NaN; names come back as the bytes that they were."""
    wire = json.loads(encode_event_list(el).decode("utf-8"))

    assert [os.fsencode(each["fileId"]) for each in wire["events"]] == [
        os.fsencode(each.file_id) for each in el.events
    ]


@given(BLOCKS)
def test_both_encoders_write_the_same_members(el: EventList) -> None:
    """A name that is not UTF-8 in a block changes the escapes and nothing else."""
    odd = EventInfo("/\udcff", "\udcff", "Create")
    with_odd = EventList(el.monitor_id, el.sequence, [*el.events, odd])

    plain, escaped = json.loads(encode_event_list(el)), json.loads(encode_event_list(with_odd))

    assert plain["events"] == escaped["events"][:-1]
    assert {**plain, "events": None} == {**escaped, "events": None}


@pytest.mark.parametrize("name", ["a.tif", "\udcff.tif"])
def test_members_that_say_nothing_are_absent(name: str) -> None:
    """Optional members appear only when they have something to say."""
    wire = json.loads(encode_event_list(block(EventInfo(f"/d/{name}", name, "Create"))))

    assert wire == {
        "monitorId": "m",
        "sequence": 1,
        "events": [{"fileId": f"/d/{name}", "baseName": name, "type": "Create"}],
    }


@pytest.mark.parametrize("name", ["a.tif", "\udcff.tif"])
@pytest.mark.parametrize("type_", EventType)
def test_an_event_type_may_be_an_enumerator(type_: EventType, name: str) -> None:
    """EventType members are their names."""
    el = block(EventInfo(name, name, type_))  # type: ignore[arg-type]  # the enumerator in the place of its name

    assert json.loads(encode_event_list(el))["events"][0]["type"] == type_.value
    assert decode_event_list(encode_event_list(el)) == el


@pytest.mark.parametrize("name", ["a", r"\udcff"])
def test_a_consumer_ignores_members_that_it_does_not_know(name: str) -> None:
    """A newer server may say more."""
    body = (
        '{"monitorId": "m", "sequence": 3, "colour": 1, "events": '
        f'[{{"fileId": "/{name}", "baseName": "{name}", "type": "Create", "inode": 7}}]}}'
    )

    decoded = decode_event_list(body.encode())

    assert decoded.sequence == 3
    assert decoded.events[0].type == "Create"


def test_a_name_that_is_not_utf_8_is_decoded_from_its_escapes() -> None:
    """Python's surrogateescape, in both directions."""
    body = (
        rb'{"monitorId":"m","sequence":1,"events":[{"fileId":"/\udcff","baseName":"\udcff","type":"Delete"}]}'
    )

    assert os.fsencode(decode_event_list(body).events[0].file_id) == b"/\xff"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"monitorId": "m", "sequence": 0, "events": []}',
        b'{"monitorId": "m", "sequence": 1}',
        b'{"monitorId": "m", "sequence": 1, "events": [{"fileId": "/a", "baseName": "a", "type": "Burn"}]}',
        b'{"monitorId": "\\udcff", "sequence": 1}',
        b"[" * 100_000,
        b'{"monitorId": "m", "sequence": ' + b"9" * 5000 + b', "events": []}',
    ],
)
def test_what_is_no_block_is_one_kind_of_error(body: bytes) -> None:
    """A consumer needs one except clause for whatever arrives."""
    with pytest.raises(DecodeError, match="not an EventList"):
        decode_event_list(body)


def test_a_system_event_has_its_text_in_file_id_and_its_code_in_detail() -> None:
    """For System the text stands in fileId."""
    event = system_event(SystemCode.GAP, "Gap", reason="outbox full", count=3)

    assert event == EventInfo(
        "Gap", "", "System", detail={"code": "gap", "reason": "outbox full", "count": 3}
    )
