"""The ledger's tables in the store: per monitor the directories, per directory the files, as they were reported.

A directory's rows outlive it for a while when many go at once (a tree removed, a monitor stopped): its key is
moved to `dropped`, and `purge` deletes them in portions, so that nobody waits for a million rows.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from publisher.sighting import POSITIVE
from publisher.storing.database import Tables, frees_room, takes_room
from schemas.monitors import MonitorState

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Protocol

    from publisher.sighting import Signature
    from publisher.storing.database import Database as StoreDatabase

    class Database(Protocol):
        """What is used of the store's connection."""

        def execute(self, statement: str, values: Sequence[object] = ..., /) -> Any:
            """Runs one statement."""

        def executemany(self, statement: str, values: Iterable[Sequence[object]], /) -> Any:
            """Runs one statement for each of the values."""


SCHEMA = """
CREATE TABLE ledgers (
    monitor INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    mount_point BLOB NOT NULL
) STRICT;
CREATE TABLE directories (
    key INTEGER PRIMARY KEY,
    monitor INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    name BLOB NOT NULL,
    entered INTEGER NOT NULL,
    mounted INTEGER NOT NULL
) STRICT;
CREATE INDEX directories_of_monitor ON directories (monitor);
CREATE TABLE files (
    directory INTEGER NOT NULL,
    name BLOB NOT NULL,
    inode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    type INTEGER NOT NULL,
    PRIMARY KEY (directory, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE dropped (directory INTEGER PRIMARY KEY) STRICT;
"""

_PURGE_ROWS = 2000
_HIGHEST_KEY = (
    "SELECT max((SELECT coalesce(max(key), 0) FROM directories),"
    " (SELECT coalesce(max(directory), 0) FROM dropped),"
    " (SELECT coalesce(max(directory), 0) FROM files))"
)


class DirectoryRow(NamedTuple):
    """One directory of a ledger; `parent` is 0 for the root, `name` in the kernel's bytes.

    `entered`: whether what is in it is watched. `mounted`: whether another file system was mounted at it.
    """

    key: int
    parent: int
    name: bytes
    entered: bool
    mounted: bool


FileRow = tuple[int, bytes, int, int, int, int]
"""(directory, name, inode, size, mtime in nanoseconds, type)."""


@dataclass(slots=True)
class LedgerChanges:
    """What a monitor's ledger gains and loses with some of its blocks."""

    files: list[FileRow] = field(default_factory=list)
    gone_files: list[tuple[int, bytes]] = field(default_factory=list)
    directories: list[DirectoryRow] = field(default_factory=list)
    gone_directories: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.files or self.gone_files or self.directories or self.gone_directories)


@dataclass(frozen=True, slots=True)
class LedgerRoot:
    """Which directory a ledger is about: more than its path, for another one may stand in its place.

    Attributes:
        device: st_dev of the monitor's directory.
        inode: its inode.
        mount_point: where the file system that holds it is mounted.
    """

    device: int
    inode: int
    mount_point: str

    def is_what_was(self, found: os.stat_result) -> bool:
        """Whether a directory that was found is this one."""
        return (found.st_dev, found.st_ino & POSITIVE) == (self.device, self.inode)


class LedgerTables(Tables):
    """Reads and writes the ledgers."""

    def __init__(
        self, database: StoreDatabase, keys: Mapping[str, int], monitors_changed: Callable[[], None]
    ) -> None:
        """Shares the store's connection and lock, and goes on behind the highest key; raises StoreError."""
        super().__init__(database, keys, monitors_changed)
        with self._reading("the ledgers could not be read") as db:
            highest = db.execute(_HIGHEST_KEY).fetchone()[0]
        self._next = itertools.count(highest + 1)

    def new_key(self) -> int:
        """A key for a directory, never used before."""
        key: int = next(self._next)
        return key

    def root(self, monitor_id: str) -> LedgerRoot | None:
        """Which directory this monitor's ledger is about, None if it has none."""
        with self._reading("the ledger could not be read") as db:
            row = db.execute(
                "SELECT device, inode, mount_point FROM ledgers WHERE monitor = ?", (self._keys[monitor_id],)
            ).fetchone()
        return LedgerRoot(row[0], row[1], _text(row[2])) if row else None

    def directories(self, monitor_id: str) -> list[DirectoryRow]:
        """All directories of a ledger, parents before what is in them unless they were moved."""
        with self._reading("the ledger could not be read") as db:
            rows = db.execute(
                "SELECT key, parent, name, entered, mounted FROM directories WHERE monitor = ? ORDER BY key",
                (self._keys[monitor_id],),
            )
            return [
                DirectoryRow(key, parent, name, bool(entered), bool(mounted))
                for key, parent, name, entered, mounted in rows
            ]

    def files(self, directory: int, after: bytes, limit: int) -> list[tuple[bytes, Signature]]:
        """Up to `limit` files of a directory in the order of their names, those after `after`."""
        with self._reading("the ledger could not be read") as db:
            rows = db.execute(
                "SELECT name, inode, size, mtime_ns, type FROM files"
                " WHERE directory = ? AND name > ? ORDER BY name LIMIT ?",
                (directory, after, limit),
            ).fetchall()
        return [(row[0], row[1:]) for row in rows]

    def file(self, directory: int, name: bytes) -> Signature | None:
        """One file, None if the ledger does not know it."""
        with self._reading("the ledger could not be read") as db:
            row = db.execute(
                "SELECT inode, size, mtime_ns, type FROM files WHERE directory = ? AND name = ?",
                (directory, name),
            ).fetchone()
        return row and (row[0], row[1], row[2], row[3])

    @takes_room
    def learn(self, monitor_id: str, changes: LedgerChanges) -> None:
        """Writes what needs no block: what was there at the start, or is not wanted by the subscriber."""
        with self._transaction("the ledger could not be written") as db:
            apply_changes(db, self._keys[monitor_id], changes)

    @takes_room
    def begin(self, monitor_id: str, root: LedgerRoot) -> None:
        """The ledger is complete from now on, and its monitor Started."""
        mount_point = root.mount_point.encode("utf-8", "surrogateescape")
        with self._transaction("the monitor's start could not be stored", synced=True) as db:
            key = self._keys[monitor_id]
            db.execute("UPDATE monitors SET state = ? WHERE key = ?", (MonitorState.STARTED.value, key))
            db.execute(
                "INSERT OR REPLACE INTO ledgers VALUES (?, ?, ?, ?)",
                (key, root.device, root.inode, mount_point),
            )
        self._monitors_changed()

    @frees_room
    def drop(self, monitor_id: str) -> None:
        """Empties a monitor's ledger."""
        with self._transaction("the ledger could not be emptied") as db:
            drop_ledger(db, self._keys[monitor_id])

    @frees_room
    def purge(self) -> bool:
        """Deletes a portion of what is left of dropped directories; whether there is more."""
        with self._transaction("the ledger could not be cleaned", synced=False) as db:
            rows = db.execute(
                "SELECT d.directory FROM dropped d ORDER BY d.directory LIMIT ?", (_PURGE_ROWS // 10,)
            ).fetchall()
            room = _PURGE_ROWS
            for (directory,) in rows:
                room -= db.execute(
                    "DELETE FROM files WHERE directory = ?1 AND name IN"
                    " (SELECT name FROM files WHERE directory = ?1 LIMIT ?2)",
                    (directory, room),
                ).rowcount
                if room <= 0:
                    return True
                db.execute("DELETE FROM dropped WHERE directory = ?", (directory,))
            return len(rows) == _PURGE_ROWS // 10

    def count(self, monitor_id: str | None = None) -> tuple[int, int]:
        """(directories, files) of one ledger, or of all tables, dropped ones included; reads every row."""
        with self._reading("the ledger could not be read") as db:
            if monitor_id is None:
                both = "SELECT (SELECT count(*) FROM directories), (SELECT count(*) FROM files)"
                directories, files = db.execute(both).fetchone()
            else:
                directories, files = db.execute(
                    "SELECT count(DISTINCT d.key), count(f.name) FROM directories d"
                    " LEFT JOIN files f ON f.directory = d.key WHERE d.monitor = ?",
                    (self._keys[monitor_id],),
                ).fetchone()
        return directories, files


def apply_changes(db: Database, monitor: int, changes: LedgerChanges) -> None:
    """Writes changes within a transaction."""
    if changes.directories:
        db.executemany(
            "INSERT OR REPLACE INTO directories VALUES (?, ?, ?, ?, ?, ?)",
            [(d.key, monitor, d.parent, d.name, d.entered, d.mounted) for d in changes.directories],
        )
    if changes.files:
        db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", changes.files)
    if changes.gone_files:
        db.executemany("DELETE FROM files WHERE directory = ? AND name = ?", changes.gone_files)
    if changes.gone_directories:
        _drop_directories(db, changes.gone_directories)


def drop_ledger(db: Database, monitor: int) -> None:
    """Empties a monitor's ledger within a transaction."""
    db.execute("DELETE FROM ledgers WHERE monitor = ?", (monitor,))
    db.execute("INSERT OR IGNORE INTO dropped SELECT key FROM directories WHERE monitor = ?", (monitor,))
    db.execute("DELETE FROM directories WHERE monitor = ?", (monitor,))


def write_state(db: Database, monitor: int, state: MonitorState) -> None:
    """Writes a monitor's state within a transaction; one that is Stopped has no ledger."""
    db.execute("UPDATE monitors SET state = ? WHERE key = ?", (state.value, monitor))
    if state is MonitorState.STOPPED:
        drop_ledger(db, monitor)


def drop_incomplete(db: Database) -> None:
    """Empties the ledgers that a crash left half-made, within a transaction."""
    db.execute(
        "INSERT OR IGNORE INTO dropped"
        " SELECT key FROM directories WHERE monitor NOT IN (SELECT monitor FROM ledgers)"
    )
    db.execute("DELETE FROM directories WHERE monitor NOT IN (SELECT monitor FROM ledgers)")


def _drop_directories(db: Database, keys: Sequence[int]) -> None:
    bound: Iterable[tuple[int]] = [(key,) for key in keys]
    db.executemany("INSERT OR IGNORE INTO dropped VALUES (?)", bound)
    db.executemany("DELETE FROM directories WHERE key = ?", bound)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
