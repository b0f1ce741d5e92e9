"""One monitor's order: what is sent next, what is done, what is sent again."""

from __future__ import annotations

import random

from publisher.lanes import FIRST_HOLD_SECONDS, LONGEST_HOLD_SECONDS, Lane, LaneState


def flowing_lane() -> Lane:
    """A lane whose probe, block 1, got through."""
    lane = Lane("m", "NS.monitor.m")
    lane.declare()
    lane.sent(1)
    lane.confirm(1)
    assert lane.turn() is None
    assert lane.take_confirmed() == 1
    return lane


def send(lane: Lane, *sequences: int) -> None:
    for sequence in sequences:
        lane.sent(sequence)


def test_nothing_is_sent_before_the_exchange_is_declared():
    """The server declares a monitor's exchange before the first block goes out."""
    lane = Lane("m", "x")
    assert lane.allowance(100, 100) == 0
    lane.declaring()
    assert lane.allowance(100, 100) == 0
    lane.declare()
    assert lane.allowance(100, 100) == 1


def test_one_probe_goes_out_and_the_window_opens_when_it_is_confirmed():
    """After a declaration one block tries whether there is a queue; the rest waits for its confirm."""
    lane = Lane("m", "x")
    lane.declare()
    lane.sent(1)
    assert lane.allowance(100, 100) == 0
    lane.confirm(1)
    lane.turn()
    assert lane.state is LaneState.FLOWING
    assert lane.allowance(100, 100) == 100


def test_only_an_unbroken_run_of_confirmed_blocks_is_done():
    """Confirms come in any order; a block counts when everything before it counts."""
    lane = flowing_lane()
    send(lane, 2, 3, 4)
    lane.confirm(4)
    lane.confirm(3)
    assert lane.take_confirmed() is None
    lane.confirm(2)
    assert lane.take_confirmed() == 4
    assert lane.take_confirmed() is None


def test_a_returned_block_and_all_after_it_are_sent_again():
    """What follows a returned block is sent again even if it was confirmed: order is per monitor."""
    lane = flowing_lane()
    send(lane, 2, 3, 4, 5)
    lane.turn_back(3, "no queue")
    for sequence in (2, 3, 4, 5):
        lane.confirm(sequence)
    assert lane.take_confirmed() == 2
    assert lane.turn() == "no queue"
    assert lane.cursor == 2
    assert lane.more


def test_nothing_is_sent_after_a_return_until_all_in_flight_is_settled():
    """Rewinding earlier would mix two runs of the same blocks in flight."""
    lane = flowing_lane()
    send(lane, 2, 3, 4)
    lane.turn_back(2, "no queue")
    lane.confirm(2)
    assert lane.allowance(100, 100) == 0
    assert lane.turn() is None
    lane.confirm(4)
    assert lane.turn() is None
    lane.confirm(3)
    assert lane.turn() == "no queue"


def test_the_lowest_of_several_returned_blocks_counts():
    """Returns may come in any order."""
    lane = flowing_lane()
    send(lane, 2, 3, 4)
    for sequence in (4, 2, 3):
        lane.turn_back(sequence, f"back {sequence}")
        lane.confirm(sequence)
    assert lane.turn() == "back 2"
    assert lane.cursor == 1


def test_a_lost_channel_rewinds_to_the_first_unconfirmed_block():
    """A block whose confirm did not arrive is sent again, and so is what was confirmed beyond it."""
    lane = flowing_lane()
    send(lane, 2, 3, 4)
    lane.confirm(2)
    lane.confirm(4)
    lane.undeclare()
    assert lane.take_confirmed() == 2
    assert lane.cursor == 2
    assert lane.idle
    assert lane.state is LaneState.UNDECLARED


def test_a_lost_channel_rewinds_below_a_returned_block_if_an_earlier_one_is_open():
    """The returned block is not the first that is not done."""
    lane = flowing_lane()
    send(lane, 2, 3, 4)
    lane.turn_back(3, "no queue")
    lane.confirm(3)
    lane.undeclare()
    assert lane.cursor == 1


def test_a_lost_channel_with_nothing_in_flight_changes_no_cursor():
    """There is nothing to send again."""
    lane = flowing_lane()
    lane.undeclare()
    assert lane.cursor == 1


def test_holds_grow_to_a_bound_and_start_over_once_a_probe_gets_through():
    """1, 2, 4, 5, 5, 5 seconds."""
    lane = flowing_lane()
    held = []
    for _ in range(6):
        lane.hold(100.0)
        held.append(lane.held_until - 100.0)
        lane.release()
    assert held == [FIRST_HOLD_SECONDS, 2, 4, *[LONGEST_HOLD_SECONDS] * 3]
    lane.sent(2)
    lane.confirm(2)
    lane.turn()
    lane.hold(200.0)
    assert lane.held_until == 200.0 + FIRST_HOLD_SECONDS


def test_a_released_lane_probes_if_it_is_declared_and_declares_if_not():
    """A hold does not forget whether the exchange is there; a lost connection does."""
    lane = flowing_lane()
    lane.hold(0.0)
    lane.release()
    assert lane.state is LaneState.PROBING
    lane.hold(0.0)
    lane.undeclare()
    assert lane.held
    lane.release()
    assert lane.state is LaneState.UNDECLARED


def test_a_new_block_shortens_a_long_hold_to_the_first_one():
    """A monitor with traffic is tried every second, one without every 5."""
    lane = flowing_lane()
    for _ in range(5):
        lane.hold(50.0)
    assert lane.held_until == 50.0 + LONGEST_HOLD_SECONDS
    assert lane.hurry()
    assert lane.held_until == 51.0
    assert not lane.hurry()


def test_a_probe_of_an_earlier_state_does_not_open_the_window():
    """Only a block sent as a probe of this state says anything about it."""
    lane = flowing_lane()
    lane.undeclare()
    lane.declare()
    lane.turn()
    assert lane.state is LaneState.PROBING


def test_a_lane_takes_no_more_than_its_share_of_the_window():
    """One monitor's slow queue leaves room for the others."""
    lane = flowing_lane()
    assert lane.allowance(100, 3) == 3
    send(lane, 2, 3)
    assert lane.allowance(100, 3) == 1
    send(lane, 4)
    assert lane.allowance(100, 3) == 0


def test_a_lane_is_stalled_when_nothing_was_settled_between_two_looks():
    """And sends nothing until all that is on its way is settled."""
    lane = flowing_lane()
    send(lane, 2, 3)
    assert not lane.look_for_stall()
    lane.confirm(2)
    lane.turn()
    assert not lane.look_for_stall()
    assert lane.look_for_stall()
    assert not lane.look_for_stall()
    assert lane.allowance(100, 100) == 0
    lane.confirm(3)
    lane.turn()
    assert lane.allowance(100, 100) == 100


def test_a_retired_lane_sends_nothing():
    """A destroyed monitor is silent."""
    lane = flowing_lane()
    lane.retire()
    assert lane.allowance(100, 100) == 0


def test_any_order_of_confirms_returns_and_losses_keeps_order_and_loses_nothing():
    """What is reported done was delivered, in order; everything is done in the end."""
    for seed in range(200):
        assert_survives(random.Random(seed))


def assert_survives(dice: random.Random) -> None:
    last, lane, done = 60, Lane("m", "x"), 0
    accepted: set[int] = set()
    in_flight: list[int] = []
    for _ in range(3000):
        if done == last:
            return
        if lane.state is LaneState.UNDECLARED:
            lane.declare()
        if lane.held:
            lane.release()
        for _ in range(min(lane.allowance(8, 100), last - lane.cursor)):
            in_flight.append(lane.cursor + 1)
            lane.sent(lane.cursor + 1)
        if dice.random() < 0.02:
            in_flight.clear()
            lane.undeclare()
        elif in_flight:
            settle_one(lane, in_flight, accepted, dice)
        up_to = lane.take_confirmed()
        if up_to is not None:
            assert up_to > done
            assert accepted.issuperset(range(1, up_to + 1))
            done = up_to
        if lane.turn() is not None:
            lane.hold(0.0)
    raise AssertionError(f"stuck at {done}")


def settle_one(lane: Lane, in_flight: list[int], accepted: set[int], dice: random.Random) -> None:
    sequence = in_flight.pop(dice.randrange(len(in_flight)))
    if dice.random() < 0.1:
        lane.turn_back(sequence, "back")
    else:
        accepted.add(sequence)
    lane.confirm(sequence)
