"""Which blocks were handed out: each once, in whatever order they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control.handed_out import HandedOut


def taken(handed_out: HandedOut, *sequences: int, redelivered: bool = False) -> list[int]:
    return [each for each in sequences if handed_out.take(each, redelivered=redelivered)]


def test_a_number_seen_again_is_a_repetition():
    """At the floor and above a gap."""
    assert taken(HandedOut(), 1, 2, 5, 1, 2, 5, 6) == [1, 2, 5, 6]


def test_what_comes_after_a_later_block_is_no_repetition():
    """The broker gives back what a lost consumer had after what came meanwhile."""
    assert taken(HandedOut(), 1, 3, 4, 2, 2, 5) == [1, 3, 4, 2, 5]


@given(st.permutations(range(1, 60)), st.permutations(range(1, 60)))
def test_each_is_handed_out_once_in_any_order(first: list[int], again: list[int]):
    """All of them, and none twice."""
    handed_out = HandedOut()
    assert taken(handed_out, *first) == first
    assert taken(handed_out, *again, redelivered=True) == []


def test_a_subscriber_that_sees_every_other_block_remembers_a_bounded_number():
    """And what it may have forgotten is handed out again if the broker says so, else it is a repetition."""
    handed_out = HandedOut()
    every_other = range(2, 40_000, 2)
    assert taken(handed_out, *every_other) == list(every_other)
    assert len(handed_out._apart) <= 4096
    assert taken(handed_out, 39_998, 39_000) == []
    assert taken(handed_out, 2, 3) == []
    assert taken(handed_out, 3, redelivered=True) == [3]
    assert taken(handed_out, 39_999, 39_997) == [39_999, 39_997]
