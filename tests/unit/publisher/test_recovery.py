"""A damaged store: said, set aside as it is, and all that can be read of it in the new one; no number used twice."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from publisher.errors import DamagedStoreError, StoreError
from publisher.outbox import Outbox
from publisher.storing.ledger_tables import DirectoryRow, LedgerChanges, LedgerRoot
from publisher.storing.outbox_table import Entry
from publisher.storing.recovery import SIDECAR_NAME, open_store
from publisher.storing.salvage import SEQUENCE_JUMP
from publisher.storing.store import Store
from schemas.events import EventInfo, EventList, decode_event_list, encode_event_list
from schemas.monitors import MonitorSpec, MonitorState

SPEC = MonitorSpec(m_type="Persistent", e_types=("All",), p_mode="Follow", path_string="/data/\udcff")
BLOCKS = 200
CONFIRMED = 20
MONITORS = ("m", "n")
SUFFIXES = ("", "-wal")


def entry(monitor_id: str, sequence: int) -> Entry:
    """A block that says which it is, of a few pages."""
    events = [
        EventInfo(f"/data/{monitor_id}-{sequence}-{number:04}", "x" * 60, "Create") for number in range(50)
    ]
    body = encode_event_list(EventList(monitor_id, sequence, events))
    return Entry(monitor_id, sequence, f"{monitor_id}.create", body, 50, 1_790_000_000)


ENTRIES = {(name, number): entry(name, number) for name in MONITORS for number in range(1, BLOCKS + 1)}


@dataclass(frozen=True)
class Left:
    """What a run has left: its directory, and where the store in it is."""

    directory: Path

    @property
    def path(self) -> Path:
        return self.directory / "store.sqlite"

    def file(self, suffix: str = "") -> Path:
        return self.directory / f"store.sqlite{suffix}"

    def aside(self) -> dict[str, bytes]:
        """The files set aside, by suffix, unless empty; without the index of the log, which SQLite makes anew."""
        found = [
            file
            for file in self.directory.iterdir()
            if ".damaged-" in file.name and not file.name.endswith("-shm") and file.stat().st_size
        ]
        return {
            next(suffix for suffix in ("-wal", "") if file.name.endswith(suffix)): file.read_bytes()
            for file in found
        }

    def size(self, suffix: str = "") -> int:
        return self.file(suffix).stat().st_size if self.file(suffix).exists() else 0

    def files(self) -> dict[str, bytes]:
        return {suffix: self.file(suffix).read_bytes() for suffix in SUFFIXES if self.size(suffix)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two ends of the same run: in order, and killed; `killed` has its last blocks in the log alone."""
    ended, killed = tmp_path_factory.mktemp("ended"), tmp_path_factory.mktemp("killed")
    store = open_store(ended / "store.sqlite")
    outbox = Outbox(store)
    for name in MONITORS:
        store.add_monitor(name, SPEC, request_key=f"request of {name}")
    for number in range(1, BLOCKS + 1):
        state = MonitorState.STARTED if number == 1 else None
        for name in MONITORS:
            outbox.record([ENTRIES[name, number]], state=state)
    outbox.confirm(dict.fromkeys(MONITORS, CONFIRMED))
    for name in MONITORS:
        store.ledgers.begin(name, LedgerRoot(1, 2, "/"))
        key = store.ledgers.new_key()
        files = [(key, b"file %d of %s" % (number, name.encode()), number, 1, 1, 0) for number in range(100)]
        store.ledgers.learn(
            name, LedgerChanges(files=files, directories=[DirectoryRow(key, 0, b"", True, False)])
        )
    for file in (*ended.glob("store.sqlite*"), ended / SIDECAR_NAME):  # without what a thread is just writing
        shutil.copy(file, killed)
    store.close()
    return {"ended": ended, "killed": killed}


@pytest.fixture
def left(runs: dict[str, Path], request: pytest.FixtureRequest, tmp_path: Path) -> Left:
    """A copy of what the run of that name has left, to be damaged."""
    shutil.copytree(runs[request.param], tmp_path, dirs_exist_ok=True)
    return Left(tmp_path)


def overwrite(file: Path, start: int, count: int, seed: int = 1) -> None:
    with file.open("r+b") as opened:
        opened.seek(start)
        opened.write(random.Random(seed).randbytes(count))


def saved_blocks(store: Store) -> set[tuple[str, int]]:
    """Which blocks are there; each has to be what was accepted."""
    found = [each for name in MONITORS for each in store.entries.after(name, 0, 10_000)]
    assert all(ENTRIES[each.monitor_id, each.sequence] == each for each in found)
    return {(each.monitor_id, each.sequence) for each in found}


UNCONFIRMED = {key for key in ENTRIES if key[1] > CONFIRMED}


def check_known_as_damaged(store: Store, left: Left, damaged: dict[str, bytes]) -> None:
    """What holds whatever was damaged."""
    assert store.damage is not None
    assert str(left.path) in store.damage or "store" in store.damage
    assert left.aside() == damaged
    for monitor in store.monitors():
        assert (monitor.spec, monitor.damaged) == (SPEC, True)
        assert monitor.sequence >= BLOCKS
    assert [monitor.id for monitor in store.monitors()] == list(MONITORS)


# Where everything can be read.


def head(left: Left) -> None:
    overwrite(left.path, 0, 100)


def first_page(left: Left) -> None:
    overwrite(left.path, 0, 4096)


def emptied(left: Left) -> None:
    os.truncate(left.path, 0)


@pytest.mark.parametrize("damage", [head, first_page])
@pytest.mark.parametrize("left", ["ended", "killed"], indirect=True)
def test_a_file_without_its_head_loses_nothing(left: Left, damage: Callable[[Left], None]) -> None:
    """The head is mended on a copy, or stands in the log as well: everything that was accepted is there."""
    damage(left)
    before = left.files()
    with open_store(left.path) as store:
        if "-wal" not in before:
            check_known_as_damaged(store, left, before)
        assert {monitor.sequence for monitor in store.monitors()} == {BLOCKS}
        assert {monitor.state for monitor in store.monitors()} == {MonitorState.STARTED}
        assert store.find_request("request of m") == "m"
        assert saved_blocks(store) == UNCONFIRMED
        for name in MONITORS:
            assert store.ledgers.root(name) == LedgerRoot(1, 2, "/")
            [directory] = store.ledgers.directories(name)
            assert store.ledgers.files(directory.key, b"", 1000)[0][0] == b"file 0 of %s" % name.encode()
            assert store.ledgers.count(name) == (1, 100)


# Where something is lost.


def halved(left: Left) -> None:
    os.truncate(left.path, left.path.stat().st_size // 2)


def garbage_in_the_middle(left: Left) -> None:
    overwrite(left.path, left.path.stat().st_size // 2, 3 * 4096)


@pytest.mark.parametrize(("damage", "share"), [(halved, 0.3), (garbage_in_the_middle, 0.9)])
@pytest.mark.parametrize("left", ["ended"], indirect=True)
def test_what_can_be_read_is_saved(left: Left, damage: Callable[[Left], None], share: float) -> None:
    """Each saved block as it was; the numbers of the lost ones are not used again."""
    damage(left)
    left.file(".suspect").touch()  # as a run that stumbled over it leaves it
    before = left.files()
    with open_store(left.path) as store:
        check_known_as_damaged(store, left, before)
        assert len(saved_blocks(store)) > share * len(UNCONFIRMED)
        assert len(saved_blocks(store)) < len(UNCONFIRMED)
        assert "could not be read" in str(store.damage)
        # A ledger is whole or not there at all.
        assert {store.ledgers.count(name) for name in MONITORS} <= {(1, 100), (0, 0)}


def no_database(left: Left) -> None:
    left.path.write_bytes(b"this is something else\n" * 5000)


def missing(left: Left) -> None:
    left.path.unlink()


@pytest.mark.parametrize("damage", [no_database, emptied, missing])
@pytest.mark.parametrize("left", ["ended"], indirect=True)
def test_without_the_file_the_list_of_monitors_has_to_do(left: Left, damage: Callable[[Left], None]) -> None:
    """Ids, specifications, states; the numbers jump, for the list does not know the last one used."""
    damage(left)
    before = left.files()
    with open_store(left.path) as store:
        check_known_as_damaged(store, left, before)
        assert {monitor.sequence for monitor in store.monitors()} == {BLOCKS + SEQUENCE_JUMP}
        assert {monitor.state for monitor in store.monitors()} == {MonitorState.STARTED}
        assert saved_blocks(store) == set()
        store.entries.append([ENTRIES["m", 1]])  # it can be used


# The log of a run that was killed.


def head_of_log(left: Left) -> None:
    overwrite(left.file("-wal"), 0, 32)


def middle_of_log(left: Left) -> None:
    overwrite(left.file("-wal"), 100_000, 100)


def cut_log(left: Left) -> None:
    os.truncate(left.file("-wal"), 100_000)


def missing_log(left: Left) -> None:
    left.file("-wal").unlink()


@pytest.mark.parametrize("damage", [head_of_log, middle_of_log, cut_log, missing_log])
@pytest.mark.parametrize("left", ["killed"], indirect=True)
def test_a_damaged_log_is_noticed_though_sqlite_passes_over_it(
    left: Left, damage: Callable[[Left], None]
) -> None:
    """SQLite goes on from an older state without a word, and would use numbers twice: they jump."""
    damage(left)
    before = left.files()
    with open_store(left.path) as store:
        check_known_as_damaged(store, left, before)
        assert min(monitor.sequence for monitor in store.monitors()) > SEQUENCE_JUMP
        saved_blocks(store)


@pytest.mark.parametrize("left", ["killed"], indirect=True)
def test_an_empty_file_with_a_log_gives_what_is_in_the_log(left: Left) -> None:
    """SQLite itself would delete the log."""
    emptied(left)
    before = left.files()
    assert before["-wal"]
    with open_store(left.path) as store:
        check_known_as_damaged(store, left, before)
        saved_blocks(store)


def test_a_young_store_is_in_its_log_alone(tmp_path: Path) -> None:
    """And comes back from it complete when the file itself is empty."""
    young, left = open_store(tmp_path / "store.sqlite"), Left(tmp_path / "copy")
    left.directory.mkdir()
    for name in MONITORS:
        young.add_monitor(name, SPEC)
        young.entries.append([ENTRIES[name, 1], ENTRIES[name, 2]])
    for file in tmp_path.glob("store*"):
        shutil.copy(file, left.directory)
    young.close()
    emptied(left)
    with open_store(left.path) as store:
        assert saved_blocks(store) == {key for key in ENTRIES if key[1] <= 2}
        assert [monitor.sequence for monitor in store.monitors()] == [2, 2]


@pytest.mark.parametrize("left", ["killed", "ended"], indirect=True)
def test_a_run_that_was_killed_is_no_damage(left: Left) -> None:
    """Nor is one that ended in order: nothing is set aside, nothing jumps."""
    with open_store(left.path) as store:
        assert store.damage is None
        assert left.aside() == {}
        assert [(m.sequence, m.damaged) for m in store.monitors()] == [(BLOCKS, False)] * 2
        assert saved_blocks(store) == UNCONFIRMED


@pytest.mark.parametrize("left", ["killed"], indirect=True)
def test_a_transaction_that_was_cut_off_by_the_kill_is_no_damage(left: Left) -> None:
    """Its pages are at the end of the log, but nothing ends it there."""
    log = left.file("-wal").read_bytes()
    frame = bytearray(log[32 : 32 + 24 + 4096])
    frame[4:8] = bytes(4)
    left.file("-wal").write_bytes(log + frame)
    with open_store(left.path) as store:
        assert store.damage is None


@pytest.mark.parametrize("left", ["killed"], indirect=True)
def test_a_last_frame_that_was_cut_off_by_the_kill_is_no_damage(left: Left) -> None:
    """Its header says that it ends a transaction, and stands before a page that was not written any more."""
    log = left.file("-wal").read_bytes()
    last = bytearray(log[-(24 + 4096) :])
    assert last[4:8] != bytes(4)
    last[16:24] = b"checksum"
    left.file("-wal").write_bytes(log + last)
    with open_store(left.path) as store:
        assert store.damage is None


@pytest.mark.parametrize("table", ["directories", "files", "dropped"])
@pytest.mark.parametrize("left", ["ended"], indirect=True)
def test_damage_found_while_it_opens_is_dealt_with_then_and_ends_nothing(left: Left, table: str) -> None:
    """Whoever opens it need not hear of it: the store that they get is sound."""
    with contextlib.closing(sqlite3.connect(left.path)) as db:
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    with left.path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    before = left.files()
    reports: list[BaseException] = []
    with open_store(left.path, on_damaged=reports.append) as store:
        check_known_as_damaged(store, left, before)
        assert saved_blocks(store) == UNCONFIRMED
    assert reports == []


# In use.


@pytest.mark.parametrize("left", ["ended"], indirect=True)
def test_damage_found_in_use_is_reported_once_and_dealt_with_at_the_next_start(left: Left) -> None:
    """The service ends, for nothing can be relied upon; every call fails until then, and nothing is made worse."""
    with contextlib.closing(sqlite3.connect(left.path)) as db:
        root = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name LIKE 'sqlite_autoindex_entries%'"
        ).fetchone()[0]
    reports: list[BaseException] = []
    with open_store(left.path, on_damaged=reports.append) as store:
        with left.path.open("r+b") as file:
            file.seek((root - 1) * 4096)
            file.write(bytes(4096))
        # What is in SQLite's memory is not read again.
        store.database.connection.execute("PRAGMA cache_size=0")
        store.database.connection.execute("PRAGMA shrink_memory")
        for _ in range(2):
            with pytest.raises(DamagedStoreError):
                store.entries.after("m", 100, 10)
        assert len(reports) == 1
        with pytest.raises(DamagedStoreError):
            store.set_state("m", MonitorState.STOPPED)
    before = left.files()
    with open_store(left.path) as store:
        check_known_as_damaged(store, left, before)
        assert saved_blocks(store) == UNCONFIRMED  # an index can be done without
    assert not left.file(".suspect").exists()


@pytest.mark.parametrize("left", ["ended"], indirect=True)
def test_a_suspicion_that_is_not_confirmed_is_dropped(left: Left) -> None:
    """The closer look finds a sound file."""
    left.file(".suspect").touch()
    with open_store(left.path) as store:
        assert store.damage is None
    assert not left.file(".suspect").exists()


@pytest.mark.parametrize("left", ["ended"], indirect=True)
def test_a_monitor_stays_known_as_damaged_until_that_was_told(left: Left) -> None:
    """Across restarts, each for itself."""
    head(left)
    open_store(left.path).close()
    with open_store(left.path) as store:
        assert [monitor.damaged for monitor in store.monitors()] == [True, True]
        assert store.damage is None
        store.forget_damage("m")
    with open_store(left.path) as store:
        assert [monitor.damaged for monitor in store.monitors()] == [False, True]
        store.remove_monitor("n")
        store.add_monitor("n", SPEC)
        assert [monitor.damaged for monitor in store.monitors()] == [False, False]


# The replacing itself.


@pytest.mark.parametrize("left", ["killed"], indirect=True)
def test_replacing_may_be_cut_off_anywhere(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new store is complete before anything is renamed, and the next start goes on renaming."""
    cut_log(left)
    before = left.files()
    rename = Path.rename
    left_to_do = 0

    def rename_once(self: Path, target: Path) -> Path:
        nonlocal left_to_do
        if self.parent == left.directory:
            left_to_do -= 1
            if left_to_do < 0:
                raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename_once)
        for _ in ("the new one", "the file", "its log", "the log's index"):
            left_to_do = 1
            with pytest.raises(KeyboardInterrupt):
                open_store(left.path)
    with open_store(left.path) as store:
        assert all(monitor.damaged for monitor in store.monitors())
        assert saved_blocks(store)
    assert sorted(left.aside().values()) == sorted(before.values())


@pytest.mark.parametrize("left", ["ended"], indirect=True)
def test_nothing_set_aside_is_ever_overwritten(left: Left) -> None:
    """A second damage within the same second gets a name of its own."""
    for number in range(3):
        overwrite(left.path, 0, 100, seed=number)
        open_store(left.path).close()
    assert len({file.read_bytes() for file in left.directory.iterdir() if ".damaged-" in file.name}) == 3


@pytest.mark.parametrize("left", ["ended"], indirect=True)
def test_a_newer_store_is_not_damaged(left: Left) -> None:
    """Whoever went back a version gets a clear error, and the file is left as it is."""
    with contextlib.closing(sqlite3.connect(left.path)) as db:
        db.execute("PRAGMA user_version = 99")
    before = left.path.read_bytes()
    with pytest.raises(StoreError, match="version 99"):
        open_store(left.path)
    assert left.path.read_bytes() == before
    assert left.aside() == {}


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b'{"version": 1}', b'{"version": 1, "monitors": [{"id": 7}]}']
)
@pytest.mark.parametrize("left", ["ended"], indirect=True)
def test_a_list_of_monitors_that_cannot_be_read_stops_nobody(left: Left, content: bytes) -> None:
    """It is written anew; with both files gone there are no monitors, but there is a service."""
    (left.directory / SIDECAR_NAME).write_bytes(content)
    no_database(left)
    with open_store(left.path) as store:
        assert store.monitors() == []
    assert b'"monitors":[]' in (left.directory / SIDECAR_NAME).read_bytes()


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("left", ["ended", "killed"], indirect=True)
def test_no_damage_keeps_a_service_from_starting(left: Left, seed: int) -> None:
    """Garbage anywhere: the store opens, holds nothing that was not accepted, and uses no number twice."""
    chance = random.Random(seed)
    file = left.file(chance.choice(["", "", "-wal"]) if left.file("-wal").exists() else "")
    for _ in range(chance.randint(1, 4)):
        overwrite(file, chance.randrange(file.stat().st_size), chance.choice([1, 16, 4096, 20_000]), seed)
    left.file(".suspect").touch()
    before = left.files()
    with open_store(left.path) as store:
        if store.damage is None:
            return  # SQLite has no checksums: what is changed inside a block is not seen
        check_known_as_damaged(store, left, before)
        for name in MONITORS:
            assert all(
                decode_event_list(each.body).sequence == each.sequence
                for each in store.entries.after(name, 0, 999)
            )
