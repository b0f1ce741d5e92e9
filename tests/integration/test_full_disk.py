"""The store and the outbox on a disk that gets full or refuses: nothing accepted is lost, and there is a way out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from publisher.errors import StoreError, StoreFullError
from publisher.outbox import Entry, Outbox
from publisher.storing.recovery import RESERVE_NAME, SIDECAR_NAME, open_store
from publisher.storing.store import Store
from schemas.monitors import MonitorSpec, MonitorState
from tests.disks import failing_disk, fill, refused_writes, small_disk
from tests.waiting import eventually

SPEC = MonitorSpec(m_type="Persistent", e_types=("All",), p_mode="Follow", path_string="/data")
BODY_BYTES = 9_000


@pytest.fixture(params=[384 << 10, 1 << 20, 8 << 20], ids=["384K", "1M", "8M"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", request.param) as directory:
        yield directory


@pytest.fixture
def store(disk: Path) -> Iterator[Store]:
    with open_store(disk / "store.sqlite") as opened:
        opened.add_monitor("m", SPEC)
        yield opened


class Recording:
    """One monitor that records until the disk is full, and what is then in the outbox."""

    def __init__(self, store: Store) -> None:
        self.outbox = Outbox(store)
        self.accepted = 0
        self.confirmed = 0

    def record(self, count: int = 1) -> None:
        for _ in range(count):
            entry = Entry("m", self.accepted + 1, "m.create", bytes(BODY_BYTES), 1, 1)
            self.outbox.record([entry])
            self.accepted += 1

    def fill_disk(self) -> str:
        with pytest.raises(StoreError) as refused:
            self.record(10_000)
        return str(refused.value)

    def confirm(self, count: int) -> None:
        self.confirmed = min(self.accepted, self.confirmed + count)
        self.outbox.confirm({"m": self.confirmed})

    def check(self) -> None:
        found = self.outbox.pending("m", 0, max_entries=10_000, max_bytes=1 << 30)
        assert [entry.sequence for entry in found] == list(range(self.confirmed + 1, self.accepted + 1))
        assert all(entry.body == bytes(BODY_BYTES) for entry in found)


@pytest.mark.parametrize("portion", [1, 7, 1000])
def test_a_disk_filled_by_the_outbox_gets_empty_again(store: Store, portion: int):
    """Confirms can always be written, and what they free can be recorded into; time and again."""
    recording = Recording(store)
    for _ in range(3):
        assert "full" in recording.fill_disk()
        recording.check()
        assert recording.accepted > recording.confirmed
        while recording.confirmed < recording.accepted:
            recording.confirm(portion)
        recording.check()
        recording.record(3)


def test_a_disk_filled_by_somebody_else_lets_confirms_be_written(store: Store, disk: Path):
    """Out of the reserve; recording goes on when there is room again, by itself."""
    recording = Recording(store)
    recording.record(8)
    filler = fill(disk)
    recording.fill_disk()
    while recording.confirmed < recording.accepted:
        recording.confirm(1)
    filler.unlink()
    recording.record(3)
    recording.check()


def test_a_disk_without_even_the_reserve_refuses_and_recovers(store: Store, disk: Path):
    """Somebody takes what was given up at once: confirms fail, nothing is lost, and all goes on later."""
    recording = Recording(store)
    recording.record(8)
    filler = fill(disk)
    recording.fill_disk()
    store.database.give_up_reserve()
    fill(disk)
    refused = 0
    for _ in range(50):
        try:
            recording.outbox.confirm({"m": 1})
        except StoreError:
            refused += 1
        else:
            recording.confirmed = 1
        fill(disk)
    recording.check()
    filler.unlink()
    recording.confirm(1)
    recording.record(1)
    recording.check()
    assert refused or recording.confirmed


def test_a_full_disk_refuses_a_new_monitor_and_lets_one_be_stopped_and_removed(store: Store, disk: Path):
    """What makes the store grow is refused with a sentence, and changes nothing; what makes room is not."""
    Recording(store).record(8)
    fill(disk)
    with pytest.raises(StoreFullError, match="full"):
        add_monitors(store)
    known = [monitor.id for monitor in store.monitors()]
    assert [each for each in known if each != "m"] == [f"new-{number}" for number in range(len(known) - 1)]
    store.set_state("m", MonitorState.STOPPED)
    store.remove_monitor("m")
    assert "m" not in [monitor.id for monitor in store.monitors()]


def add_monitors(store: Store) -> None:
    for number in range(1000):
        store.add_monitor(f"new-{number}", SPEC)


def test_a_store_on_a_full_disk_can_be_closed_and_opened(store: Store, disk: Path):
    """Everything that was accepted is there again."""
    recording = Recording(store)
    recording.fill_disk()
    fill(disk)
    store.close()
    with open_store(disk / "store.sqlite") as again:
        recording.outbox = Outbox(again)
        recording.check()
        while recording.confirmed < recording.accepted:
            recording.confirm(5)
        (disk / "filler").unlink()
        recording.record(2)
        recording.check()


def test_a_disk_that_is_full_at_the_start_is_said(disk: Path):
    """One sentence that names the file."""
    fill(disk)
    with pytest.raises(StoreFullError, match=r"store\.sqlite"):
        open_store(disk / "store.sqlite")


def test_the_list_of_monitors_is_written_as_soon_as_there_is_room(store: Store, disk: Path):
    """Until then the old one stays: it is never half a list."""
    path = disk / SIDECAR_NAME

    def listed() -> list[str]:
        return [row["state"] for row in json.loads(path.read_bytes())["monitors"] if row["id"] == "m"]

    eventually(lambda: path.exists() and listed() == ["Stopped"])
    filler = fill(disk)
    store.set_state("m", MonitorState.STARTED)
    assert listed() in (["Stopped"], ["Started"])
    filler.unlink()
    eventually(lambda: listed() == ["Started"])
    store.close()
    assert not path.with_suffix(".part").exists()


def test_the_reserve_is_taken_in_proportion(store: Store, disk: Path):
    """An eighth of a small disk; it is there whenever anything is recorded."""
    Recording(store).record()
    whole = os.statvfs(disk)
    assert (disk / RESERVE_NAME).stat().st_size == whole.f_frsize * whole.f_blocks // 8


def test_writes_that_the_kernel_refuses_change_nothing(tmp_path: Path):
    """Every user of the store gets its error; when the disk takes them again the same objects go on."""
    with open_store(tmp_path / "store.sqlite") as store:
        store.add_monitor("m", SPEC)
        recording = Recording(store)
        recording.record(3)
        with refused_writes(tmp_path / "store.sqlite-wal"):
            for attempt in (
                recording.record,
                lambda: recording.outbox.confirm({"m": 1}),
                lambda: store.set_state("m", MonitorState.STARTED),
                lambda: store.add_monitor("n", SPEC),
                lambda: store.remove_monitor("m"),
            ):
                with pytest.raises(StoreError):
                    attempt()
            recording.check()
        assert [(monitor.id, monitor.state) for monitor in store.monitors()] == [("m", MonitorState.STOPPED)]
        recording.record(2)
        recording.confirm(1)
        recording.check()
        store.remove_monitor("m")


def test_a_disk_that_turns_read_only_loses_nothing(tmp_path: Path):
    """The kernel's answer to a broken disk: reading goes on, writing is refused, the end is in order."""
    with failing_disk(tmp_path / "disk", tmp_path / "image") as disk:
        store = open_store(disk.directory / "store.sqlite")
        store.add_monitor("m", SPEC)
        recording = Recording(store)
        recording.record(3)
        disk.fail()
        with pytest.raises(StoreError):
            recording.record()
        with pytest.raises(StoreError):
            recording.outbox.confirm({"m": 1})
        recording.check()
        store.close()
