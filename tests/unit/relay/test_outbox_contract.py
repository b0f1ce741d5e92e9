"""What the relay relies on in an outbox; the fake of its tests keeps the same promises as the real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from publisher.backlog import Backlog
from publisher.outbox import Entry, Outbox
from publisher.storing.store import Store
from schemas.monitors import MonitorSpec
from tests.fakes import MemoryOutbox

Put = Callable[[str, int], None]
SPEC = MonitorSpec.model_validate(
    {"mType": "Persistent", "eTypes": ["All"], "pMode": "Follow", "pathString": "/data"}
)


@pytest.fixture(params=["memory", "store"])
def outbox_and_put(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Backlog, Put]]:
    """An outbox with the monitors m and n, and a way to record so many blocks of ten bytes."""
    if request.param == "memory":
        memory = MemoryOutbox()
        yield memory, lambda monitor_id, count: void(memory.put(monitor_id, count, body=b"x" * 10))
        return
    sequences = {"m": 0, "n": 0}
    with Store(tmp_path / "state.db") as store:
        for monitor_id in sequences:
            store.add_monitor(monitor_id, SPEC, request_key=None)
        outbox = Outbox(store, limit_bytes=1 << 20)

        def put(monitor_id: str, count: int) -> None:
            for _ in range(count):
                sequences[monitor_id] += 1
                outbox.record([Entry(monitor_id, sequences[monitor_id], "key", b"x" * 10, 1, 1)])

        yield outbox, put


def void(_: object) -> None:
    pass


def sequences_of(entries: list[Entry]) -> list[int]:
    return [entry.sequence for entry in entries]


def test_pending_is_in_order_and_above_the_cursor(outbox_and_put: tuple[Backlog, Put]):
    """The relay sends what it gets, as it gets it."""
    outbox, put = outbox_and_put
    put("m", 5)
    put("n", 2)
    assert sequences_of(outbox.pending("m", 0, max_entries=100, max_bytes=1000)) == [1, 2, 3, 4, 5]
    assert sequences_of(outbox.pending("m", 3, max_entries=100, max_bytes=1000)) == [4, 5]
    assert outbox.pending("m", 5, max_entries=100, max_bytes=1000) == []
    assert outbox.pending("unknown", 0, max_entries=100, max_bytes=1000) == []


def test_pending_keeps_to_both_bounds_but_gives_at_least_one(outbox_and_put: tuple[Backlog, Put]):
    """A block larger than the window goes out all the same."""
    outbox, put = outbox_and_put
    put("m", 5)
    assert sequences_of(outbox.pending("m", 0, max_entries=2, max_bytes=1000)) == [1, 2]
    assert sequences_of(outbox.pending("m", 0, max_entries=100, max_bytes=25)) == [1, 2]
    assert sequences_of(outbox.pending("m", 0, max_entries=100, max_bytes=1)) == [1]


def test_confirm_forgets_up_to_and_with(outbox_and_put: tuple[Backlog, Put]):
    """Of each monitor named, and of no other."""
    outbox, put = outbox_and_put
    put("m", 5)
    put("n", 2)
    outbox.confirm({"m": 3})
    assert sequences_of(outbox.pending("m", 0, max_entries=100, max_bytes=1000)) == [4, 5]
    assert outbox.size("m")[0] == 2
    assert outbox.size("n")[0] == 2
    assert sorted(outbox.waiting()) == ["m", "n"]
    outbox.confirm({"m": 5, "n": 2})
    assert outbox.size() == (0, 0)
    assert outbox.waiting() == []


def test_sequences_go_on_after_a_confirm(outbox_and_put: tuple[Backlog, Put]):
    """A number is used once."""
    outbox, put = outbox_and_put
    put("m", 2)
    outbox.confirm({"m": 2})
    put("m", 1)
    assert sequences_of(outbox.pending("m", 0, max_entries=100, max_bytes=1000)) == [3]


def test_the_last_sequence_is_known_whatever_was_confirmed(outbox_and_put: tuple[Backlog, Put]):
    """So that the relay need not look for more behind it."""
    outbox, put = outbox_and_put
    assert outbox.last("m") == 0
    put("m", 3)
    put("n", 1)
    outbox.confirm({"m": 3})
    assert (outbox.last("m"), outbox.last("n")) == (3, 1)
    put("m", 1)
    assert outbox.last("m") == 4
