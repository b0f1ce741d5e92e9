"""What is in flight over all lanes: bounds, delivery tags, and whom the broker means."""

from __future__ import annotations

from publisher.lanes import Lane
from publisher.window import Window

A = Lane("aaaa-1111", "NS.monitor.aaaa-1111")
B = Lane("bbbb-2222", "NS.monitor.bbbb-2222")


def filled(count: int, *, entries: int = 16, size_bytes: int = 1000) -> Window:
    window = Window(entries, size_bytes)
    for sequence in range(1, count + 1):
        window.send(A, sequence, 10)
    return window


def test_a_confirm_of_one_settles_one():
    """`multiple` false means this message alone."""
    window = filled(3)
    assert [flight.sequence for flight in window.settle(2, multiple=False)] == [2]
    assert len(window) == 2


def test_a_confirm_of_multiple_settles_all_up_to_it_that_are_open():
    """Those settled alone before are not settled twice."""
    window = filled(5)
    window.settle(2, multiple=False)
    assert [flight.sequence for flight in window.settle(4, multiple=True)] == [1, 3, 4]
    assert [flight.sequence for flight in window.settle(5, multiple=True)] == [5]


def test_tag_zero_with_multiple_means_everything():
    """AMQP 0-9-1, basic.ack, delivery-tag."""
    assert len(filled(5).settle(0, multiple=True)) == 5


def test_an_unknown_tag_settles_nothing():
    """A confirm is not believed twice."""
    window = filled(1)
    window.settle(1, multiple=False)
    assert window.settle(1, multiple=False) == []
    assert window.settle(1, multiple=True) == []


def test_room_counts_messages_and_bytes():
    """Whichever is used up first ends it."""
    window = Window(16, 100)
    assert window.room == (16, 100)
    window.send(A, 1, 60)
    assert window.room == (15, 40)
    window.send(A, 2, 60)
    assert window.room[0] == 0
    window.settle(1, multiple=False)
    assert window.room == (15, 40)


def test_it_is_filled_again_when_an_eighth_is_free_or_nothing_is_in_flight():
    """The outbox is not read for one message at a time."""
    window = filled(15)
    assert not window.worth_filling
    window.settle(1, multiple=False)
    assert window.worth_filling
    assert Window(1, 1).worth_filling


def test_tags_start_again_on_a_new_channel():
    """AMQP 0-9-1: delivery tags are local to their channel."""
    window = filled(3)
    window.clear()
    window.send(B, 9, 10)
    assert [flight.sequence for flight in window.settle(1, multiple=True)] == [9]
    assert window.room == (16, 1000)


def test_the_broker_names_the_culprit_by_exchange_or_by_size():
    """The texts of RabbitMQ 3.10 and 4.0."""
    window = Window(16, 1 << 30)
    window.send(A, 1, 10)
    window.send(B, 1, 20_000_000)
    refused = "ACCESS_REFUSED - access to exchange 'NS.monitor.aaaa-1111' in vhost '/' refused for user 'u'"
    too_large = "PRECONDITION_FAILED - message size 20000000 is larger than configured max size 16777216"
    assert window.lanes_naming(refused) == {A}
    assert window.lanes_naming(too_large) == {B}
    assert window.lanes_naming("FRAME_ERROR") == set()
    assert window.lanes() == {A, B}


def test_messages_set_aside_take_no_room_and_are_settled_all_the_same():
    """A queue without a quorum keeps no other monitor waiting."""
    window = Window(4, 100)
    window.send(A, 1, 40)
    window.send(B, 1, 10)
    window.send(A, 2, 40)
    window.set_aside(A)
    assert window.room == (3, 90)
    assert window.lanes() == {B}
    assert [(flight.lane, flight.sequence) for flight in window.settle(3, multiple=True)] == [
        (A, 1),
        (B, 1),
        (A, 2),
    ]
    assert window.room == (4, 100)
