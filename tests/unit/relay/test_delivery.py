"""What the relay publishes when, against a broker that answers as the test scripts it."""

from __future__ import annotations

import pytest

from publisher.amqp import Refusal
from publisher.forgetting import BUSY_SECONDS
from publisher.message import properties_of
from schemas.topology import app_id
from tests.fakes import MemoryOutbox
from tests.unit.relay.scene import Scene


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_nothing_is_read_before_there_is_a_channel(scene: Scene):
    """A backlog stays on disk while the broker is away."""
    scene.outbox.put("m", 100)
    assert scene.outbox.reads == []
    assert scene.delivery.busy


def test_the_exchange_of_all_events_is_declared_on_each_connection(scene: Scene):
    """Consumers of NS.events need no monitor to bind to it."""
    scene.connect()
    assert scene.connection.declared == ["NS.events"]


def test_a_monitor_without_blocks_has_nothing_declared(scene: Scene):
    """Declarations are lazy: ten thousand idle monitors do not delay the start."""
    scene.connect()
    scene.delivery.try_now("m")
    scene.connection.advance()
    assert scene.connection.declared == ["NS.events"]


def test_the_first_block_is_a_probe_and_then_the_window_is_filled(scene: Scene):
    """One round trip, then pipelined; one monitor takes three quarters of the window at most."""
    scene.outbox.put("m", 20)
    scene.connect()
    assert scene.connection.declared == ["NS.events", "NS.events", "NS.monitor.m"]
    assert scene.connection.sequences("m") == [1]
    scene.connection.publishing().confirm(1)
    scene.connection.advance()
    assert scene.connection.sequences("m") == list(range(1, 8))


def test_all_that_one_turn_of_the_loop_confirmed_is_forgotten_at_once(scene: Scene):
    """One transaction per round, whatever the number of messages and monitors."""
    scene.outbox.put("m", 1)
    scene.outbox.put("n", 1)
    scene.connect()
    channel = scene.connection.publishing()
    channel.confirm(2)
    channel.confirm(1)
    scene.connection.advance()
    assert scene.outbox.confirms == [{"m": 1, "n": 1}]


def test_what_is_confirmed_bit_by_bit_is_forgotten_together(scene: Scene):
    """The first at once, the rest in one transaction a moment later; nobody takes it for idle before."""
    scene.outbox.put("m", 8)
    scene.connect()
    channel = scene.connection.publishing()
    channel.confirm(1)
    scene.connection.advance()
    assert scene.outbox.confirms == [{"m": 1}]
    for tag in range(2, 9):
        channel.confirm(tag)
        scene.connection.advance()
    assert scene.outbox.confirms == [{"m": 1}]
    assert scene.delivery.busy
    scene.connection.advance(BUSY_SECONDS)
    assert scene.outbox.confirms == [{"m": 1}, {"m": 8}]
    assert not scene.delivery.busy


def test_what_is_settled_just_before_something_is_forgotten_makes_room_all_the_same(scene: Scene):
    """Its round may come later in the same turn of the loop: a lane that waits for it is not passed over."""
    scene.outbox.put("m", 20)
    scene.connect()
    channel = scene.connection.publishing()
    channel.confirm(1)
    scene.connection.advance()
    channel.confirm(2)
    scene.connection.advance()
    assert scene.connection.sequences("m") == list(range(1, 9))
    scene.connection.now += BUSY_SECONDS
    channel.confirm(8, multiple=True)
    scene.connection.advance()
    assert scene.connection.sequences("m") == list(range(1, 15))


def test_a_stop_forgets_what_was_confirmed_a_moment_ago(scene: Scene):
    """The next run does not publish it again."""
    scene.outbox.put("m", 3)
    scene.connect()
    for tag in (1, 2, 3):
        scene.connection.publishing().confirm(tag)
        scene.connection.advance()
    scene.delivery.shut()
    assert scene.outbox.size() == (0, 0)


def test_a_backlog_is_published_in_order_and_forgotten(scene: Scene):
    """Every block once, ascending, while nothing goes wrong."""
    scene.outbox.put("m", 500)
    scene.connect()
    scene.confirm_all()
    assert scene.connection.sequences("m") == list(range(1, 501))
    assert scene.outbox.size() == (0, 0)
    assert not scene.delivery.busy


def test_reads_are_bounded_by_the_free_window(scene: Scene):
    """Memory does not grow with the backlog."""
    scene.outbox.put("m", 500)
    scene.connect()
    scene.confirm_all()
    assert max(limit for _, _, limit in scene.outbox.reads) <= 8


def test_the_window_is_bounded_in_bytes(scene: Scene):
    """Large blocks fill it before their number does."""
    scene = Scene(window_entries=100, window_bytes=1000)
    scene.outbox.put("m", 1)
    scene.connect()
    scene.outbox.put("m", 50, body=b"x" * 300)
    scene.connection.publishing().confirm(1)
    scene.connection.advance()
    assert scene.connection.sequences("m") == [1, 2, 3, 4]


def test_lanes_take_turns(scene: Scene):
    """A monitor with a backlog does not starve one with a single block."""
    scene = Scene(window_entries=1024)
    scene.outbox.put("loud", 1)
    scene.outbox.put("quiet", 1)
    scene.connect()
    scene.confirm_all()
    scene.outbox._subscribers.clear()
    scene.outbox.put("loud", 5000)
    scene.outbox.put("quiet", 1)
    scene.delivery.offer(["loud", "quiet"])
    assert scene.connection.sequences("quiet") == [1, 2]
    assert scene.connection.published.index("quiet:2") < 200


def test_a_returned_block_holds_its_monitor_and_no_other(scene: Scene):
    """Blocks that no queue took are kept in order; other monitors flow."""
    scene.outbox.put("m", 3)
    scene.outbox.put("n", 1)
    scene.connect()
    channel = scene.connection.publishing()
    channel.turn_back(1)
    channel.confirm(2, multiple=True)
    scene.connection.advance()
    scene.outbox.put("n", 3)
    assert scene.delivery.held == {"m"}
    assert scene.delivery.settlements.returned == 1
    assert scene.connection.sequences("m") == [1]
    assert scene.connection.sequences("n") == [1, 2, 3, 4]
    assert scene.outbox.size("m")[0] == 3


def test_a_held_monitor_probes_again_with_growing_pauses(scene: Scene):
    """1, 2, 4 seconds: one block each time, nothing is read in between."""
    scene.outbox.put("m", 3)
    scene.connect()
    for attempt, pause in enumerate((1.0, 2.0, 4.0), start=1):
        scene.come_back(attempt)
        scene.connection.advance(pause - 0.1)
        assert scene.connection.sequences("m") == [1] * attempt
        scene.connection.advance(0.1)
        assert scene.connection.sequences("m") == [1] * (attempt + 1)
    scene.confirm_all()
    assert scene.connection.sequences("m")[-3:] == [1, 2, 3]
    assert scene.delivery.held == frozenset()


def test_new_blocks_of_a_held_monitor_are_not_read(scene: Scene):
    """They stay on disk, and the next attempt comes within a second."""
    scene.outbox.put("m", 1)
    scene.connect()
    for attempt in (1, 2, 3):
        scene.come_back(attempt)
        scene.delivery.try_now("m")
    scene.come_back(4)
    reads = len(scene.outbox.reads)
    scene.outbox.put("m", 100)
    assert len(scene.outbox.reads) == reads
    scene.connection.advance(1.0)
    assert scene.connection.sequences("m") == [1] * 5


def test_a_nacked_block_is_sent_again(scene: Scene):
    """The broker could not keep it; it is not lost."""
    scene.outbox.put("m", 2)
    scene.connect()
    scene.connection.publishing().nack(1)
    scene.connection.advance()
    assert scene.delivery.settlements.nacked == 1
    assert scene.delivery.problem
    scene.connection.advance(1.0)
    scene.confirm_all()
    assert scene.connection.sequences("m") == [1, 1, 2]
    assert scene.outbox.size() == (0, 0)
    assert scene.delivery.problem is None


def test_a_lost_connection_keeps_what_was_confirmed_and_repeats_the_rest(scene: Scene):
    """Same message ids, in order, from the first unconfirmed one on."""
    scene.outbox.put("m", 6)
    scene.connect()
    channel = scene.connection.publishing()
    channel.confirm(1)
    scene.connection.advance()
    channel.confirm(2)
    channel.confirm(4)
    scene.connection.lose()
    assert scene.outbox.confirms == [{"m": 1}, {"m": 2}]
    scene.connect()
    assert scene.connection.sequences("m")[6:] == [3]
    scene.confirm_all()
    assert scene.connection.sequences("m")[6:] == [3, 4, 5, 6]
    assert scene.outbox.size() == (0, 0)


def test_a_round_that_was_due_when_the_channel_closed_does_nothing(scene: Scene):
    """What it would have done was done when the channel closed."""
    scene.outbox.put("m", 3)
    scene.connect()
    scene.connection.publishing().confirm(1)
    scene.connection.lose()
    scene.connection.advance()
    assert scene.outbox.size("m")[0] == 2


def test_an_exchange_that_vanished_is_declared_again(scene: Scene):
    """404 closes the channel; every monitor is declared anew, none is held."""
    scene.outbox.put("m", 1)
    scene.connect()
    scene.confirm_all()
    scene.outbox.put("m", 2)
    scene.connection.publishing().close_with(
        Refusal(404, "NOT_FOUND - no exchange 'NS.monitor.m' in vhost '/'")
    )
    scene.connection.advance()
    scene.confirm_all()
    assert scene.connection.declared.count("NS.monitor.m") == 2
    assert scene.connection.sequences("m") == [1, 2, 3, 2, 3]
    assert scene.outbox.size() == (0, 0)


def test_a_message_that_the_broker_will_not_have_holds_its_monitor_only(scene: Scene):
    """Too large, or no right to write: the channel closes for all, but one monitor waits."""
    scene.outbox.put("big", 1, body=b"x" * 4321)
    scene.outbox.put("m", 1)
    scene.connect()
    too_large = "PRECONDITION_FAILED - message size 4321 is larger than configured max size 4096"
    scene.connection.publishing().close_with(Refusal(406, too_large))
    assert scene.delivery.held == {"big"}
    scene.connection.advance(0.5)
    scene.confirm_all()
    assert scene.outbox.size("m") == (0, 0)
    assert scene.delivery.problem == too_large


def test_a_refused_declaration_holds_its_monitor_only(scene: Scene):
    """An exchange of another type is in the way: said, tried again, others flow."""
    scene.connection.refused["NS.monitor.m"] = Refusal(
        406, "PRECONDITION_FAILED - inequivalent arg 'type' for exchange"
    )
    scene.outbox.put("m", 1)
    scene.outbox.put("n", 1)
    scene.connect()
    scene.confirm_all()
    assert scene.delivery.held == {"m"}
    assert scene.delivery.problem is not None
    assert "NS.monitor.m" in scene.delivery.problem
    assert scene.outbox.size("n") == (0, 0)
    scene.connection.refused.clear()
    scene.connection.advance(1.0)
    scene.confirm_all()
    assert scene.outbox.size() == (0, 0)
    assert scene.delivery.problem is None


def test_nothing_is_sent_while_the_broker_is_blocked(scene: Scene):
    """The broker does not read; the window would only fill our own memory."""
    scene.outbox.put("m", 1)
    scene.connect()
    scene.confirm_all()
    scene.connection.is_blocked = True
    scene.outbox.put("m", 5)
    assert scene.connection.sequences("m") == [1]
    scene.connection.is_blocked = False
    scene.delivery.resume()
    scene.confirm_all()
    assert scene.outbox.size() == (0, 0)


def test_a_queue_that_confirms_nothing_does_not_keep_the_window_from_others(scene: Scene):
    """A quorum queue without its quorum is silent; its monitor waits, the others flow."""
    scene.outbox.put("stuck", 1)
    scene.outbox.put("m", 1)
    scene.connect()
    scene.confirm_all()
    scene.outbox.put("stuck", 20)
    stuck_tags = [
        tag for tag, message in scene.connection.publishing().published.items() if message > "stuck:1"
    ]
    scene.connection.advance(11.0)
    assert scene.delivery.held == {"stuck"}
    assert scene.delivery.problem is not None
    assert not scene.delivery.busy
    scene.outbox.put("m", 20)
    sent = 0
    while sent != len(scene.connection.published):
        sent = len(scene.connection.published)
        channel = scene.connection.publishing()
        for tag in [tag for tag in channel.published if tag not in stuck_tags]:
            channel.confirm(tag)
        scene.connection.advance(BUSY_SECONDS)
    assert scene.outbox.size("m") == (0, 0)
    scene.confirm_all()
    assert scene.outbox.size() == (0, 0)
    assert scene.delivery.held == frozenset()
    assert scene.connection.sequences("stuck") == list(range(1, 22))


def test_held_monitors_try_again_on_a_new_connection(scene: Scene):
    """The broker may be another one, with other queues."""
    scene.outbox.put("m", 1)
    scene.connect()
    scene.come_back(1)
    scene.connection.lose()
    scene.connect()
    assert scene.connection.sequences("m") == [1, 1]


def test_a_held_monitor_does_not_keep_it_busy(scene: Scene):
    """A stop does not wait for queues that nobody binds."""
    scene.outbox.put("m", 1)
    scene.connect()
    scene.come_back(1)
    assert not scene.delivery.busy


def test_many_monitors_are_declared_a_few_at_a_time(scene: Scene):
    """Each gets its turn all the same."""
    scene = Scene(window_entries=1024)
    for number in range(100):
        scene.outbox.put(f"m{number}")
    scene.connect()
    scene.confirm_all()
    assert scene.outbox.size() == (0, 0)


def test_a_retired_monitor_is_not_forgotten_in_the_outbox(scene: Scene):
    """Its entries go with the monitor, not one by one."""
    scene.outbox.put("m", 3)
    scene.connect()
    scene.delivery.lane("m").retire()
    scene.confirm_all()
    assert scene.outbox.confirms == []
    assert scene.connection.sequences("m") == [1]


def test_properties_say_what_the_protocol_promises():
    """contract/protocol.md, "Events": the table of properties."""
    (entry,) = MemoryOutbox().put("0d7c")
    properties = properties_of(entry, app_id())
    assert properties.message_id == "0d7c:1"
    assert properties.type == "EventList"
    assert properties.content_type == "application/json"
    assert properties.delivery_mode == 2
    assert properties.timestamp == entry.created_at
    assert properties.app_id == app_id()
    assert properties.headers == {"schema": 1, "monitorId": "0d7c", "sequence": 1, "eventCount": 1}


def test_properties_are_byte_identical_on_redelivery():
    """A consumer may compare messages."""
    (entry,) = MemoryOutbox().put("0d7c")
    assert properties_of(entry, app_id()).encode() == properties_of(entry, app_id()).encode()


def test_nobody_looks_for_more_when_the_last_block_is_sent(scene: Scene):
    """Each look is a question to the disk; what is recorded later says so."""
    scene.outbox.put("m", 3)
    scene.connect()
    scene.confirm_all()
    before = len(scene.outbox.reads)
    scene.outbox.put("m")
    scene.confirm_all()
    assert len(scene.outbox.reads) == before + 1
    assert scene.connection.sequences("m") == [1, 2, 3, 4]
