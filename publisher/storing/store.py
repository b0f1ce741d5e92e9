"""The one SQLite file (WAL) that holds the monitors, the outbox and the ledgers: its tables, and the monitors in it.

How the file is opened, guarded and kept from a full disk stands in `publisher.storing.database`; what becomes of one
that is damaged in `publisher.storing.recovery`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from publisher.errors import StoreError
from publisher.storing.database import Database, frees_room, takes_room
from publisher.storing.ledger_tables import SCHEMA as LEDGER_SCHEMA
from publisher.storing.ledger_tables import LedgerTables, drop_incomplete, drop_ledger, write_state
from publisher.storing.outbox_table import SCHEMA as OUTBOX_SCHEMA
from publisher.storing.outbox_table import OutboxTable
from publisher.storing.sidecar import MonitorRecord
from schemas.monitors import MonitorSpec, MonitorState
from schemas.rpc import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from publisher.storing.reserve import Reserve
    from publisher.storing.sidecar import Sidecar

SCHEMA_VERSION = 2

_SCHEMA = """
CREATE TABLE monitors (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    spec TEXT NOT NULL,
    state TEXT NOT NULL,
    sequence INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE requests (
    request_key TEXT PRIMARY KEY,
    monitor_id TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

_DAMAGED_TABLE = """
CREATE TABLE IF NOT EXISTS damaged (
    monitor_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
"""

REQUEST_MEMORY_SECONDS = 30 * 24 * 3600
"""How long a createMonitor's message id is remembered after its monitor is gone."""


@dataclass(frozen=True, slots=True)
class StoredMonitor:
    """A monitor as the store knows it.

    Attributes:
        id: Its id.
        spec: What it was asked for.
        state: Whether it is to watch.
        sequence: The last one used, 0 for none.
        damaged: The store was damaged, and something of this monitor may be missing; until `forget_damage`.
    """

    id: str
    spec: MonitorSpec
    state: MonitorState
    sequence: int
    damaged: bool = False


class Store:
    """The durable state of one service.

    Every method may be called from any thread and blocks for one transaction (tens of microseconds to a few
    milliseconds). A failure of SQLite is raised as `StoreError`.

    Attributes:
        entries: The outbox's part of it.
        ledgers: The ledgers' part.
        damage: What happened to the file before this one, for the log; None if nothing did.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: Literal["process", "power"] = "process",
        reserve: Reserve | None = None,
        sidecar: Sidecar | None = None,
        on_damaged: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Opens or makes the file; `publisher.storing.recovery.open_store` does so for a service.

        Args:
            path: The file.
            durability: `power` syncs it to the disk with every transaction.
            reserve: Room for getting a full disk empty.
            sidecar: Told of every monitor that is made, removed, started or stopped.
            on_damaged: Hears once that the file turned out to be damaged while in use.

        Raises:
            DamagedStoreError: It is not a store, or not a whole one.
            StoreError: It cannot be opened, or is of another version.
        """
        self.damage: str | None = None
        self._keys: dict[str, int] = {}
        self._sidecar = sidecar
        self.database = Database(path, durability=durability, reserve=reserve, on_damaged=on_damaged)
        self._db = self.database.connection
        self._transaction = self.database.transaction
        self._reading = self.database.reading
        try:
            self._prepare()
            self.ledgers = LedgerTables(self.database, self._keys, self._monitors_changed)
            self.entries = OutboxTable(self.database, self._keys, self._monitors_changed)
            self.database.opened()
        except BaseException:
            self._db.close()
            raise
        if sidecar is not None:
            sidecar.start(self.records)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; harmless when closed already."""
        if self._sidecar is not None:
            self._sidecar.close()
        self.database.close()

    @takes_room
    def add_monitor(self, monitor_id: str, spec: MonitorSpec, *, request_key: str | None = None) -> None:
        """Stores a new, Stopped monitor and, with it, the request that made it."""
        now = int(time.time())
        with self._transaction("the monitor could not be stored", synced=True) as db:
            cursor = db.execute(
                "INSERT INTO monitors (id, spec, state, created_at) VALUES (?, ?, ?, ?)",
                (monitor_id, _spec_to_text(spec), MonitorState.STOPPED.value, now),
            )
            if request_key is not None:
                db.execute("INSERT INTO requests VALUES (?, ?, ?)", (request_key, monitor_id, now))
            db.execute("DELETE FROM requests WHERE created_at < ?", (now - REQUEST_MEMORY_SECONDS,))
            assert cursor.lastrowid is not None  # noqa: S101 - an INSERT has always a row; for the type checker
            key = cursor.lastrowid
        self._keys[monitor_id] = key
        self._monitors_changed()

    def find_request(self, request_key: str) -> str | None:
        """The id of the monitor that this createMonitor request made, None if it made none."""
        with self._reading("the requests could not be read") as db:
            row = db.execute(
                "SELECT monitor_id FROM requests WHERE request_key = ?", (request_key,)
            ).fetchone()
        return str(row[0]) if row else None

    def monitors(self) -> list[StoredMonitor]:
        """All monitors, in the order in which they were made."""
        with self._reading("the monitors could not be read") as db:
            rows = db.execute("SELECT id, spec, state, sequence FROM monitors ORDER BY key").fetchall()
            damaged = {row[0] for row in db.execute("SELECT monitor_id FROM damaged")}
        return [
            StoredMonitor(id_, _spec_from_text(spec), MonitorState(state), seq, id_ in damaged)
            for id_, spec, state, seq in rows
        ]

    def records(self) -> list[MonitorRecord]:
        """All monitors as they stand in the file."""
        with self._reading("the monitors could not be read") as db:
            rows = db.execute(
                "SELECT id, spec, state, sequence, created_at FROM monitors ORDER BY key"
            ).fetchall()
        return [MonitorRecord(*row) for row in rows]

    @frees_room
    def forget_damage(self, monitor_id: str) -> None:
        """What was damaged of this monitor has been told, and compared anew."""
        with self._transaction("it could not be stored that a damage has been told") as db:
            db.execute("DELETE FROM damaged WHERE monitor_id = ?", (monitor_id,))

    @frees_room
    def set_state(self, monitor_id: str, state: MonitorState) -> None:
        """Stores a monitor's state; one that is Stopped has no ledger."""
        with self._transaction("the monitor's state could not be stored", synced=True) as db:
            write_state(db, self._keys.get(monitor_id, 0), state)
        self._monitors_changed()

    @frees_room
    def remove_monitor(self, monitor_id: str, *, forget_request: bool = False) -> None:
        """Forgets a monitor and its entries; with `forget_request` also the request that made it."""
        with self._transaction("the monitor could not be removed", synced=True) as db:
            key = self._keys.get(monitor_id)
            db.execute("DELETE FROM damaged WHERE monitor_id = ?", (monitor_id,))
            db.execute("DELETE FROM monitors WHERE key = ?", (key,))
            db.execute("DELETE FROM entries WHERE monitor = ?", (key,))
            if key is not None:
                drop_ledger(db, key)
            if forget_request:
                db.execute("DELETE FROM requests WHERE monitor_id = ?", (monitor_id,))
        self._keys.pop(monitor_id, None)
        self._monitors_changed()

    def _monitors_changed(self) -> None:
        if self._sidecar is not None:
            self._sidecar.changed()

    def _prepare(self) -> None:
        with self._reading(f"the store {self.database.path} could not be opened") as db:
            self._migrate()
            db.executescript(_DAMAGED_TABLE)
            self._keys.update(db.execute("SELECT id, key FROM monitors").fetchall())
        with self._transaction(f"the store {self.database.path} could not be opened") as db:
            drop_incomplete(db)

    def _migrate(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._script(_SCHEMA + OUTBOX_SCHEMA + LEDGER_SCHEMA)
        elif version == 1:
            self._script(LEDGER_SCHEMA)  # its monitors have no ledger: they start from what is there
        elif version != SCHEMA_VERSION:
            msg = f"the store is of version {version}, this fsherald reads version {SCHEMA_VERSION}"
            raise StoreError(msg)

    def _script(self, statements: str) -> None:
        self._db.executescript(f"BEGIN;{statements}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")


def _spec_to_text(spec: MonitorSpec) -> str:
    return dumps(spec.model_dump(mode="python", by_alias=True)).decode()


def _spec_from_text(text: str) -> MonitorSpec:
    return MonitorSpec.model_validate(loads(text.encode()))
