"""The judge of the chaos tests finds every kind of failure, and nothing where nothing is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.kit.judge import Judge
from tests.chaos.kit.truth import Entry, Truth
from tests.clients.wire import Message

MONITOR = "m1"
RECORDED = 1_000


def event(kind: str, path: str, **more: Any) -> dict[str, Any]:
    """An event as it is on the wire."""
    return {"fileId": path, "baseName": path.rpartition("/")[2], "type": kind, **more}


def block(sequence: int, *events: dict[str, Any], recorded: int = RECORDED) -> Message:
    """A message as docs/protocol.md has it."""
    types = ".".join(sorted({one["type"].lower() for one in events}))
    return Message(
        json.dumps({"monitorId": MONITOR, "sequence": sequence, "events": list(events)}).encode(),
        {"message_id": f"{MONITOR}:{sequence}", "timestamp": recorded},
        {"monitorId": MONITOR, "sequence": sequence, "eventCount": len(events), "schema": 1},
        f"{MONITOR}.{types}",
        redelivered=False,
    )


STORY = [
    block(1, event("Create", "/r/a"), event("Create", "/r/d", isDir=True)),
    block(2, event("System", "Overflow", detail={"code": "overflow"})),
    block(3, event("Create", "/r/d/b"), event("Create", "/r/c"), event("Modify", "/r/a")),
    block(4, event("Delete", "/r/c")),
]
TRUTH: Truth = {
    "/r/a": Entry(is_dir=False, since=RECORDED + 0.9),
    "/r/d": Entry(is_dir=True),
    "/r/d/b": Entry(is_dir=False, since=RECORDED - 5.0),
}
CHANGES = {"/r/a": 2, "/r/d": 1, "/r/d/b": 1, "/r/c": 1}


def judge_of(messages: list[Message], **how: Any) -> Judge:
    judge = Judge(MONITOR, **how)
    for message in messages:
        judge.take(message)
    return judge


def kinds(messages: list[Message], truth: Truth = TRUTH, changes: dict[str, int] | None = None) -> set[str]:
    return {finding.kind for finding in judge_of(messages).verdict(truth, changes or CHANGES)}


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    """Redelivery of what was delivered, as it was, is no fault."""
    judge = judge_of([STORY[0], STORY[1], STORY[0], STORY[1], STORY[2], STORY[3]])
    assert judge.verdict(TRUTH, CHANGES) == []
    assert judge.redelivered == 2
    assert judge.live == {"/r/a", "/r/d", "/r/d/b"}
    assert [told["fileId"] for told in judge.told("overflow")] == ["Overflow"]
    assert judge.told("gap") == []


@pytest.mark.parametrize("number", range(4))
def test_a_lost_message_is_found(number: int) -> None:
    """Whichever it is: by the gap it leaves in the numbers, or, the last one, by what it would have told."""
    assert kinds([message for message in STORY if message is not STORY[number]])


def test_a_lost_message_in_the_middle_is_a_skip() -> None:
    """Numbers are contiguous."""
    assert "skipped" in kinds([STORY[0], STORY[2], STORY[3]])


def test_swapped_messages_are_found() -> None:
    """Delivery is in order."""
    assert "disordered" in kinds([STORY[0], STORY[2], STORY[1], STORY[3]])


def test_a_first_message_that_is_not_the_first_is_found() -> None:
    """Numbers start at 1."""
    assert "skipped" in kinds(STORY[1:])


def test_a_redelivery_with_another_body_is_found() -> None:
    """The same message id stands for the same bytes."""
    assert "altered" in kinds([*STORY, block(1, event("Create", "/r/a"))])


def test_a_redelivery_with_other_headers_is_found() -> None:
    """Headers are part of the message."""
    assert "altered" in kinds([*STORY, replace(STORY[0], headers={**STORY[0].headers, "schema": 2})])


@pytest.mark.parametrize(
    "wrong",
    [
        {"properties": {"message_id": "m1:7", "timestamp": RECORDED}},
        {"properties": {"message_id": "m2:1", "timestamp": RECORDED}},
        {"headers": {"sequence": 2, "eventCount": 2, "monitorId": MONITOR}},
        {"headers": {"sequence": 1, "eventCount": 3, "monitorId": MONITOR}},
        {"routing_key": "m1.create.delete"},
    ],
)
def test_a_wrong_envelope_is_found(wrong: dict[str, Any]) -> None:
    """Message id, number, count and routing key say what the body says."""
    assert "envelope" in kinds([replace(STORY[0], **wrong), *STORY[1:]])


def test_a_system_event_among_others_is_found() -> None:
    """A System event is always alone in its block."""
    system = event("System", "Overflow", detail={"code": "overflow"})
    assert "envelope" in kinds(
        [*STORY, block(5, system, event("Modify", "/r/a"))], changes={**CHANGES, "/r/a": 3}
    )


def test_an_empty_block_is_found() -> None:
    """A block says something."""
    assert "envelope" in kinds([*STORY, block(5)])


def test_a_file_that_nobody_reported_is_found() -> None:
    """Every file that exists has been reported."""
    assert "missing" in kinds(STORY, {**TRUTH, "/r/new": Entry(is_dir=False)})


def test_a_file_reported_deleted_that_exists_is_found() -> None:
    """Its final state is that it exists."""
    assert "missing" in kinds(STORY, {**TRUTH, "/r/c": Entry(is_dir=False)})


def test_a_file_changed_after_its_last_report_is_found() -> None:
    """A report that was recorded in an earlier second cannot be of the final state."""
    assert "stale" in kinds(STORY, {**TRUTH, "/r/a": Entry(is_dir=False, since=RECORDED + 1.0)})


def test_a_file_that_is_gone_and_not_reported_deleted_is_found() -> None:
    """Every file that was reported and is gone has been reported deleted."""
    assert "ghost" in kinds(STORY, {path: entry for path, entry in TRUTH.items() if path != "/r/a"})


def test_a_directory_reported_as_a_file_is_found() -> None:
    """Both while it is told and in the end."""
    assert "kind" in kinds(STORY, {**TRUTH, "/r/a": Entry(is_dir=True)})
    assert "kind" in kinds([*STORY, block(5, event("Modify", "/r/a", isDir=True))])


def test_a_file_created_twice_is_found() -> None:
    """Exactly once, until it is deleted."""
    assert "twice" in kinds([*STORY, block(5, event("Create", "/r/a"))], changes={**CHANGES, "/r/a": 9})


def test_a_file_deleted_and_created_again_is_no_fault() -> None:
    """Two files of one name."""
    again = [*STORY, block(5, event("Delete", "/r/a"), event("Create", "/r/a"))]
    assert kinds(again, changes={**CHANGES, "/r/a": 3}) == set()


@pytest.mark.parametrize("kind", ["Modify", "Delete"])
def test_a_report_of_what_does_not_exist_is_found(kind: str) -> None:
    """What was never created is neither changed nor deleted."""
    told = [*STORY, block(5, event(kind, "/r/c"))]
    assert "unexplained" in kinds(told, changes={**CHANGES, "/r/c": 9})


def test_a_directory_deleted_before_what_is_in_it_is_found() -> None:
    """Deepest first."""
    told = [*STORY, block(5, event("Delete", "/r/d", isDir=True), event("Delete", "/r/d/b"))]
    assert kinds(told, {"/r/a": TRUTH["/r/a"]}) == {"orphan"}
    told = [*STORY, block(5, event("Delete", "/r/d/b"), event("Delete", "/r/d", isDir=True))]
    assert kinds(told, {"/r/a": TRUTH["/r/a"]}) == set()


def test_more_reports_than_changes_are_found() -> None:
    """One change is one report."""
    assert kinds([*STORY, block(5, event("Modify", "/r/a"))]) == {"excess"}


def test_a_path_that_never_was_is_found() -> None:
    """Even if it was reported deleted again."""
    told = [*STORY, block(5, event("Create", "/r/z"), event("Delete", "/r/z"))]
    assert "unexplained" in kinds(told)


class TestBaseline:
    """What was there when the monitor was started is known and not reported."""

    HOW = {"baseline": {"/r/old": Entry(is_dir=False, since=5.0)}, "started": 900.0}  # noqa: RUF012 - a constant

    def test_it_needs_no_report(self) -> None:
        """It is known."""
        truth = {**TRUTH, "/r/old": Entry(is_dir=False, since=5.0)}
        assert judge_of(STORY, **self.HOW).verdict(truth) == []

    def test_its_change_does(self) -> None:
        """Changed after the start, not reported."""
        truth = {**TRUTH, "/r/old": Entry(is_dir=False, since=901.0)}
        assert [one.kind for one in judge_of(STORY, **self.HOW).verdict(truth)] == ["stale"]

    def test_its_deletion_does(self) -> None:
        """Gone, not reported deleted."""
        assert [one.kind for one in judge_of(STORY, **self.HOW).verdict(TRUTH)] == ["ghost"]

    def test_its_creation_is_a_fault(self) -> None:
        """It was there."""
        judge = judge_of([*STORY, block(5, event("Create", "/r/old"))], **self.HOW)
        truth = {**TRUTH, "/r/old": Entry(is_dir=False)}
        assert [one.kind for one in judge.verdict(truth)] == ["twice"]


class TestExcuses:
    """After the loss of the store the service may repeat itself once, and lose count once."""

    def test_a_repetition_is_excused_once(self) -> None:
        """At worst everything is reported again, not three times."""
        judge = judge_of(STORY)
        judge.excuse_repetition()
        judge.take(block(5, event("Create", "/r/a")))
        assert judge.verdict(TRUTH, CHANGES) == []
        judge.take(block(6, event("Create", "/r/a")))
        assert {one.kind for one in judge.verdict(TRUTH)} == {"twice"}

    def test_what_is_new_is_not_excused(self) -> None:
        """Only what had been reported before the loss may come again."""
        judge = judge_of(STORY[:1])
        judge.excuse_repetition()
        for message in (*STORY[1:], block(5, event("Create", "/r/d/b"))):
            judge.take(message)
        assert {one.kind for one in judge.verdict(TRUTH)} == {"twice"}

    def test_what_is_gone_is_excused_where_a_gap_was_told_and_only_there(self) -> None:
        """It cannot know that it was there; but it must say so, and what it reports again must be deleted again."""
        judge = judge_of(STORY)
        judge.excuse_repetition()
        truth = {path: entry for path, entry in TRUTH.items() if path != "/r/a"}
        assert {one.kind for one in judge.owed(truth)} == {"ghost"}
        judge.take(block(5, event("System", "Gap", detail={"code": "gap"})))
        assert judge.owed(truth) == []
        judge.take(block(6, event("Create", "/r/a")))
        assert {one.kind for one in judge.owed(truth)} == {"ghost"}

    def test_a_skip_is_excused_once(self) -> None:
        """Forward, and never back to a number that was used."""
        judge = judge_of(STORY)
        judge.excuse_one_skip()
        judge.take(block(50, event("Modify", "/r/a")))
        assert judge.verdict(TRUTH) == []
        judge.take(block(60, event("Modify", "/r/a")))
        assert [one.kind for one in judge.verdict(TRUTH)] == ["skipped"]

    def test_a_number_that_was_used_is_never_excused(self) -> None:
        """A consumer would take it for a redelivery and drop it."""
        judge = judge_of(STORY)
        judge.excuse_one_skip()
        judge.take(block(2, event("Modify", "/r/a")))
        assert [one.kind for one in judge.verdict(TRUTH)] == ["altered"]
