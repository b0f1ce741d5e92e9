"""Whether a store is what was written, looked at before it is opened for writing.

Once it is, SQLite would write the log back when it closes the file and delete it, and with it what could have
been saved. At every start all that is small is read, the blocks without their bodies. Looking at everything
takes seconds with a large ledger (3.5 s for 230 MB that are not in memory), and is done when a run has stumbled
over damage.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from publisher.errors import DamagedStoreError
from publisher.storing.database import translated
from publisher.storing.sidecar import MonitorRecord
from publisher.storing.soundness import problem_before_opening, problem_of_log
from publisher.storing.store import SCHEMA_VERSION

if TYPE_CHECKING:
    from pathlib import Path

_TABLES = frozenset({"monitors", "requests", "entries", "ledgers", "directories", "files", "dropped"})


def inspect(path: Path, *, thoroughly: bool) -> None:
    """Looks at a store that nobody has open, and changes nothing; blocks for as long as it takes to read.

    A store of another version is left to whoever opens it; so is one that is not there.

    Raises:
        DamagedStoreError: It is not a store, or not a whole one.
        StoreError: It cannot be read.
    """
    problem = problem_before_opening(path)
    if problem is None and path.exists() and path.stat().st_size:
        with (
            translated(f"the store {path} cannot be read"),
            contextlib.closing(
                sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
            ) as db,
        ):
            problem = _problem(db, path, thoroughly=thoroughly)
    if problem is not None:
        msg = f"the store {path} is damaged: {problem}"
        raise DamagedStoreError(msg)


def _problem(db: sqlite3.Connection, path: Path, *, thoroughly: bool) -> str | None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        return None
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= _TABLES and (version or tables):
        return "its tables are not there"
    if problem := problem_of_log(path):
        return problem
    if not tables:
        return None
    if version == 0:
        return "its version is lost"
    rows = db.execute("SELECT id, spec, state, sequence, created_at FROM monitors").fetchall()
    if not all(MonitorRecord(*row).is_sound for row in rows):
        return "a monitor in it cannot be read"
    db.execute("SELECT count(request_key || monitor_id || created_at) FROM requests").fetchone()
    db.execute("SELECT monitor, count(*), sum(length(body)) FROM entries GROUP BY monitor").fetchall()
    found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0]) if thoroughly else "ok"
    return None if found == "ok" else found
