"""A state directory that refuses while the relay runs: waited for, said once, and nothing published twice for it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from publisher.errors import StoreError
from publisher.outbox import Entry
from publisher.steady_backlog import LONGEST_WAIT_SECONDS
from tests.fakes import MemoryOutbox
from tests.unit.relay.scene import Scene


class RefusingOutbox(MemoryOutbox):
    """One whose disk refuses to be written or read, as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses_writing = self.refuses_reading = False
        self.attempts = 0

    def confirm(self, up_to: Mapping[str, int]) -> None:
        self.attempts += 1
        if self.refuses_writing:
            raise StoreError("database or disk is full")
        super().confirm(up_to)

    def pending(self, monitor_id: str, after: int, *, max_entries: int, max_bytes: int) -> list[Entry]:
        self.attempts += 1
        if self.refuses_reading:
            raise StoreError("disk I/O error")
        return super().pending(monitor_id, after, max_entries=max_entries, max_bytes=max_bytes)


@pytest.fixture
def outbox() -> RefusingOutbox:
    return RefusingOutbox()


@pytest.fixture
def scene(outbox: RefusingOutbox) -> Scene:
    connected = Scene(outbox=outbox)
    connected.connect()
    return connected


def test_a_confirm_that_cannot_be_stored_is_stored_later(scene: Scene, outbox: RefusingOutbox):
    """The relay goes on publishing meanwhile; when the disk takes it, all confirms go in one transaction."""
    outbox.refuses_writing = True
    outbox.put("m", 5)
    outbox.put("n", 2)
    scene.connection.advance()
    scene.confirm_all()
    assert scene.delivery.store_problem == "database or disk is full"
    outbox.put("m", 5)
    scene.connection.advance()
    scene.confirm_all()
    assert scene.connection.sequences("m") == list(range(1, 11))
    outbox.refuses_writing = False
    scene.rounds.clear()
    scene.connection.advance(LONGEST_WAIT_SECONDS)
    assert outbox.confirms[-1] == {"m": 10, "n": 2}
    assert outbox.size() == (0, 0)
    assert scene.delivery.store_problem is None
    assert {"m", "n"} in scene.rounds  # whoever waits for these monitors is answered


def test_nothing_is_published_twice_because_the_disk_refuses(scene: Scene, outbox: RefusingOutbox):
    """Not on the same channel, and not on the next one."""
    outbox.refuses_writing = True
    outbox.put("m", 20)
    scene.connection.advance()
    scene.confirm_all()
    scene.connection.lose()
    scene.connect()
    outbox.put("m", 1)
    scene.connection.advance(1)
    scene.confirm_all()
    assert scene.connection.sequences("m") == list(range(1, 22))


def test_a_read_that_fails_is_tried_again(scene: Scene, outbox: RefusingOutbox):
    """Nothing more is sent until then, and nothing is left out."""
    outbox.refuses_reading = True
    outbox.put("m", 5)
    scene.connection.advance(1)
    assert scene.connection.published == []
    assert scene.delivery.store_problem == "disk I/O error"
    assert not scene.delivery.busy  # a stop does not wait for the disk
    outbox.refuses_reading = False
    scene.connection.advance(LONGEST_WAIT_SECONDS)
    scene.confirm_all()
    assert scene.connection.sequences("m") == [1, 2, 3, 4, 5]
    assert scene.delivery.store_problem is None


@pytest.mark.parametrize("what", ["reading", "writing"])
def test_the_disk_is_not_asked_all_the_time(scene: Scene, outbox: RefusingOutbox, what: str):
    """Ever less often, down to once in five seconds, whatever happens meanwhile."""
    outbox.refuses_reading, outbox.refuses_writing = what == "reading", what == "writing"
    outbox.put("m", 3)
    scene.connection.advance()
    if what == "writing":
        scene.confirm_all()
    scene.connection.advance(30)
    before = outbox.attempts
    scene.connection.advance(100)
    assert 10 <= outbox.attempts - before <= 50


def test_a_stop_tries_a_last_time_to_store_the_confirms(scene: Scene, outbox: RefusingOutbox):
    """Whatever is stored then is not published again by the next run."""
    outbox.refuses_writing = True
    outbox.put("m", 5)
    scene.connection.advance()
    scene.confirm_all()
    outbox.refuses_writing = False
    scene.delivery.shut()
    assert outbox.size() == (0, 0)


def test_a_removed_monitor_has_nothing_to_store(scene: Scene, outbox: RefusingOutbox):
    """Its entries went with it."""
    outbox.refuses_writing = True
    outbox.put("m", 5)
    scene.connection.advance()
    scene.confirm_all()
    scene.delivery.drop("m")
    outbox.refuses_writing = False
    scene.connection.advance(LONGEST_WAIT_SECONDS)
    assert outbox.confirms == []
