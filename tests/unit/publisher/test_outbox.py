"""The store and the outbox: what is accepted is there again after a restart, in order and within bounds."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from publisher.errors import OutboxFullError, StoreError
from publisher.outbox import ENTRY_OVERHEAD_BYTES, Entry, Outbox
from publisher.recorder import Recorder
from publisher.storing.store import Store
from schemas.events import EventInfo, decode_event_list
from schemas.monitors import MonitorSpec, MonitorState

SPEC = MonitorSpec(
    m_type="Persistent", e_types=("All",), p_mode="Follow", path_string="/data/\udcff", whitelist=(".tif",)
)


def entry(sequence: int, monitor_id: str = "m", size: int = 10) -> Entry:
    return Entry(monitor_id, sequence, f"{monitor_id}.create", b"x" * size, 1, 1_700_000_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as store:
        store.add_monitor("m", SPEC, request_key="r1")
        store.add_monitor("n", SPEC)
        yield store


def test_monitors_survive_a_restart(tmp_path: Path, store: Store) -> None:
    """Specification, state, sequence, and the request that made it."""
    Outbox(store).record([entry(1), entry(2)], state=MonitorState.STARTED)
    store.close()
    with Store(tmp_path / "store.db") as again:
        first, second = again.monitors()
        assert (first.id, first.spec, first.state, first.sequence) == ("m", SPEC, MonitorState.STARTED, 2)
        assert (second.id, second.state, second.sequence) == ("n", MonitorState.STOPPED, 0)
        assert again.find_request("r1") == "m"
        assert again.find_request("r2") is None
        outbox = Outbox(again)
        assert outbox.pending("m", 0, max_entries=10, max_bytes=1000) == [entry(1), entry(2)]
        assert outbox.size("m") == (2, 20 + 2 * ENTRY_OVERHEAD_BYTES)
        assert outbox.waiting() == ["m"]


@pytest.mark.parametrize("path", ["/data/é", "/data/\udcff", "/data/😀 \n"])
def test_a_specification_is_stored_whatever_its_path(store: Store, path: str) -> None:
    """Paths of any bytes."""
    spec = SPEC.model_copy(update={"path_string": path})
    store.add_monitor("other", spec)
    assert store.monitors()[-1].spec == spec


def test_a_request_is_remembered_after_its_monitor_is_gone(store: Store) -> None:
    """A repeated createMonitor is answered with the first answer, even then."""
    store.remove_monitor("m")
    assert store.find_request("r1") == "m"
    store.remove_monitor("m", forget_request=True)
    assert store.find_request("r1") is None


def test_pending_entries_come_in_order_within_the_bounds(store: Store) -> None:
    """At least one, at most the asked for number and bytes."""
    outbox = Outbox(store)
    outbox.record([entry(number) for number in range(1, 1001)])
    assert [e.sequence for e in outbox.pending("m", 0, max_entries=3, max_bytes=1000)] == [1, 2, 3]
    assert [e.sequence for e in outbox.pending("m", 5, max_entries=10, max_bytes=25)] == [6, 7]
    assert [e.sequence for e in outbox.pending("m", 5, max_entries=10, max_bytes=1)] == [6]
    everything = outbox.pending("m", 0, max_entries=10_000, max_bytes=1 << 30)
    assert [e.sequence for e in everything] == list(range(1, 1001))
    assert outbox.pending("n", 0, max_entries=10, max_bytes=1000) == []


def test_confirmed_entries_are_forgotten(store: Store) -> None:
    """Up to and with the sequence, for several monitors at once, and the sizes with them."""
    outbox = Outbox(store)
    outbox.record([entry(1), entry(2), entry(3)])
    outbox.record([entry(1, "n")])
    outbox.confirm({"m": 2, "n": 1, "unknown": 9})
    assert [e.sequence for e in outbox.pending("m", 0, max_entries=9, max_bytes=999)] == [3]
    assert outbox.waiting() == ["m"]
    assert outbox.size() == (1, 10 + ENTRY_OVERHEAD_BYTES)


def test_a_full_outbox_refuses_one_monitor_and_not_the_others(store: Store) -> None:
    """Bounded in bytes, for each monitor and for all; nothing of a refused block is kept."""
    outbox = Outbox(store, limit_bytes=10_000, monitor_limit_bytes=1000)
    outbox.record([entry(1, size=800)])
    with pytest.raises(OutboxFullError):
        outbox.record([entry(2, size=100)])
    outbox.record([entry(1, "n", size=800)])
    assert outbox.size()[0] == 2
    assert outbox.pending("m", 1, max_entries=9, max_bytes=999) == []


def test_subscribers_hear_of_each_monitor_that_recorded(store: Store) -> None:
    """After the commit, so that what they read is there."""
    outbox = Outbox(store)
    seen: list[tuple[str, int]] = []
    outbox.subscribe(lambda monitor_id: seen.append((monitor_id, outbox.size(monitor_id)[0])))
    outbox.record([entry(1), entry(2)])
    assert seen == [("m", 2)]


def test_a_recorder_that_had_to_give_up_says_so_when_there_is_room_again(store: Store) -> None:
    """System `gap` with the reason and the count, once and before what follows; the sequence stays contiguous."""
    outbox = Outbox(store, limit_bytes=4 << 20, monitor_limit_bytes=2 << 20)
    recorder = Recorder("m", outbox, 0)
    filler = EventInfo("/" + "x" * 1_200_000, "", "Create")
    assert recorder.record([[filler]])
    assert not recorder.record([[filler]])
    recorder.give_up(2)
    assert recorder.gapped
    assert "bound" in str(recorder.problem)
    assert not recorder.recover()
    outbox.confirm({"m": 1})
    assert recorder.recover()
    assert recorder.recover()
    assert recorder.record([[EventInfo("/later", "later", "Create")]])
    gap, later = outbox.pending("m", 1, max_entries=9, max_bytes=1 << 30)
    [event] = decode_event_list(gap.body).events
    assert (gap.sequence, gap.routing_key, event.type) == (2, "m.system", "System")
    assert event.detail is not None
    assert (event.detail["code"], event.detail["count"]) == ("gap", 2)
    assert (later.sequence, later.routing_key) == (3, "m.create")
    assert (recorder.gaps, recorder.gapped, recorder.problem) == (1, False, None)


def test_a_stopping_monitor_tells_of_a_gap_even_if_there_is_no_room(store: Store) -> None:
    """Nobody compares any more after a stop, so what could not be recorded is said at the latest with it."""
    outbox = Outbox(store, limit_bytes=4 << 20, monitor_limit_bytes=1 << 20)
    recorder = Recorder("m", outbox, 0)
    assert not recorder.record([[EventInfo("/" + "x" * 1_200_000, "", "Create")]])
    recorder.give_up(1)
    recorder.end([])
    [gap] = outbox.pending("m", 0, max_entries=9, max_bytes=1 << 30)
    assert gap.routing_key == "m.system"
    assert store.monitors()[0].state is MonitorState.STOPPED


def test_a_store_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    """A file that is no store, or one of another version: a clear error, and the file is left as it is."""
    (tmp_path / "rubbish.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(StoreError, match=r"rubbish\.db"):
        Store(tmp_path / "rubbish.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "newer.db")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="version 99"):
        Store(tmp_path / "newer.db")
