"""Replies on their way: when the broker closes the connection over one of them, all others arrive all the same."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.reply_flight import Fate, Outgoing, ReplyFlight


def reply(address: str | bytes = "queue", body: bytes = b"") -> Outgoing:
    return Outgoing(address, body, {}, lambda _fate: None)


def direct(key: str = "x") -> Outgoing:
    return reply(f"amq.rabbitmq.reply-to.{key}")


def taken(flight: ReplyFlight) -> list[Outgoing]:
    """All that may be sent now."""
    found = []
    while (each := flight.take()) is not None:
        found.append(each)
    return found


@pytest.fixture
def flight() -> ReplyFlight:
    return ReplyFlight()


def test_replies_are_sent_at_once_and_settled_by_their_tags(flight: ReplyFlight) -> None:
    """In order, many in flight; `multiple` means all up to the tag, and tag 0 all there are."""
    replies = [reply() for _ in range(5)]
    for each in replies:
        flight.add(each)
    assert taken(flight) == replies
    assert flight.settle(2, multiple=False) == [replies[1]]
    assert flight.settle(3, multiple=True) == [replies[0], replies[2]]
    assert flight.settle(2, multiple=False) == []
    assert flight.settle(0, multiple=True) == replies[3:]
    assert len(flight) == 0


def test_what_was_on_its_way_is_sent_again_first(flight: ReplyFlight) -> None:
    """A lost connection loses no reply and keeps their order; tags start at 1 again."""
    first, second, third = replies = [reply(), direct(), reply()]
    for each in replies[:2]:
        flight.add(each)
    assert taken(flight) == [first, second]
    flight.add(third)
    assert flight.lost(killed=False) is None
    assert taken(flight) == replies
    assert flight.settle(1, multiple=False) == [first]


def test_the_only_suspect_is_the_culprit(flight: ReplyFlight) -> None:
    """One direct reply on its way when the broker objects: that one, and the others are sent again."""
    plain, forged = reply(), direct()
    flight.add(plain)
    flight.add(forged)
    taken(flight)
    assert flight.lost(killed=True) is forged
    assert taken(flight) == [plain]


def test_a_lost_network_convicts_nobody(flight: ReplyFlight) -> None:
    """An unreachable broker looks alike but for its reason."""
    only = direct()
    flight.add(only)
    taken(flight)
    assert flight.lost(killed=False) is None
    assert taken(flight) == [only]


def test_several_suspects_are_tried_one_at_a_time(flight: ReplyFlight) -> None:
    """Plain replies first; then each suspect alone, and whoever is alone when it happens again is the culprit."""
    honest, forged, plain = direct("honest"), direct("forged"), reply()
    for each in (forged, honest, plain):
        flight.add(each)
    taken(flight)
    assert flight.lost(killed=True) is None
    assert taken(flight) == [plain]
    flight.settle(1, multiple=False)
    assert taken(flight) == [forged]
    late = direct("late")
    flight.add(late)
    assert taken(flight) == []
    assert flight.lost(killed=True) is forged
    assert taken(flight) == [honest]
    flight.settle(1, multiple=False)
    assert taken(flight) == [late]
    flight.settle(2, multiple=False)
    flight.add(direct())
    flight.add(direct())
    assert len(taken(flight)) == 2


def test_if_none_is_suspect_all_are(flight: ReplyFlight) -> None:
    """Should a broker close the connection over a plain reply, that one is found all the same."""
    first, second = reply(), reply("worse")
    flight.add(first)
    flight.add(second)
    taken(flight)
    assert flight.lost(killed=True) is None
    assert taken(flight) == [first]
    flight.settle(1, multiple=False)
    assert taken(flight) == [second]
    assert flight.lost(killed=True) is second


def test_a_connection_that_dies_idle_says_nothing(flight: ReplyFlight) -> None:
    """Nothing was on its way, so nothing did it."""
    assert flight.lost(killed=True) is None
    flight.add(direct())
    flight.add(direct())
    assert len(taken(flight)) == 2


def test_replies_of_the_size_that_was_refused_are_taken_out(flight: ReplyFlight) -> None:
    """The broker names the size of what it finds too large, and nothing else of it."""
    small, large = reply(body=b"x"), reply(body=b"xxx")
    flight.add(small)
    flight.add(large)
    taken(flight)
    assert flight.drop_of_size(3) == [large]
    flight.lost(killed=False)
    assert taken(flight) == [small]


def test_an_address_need_not_be_text() -> None:
    """AMQP's short strings are bytes."""
    assert reply(b"amq.rabbitmq.reply-to.\xff").is_suspect
    assert not reply(b"\xff").is_suspect


@given(
    kinds=st.lists(st.sampled_from(["plain", "honest", "forged"]), min_size=1, max_size=12),
    seed=st.integers(0, 1000),
)
def test_everybody_but_the_culprits_is_answered(kinds: list[str], seed: int) -> None:
    """Against a broker that dies of forged addresses, and of the network now and then, in any interleaving."""
    chance = random.Random(seed)
    flight = ReplyFlight()
    waiting = {each: kind for kind in kinds for each in [reply() if kind == "plain" else direct(kind)]}
    answered: set[Outgoing] = set()
    convicted: set[Outgoing] = set()
    left = list(waiting)
    for _ in range(500):
        while left and chance.random() < 0.7:
            flight.add(left.pop())
        sent = taken(flight)
        in_flight = sent
        if any(waiting[each] == "forged" for each in in_flight):
            culprit = flight.lost(killed=True)
            if culprit is not None:
                convicted.add(culprit)
        elif chance.random() < 0.2:
            assert flight.lost(killed=False) is None
        else:
            answered.update(flight.settle(0, multiple=True))
        if not left and len(flight) == 0:
            break
    assert {waiting[each] for each in convicted} <= {"forged"}
    assert answered | convicted == set(waiting)
    assert Fate.FATAL.value == "fatal"
