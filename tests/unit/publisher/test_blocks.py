"""Blocks: by size, by time, and what may not be torn apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from publisher import blocks as blocks_module
from publisher.blocks import Blocks
from schemas.events import EventInfo


def event(number: int, kind: str = "Create") -> EventInfo:
    return EventInfo(f"/data/{number}", str(number), kind)  # type: ignore[arg-type]  # one of the literals


@given(size=st.integers(1, 7), groups=st.lists(st.integers(1, 3), max_size=30))
def test_no_block_is_larger_than_asked_for_and_order_is_kept(size: int, groups: list[int]) -> None:
    """At most blockSize events in one block, all of them, in order; a group shares a block if it can."""
    blocks = Blocks(size, 0.1)
    numbers = iter(range(1000))
    whole = [[event(next(numbers)) for _ in range(count)] for count in groups]
    full = [block for group in whole for block in blocks.add(group, 0.0)]
    full.append(blocks.take())
    assert all(len(block) <= size for block in full)
    assert [e for block in full for e in block] == [e for group in whole for e in group]
    for group in whole:
        if len(group) <= size:
            assert any(set(map(id, group)) <= set(map(id, block)) for block in full)


def test_a_partial_block_is_due_at_a_pause_and_at_the_interval_at_the_latest() -> None:
    """It goes out when the flow pauses, at the latest after the block interval."""
    blocks = Blocks(0, 0.1)
    assert blocks.due_at() is None
    blocks.add([event(0)], 1.0)
    assert blocks.due_at() == 1.01
    for step in range(1, 30):
        blocks.add([event(step)], 1.0 + step * 0.005)
    assert blocks.due_at() == 1.1
    assert len(blocks.take()) == 30
    assert blocks.due_at() is None


def test_a_block_without_a_size_ends_before_the_brokers_limit(monkeypatch: object) -> None:
    """Block size 0: bounded by the broker's largest message."""
    blocks = Blocks(0, 0.1)
    long_name = EventInfo("/data/" + "n" * 4000, "n" * 4000, "Create")
    full = [block for _ in range(1000) for block in blocks.add([long_name], 0.0)]
    assert full
    characters = sum(len(e.file_id) + len(e.base_name) for e in full[0])
    assert characters <= blocks_module.CHARACTERS_LIMIT


def test_repeated_modifies_of_one_file_in_a_block_are_one() -> None:
    """A file modified twice in a block is said once, unless something else happened to it between."""
    blocks = Blocks(10, 0.1)
    for kind in ("Modify", "Modify", "Delete", "Create", "Modify", "Modify"):
        blocks.add([event(1, kind)], 0.0)
    assert [e.type for e in blocks.take()] == ["Modify", "Delete", "Create", "Modify"]
    blocks.add([event(1, "Modify")], 0.0)
    assert len(blocks.take()) == 1
