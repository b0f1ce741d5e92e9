"""What can still be read of a damaged store: monitors, requests, blocks accepted and not confirmed, ledgers.

SQLite has no checksums on its pages, so whatever comes out is looked at: a monitor
has to have a specification, a block has to hold the number that it is stored under. Ledgers have nothing to be
told by: they come along if all of them can be read.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from publisher.storing.database import translated
from publisher.storing.mending import copy_of, readable, uri_of
from publisher.storing.sidecar import MonitorRecord
from publisher.storing.soundness import problem_of_log, problem_of_old_log
from schemas.errors import DecodeError
from schemas.events import decode_event_list

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SEQUENCE_JUMP = 1_000_000
"""Added to a number that may be older than the last one used: no number is used twice."""
_LONGEST_HOLE = 100_000
_PORTION = 256
_ROWIDS_OF_ENTRIES = (
    "SELECT rowid FROM entries NOT INDEXED ORDER BY rowid",
    "SELECT rowid FROM entries INDEXED BY sqlite_autoindex_entries_1 ORDER BY monitor",
)

_LEDGERS = (
    """INSERT INTO main.ledgers SELECT m.key, l.device, l.inode, l.mount_point FROM old.ledgers l
    JOIN old.monitors o ON o.key = l.monitor JOIN main.monitors m ON m.id = o.id""",
    """INSERT INTO main.directories SELECT d.key, m.key, d.parent, d.name, d.entered, d.mounted FROM old.directories d
    JOIN old.monitors o ON o.key = d.monitor JOIN main.monitors m ON m.id = o.id""",
    """INSERT INTO main.files SELECT directory, name, inode, size, mtime_ns, type FROM old.files
    WHERE directory IN (SELECT key FROM main.directories)""",
)


@dataclass(slots=True)
class Salvaged:
    """How much came out: monitors in all and those of which only the list beside the store knew; blocks."""

    monitors: int = 0
    monitors_from_list: int = 0
    requests: int = 0
    blocks: int = 0
    blocks_lost: int = 0
    is_partial: bool = False
    has_ledgers: bool = False
    sequences: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """For the log."""
        partial = ", others could not be read" if self.is_partial else ""
        lost = f", {self.blocks_lost} could not be read" if self.blocks_lost else partial
        known = (
            f" ({self.monitors_from_list} as the list beside it has them)" if self.monitors_from_list else ""
        )
        ledgers = ", and their ledgers" if self.has_ledgers else ", without their ledgers"
        return f"saved: {self.monitors} monitors{known}{ledgers}, {self.blocks} blocks{lost}"


def salvage(damaged: Path, fresh: Path, listed: Sequence[MonitorRecord]) -> Salvaged:
    """Copies what can be read of the store `damaged` into `fresh`, a new one that is empty; blocks for as long.

    Args:
        damaged: The file; `-wal` and `-shm` beside it.
        fresh: A store without anything in it, not open.
        listed: The monitors of the list beside the store.

    Raises:
        StoreError: The new store could not be written.
        OSError: There was no room for a copy of the damaged one.
    """
    result = Salvaged()
    log_is_damaged = problem_of_old_log(damaged) is not None
    failure = f"what could be read of the damaged store could not be written to {fresh}"
    with (
        translated(failure),
        contextlib.closing(sqlite3.connect(uri_of(fresh, "rw"), uri=True, isolation_level=None)) as target,
    ):
        with readable(damaged, fresh) as source:
            records, is_complete = ([], False) if source is None else _monitors(source)
            log_is_damaged = log_is_damaged or source is None or problem_of_log(copy_of(damaged)) is not None
            known = [
                replace(each, sequence=each.sequence + SEQUENCE_JUMP * log_is_damaged) for each in records
            ]
            names = {record.id for record in known}
            for each in [] if is_complete and not log_is_damaged else listed:
                if each.id not in names:
                    known.append(replace(each, sequence=each.sequence + SEQUENCE_JUMP))
                    result.monitors_from_list += 1
            keys = _write_monitors(target, known)
            result.monitors = len(known)
            if source is not None:
                result.requests = _copy_requests(source, target)
                _copy_entries(source, target, keys, result)
                result.has_ledgers = _copy_ledgers(copy_of(damaged), target)
        _raise_sequences(target, result.sequences)
    return result


def _rows(source: sqlite3.Connection, query: str) -> tuple[list[tuple[object, ...]], bool]:
    """The rows up to the first that cannot be read, and whether that was all of them."""
    found: list[tuple[object, ...]] = []
    try:
        found.extend(source.execute(query))
    except (sqlite3.Error, OverflowError):
        return found, False
    return found, True


def _rows_from_both_ends(source: sqlite3.Connection, query: str) -> tuple[list[tuple[object, ...]], bool]:
    rows, is_complete = _rows(source, query)
    if not is_complete:
        rows += [row for row in reversed(_rows(source, f"{query} DESC")[0]) if row not in rows]
    return rows, is_complete


def _monitors(source: sqlite3.Connection) -> tuple[list[MonitorRecord], bool]:
    query = "SELECT id, spec, state, sequence, created_at FROM monitors NOT INDEXED ORDER BY key"
    rows, is_complete = _rows_from_both_ends(source, query)
    kinds = (str, str, str, int, int)
    records = {
        row[0]: MonitorRecord(*row)  # type: ignore[arg-type]  # their types are what is looked at
        for row in rows
        if all(isinstance(value, kind) for value, kind in zip(row, kinds, strict=True))
    }
    sound = [record for record in records.values() if record.is_sound]
    return sound, is_complete and len(sound) == len(rows)


def _write_monitors(target: sqlite3.Connection, records: Sequence[MonitorRecord]) -> dict[str, int]:
    with target:
        target.execute("BEGIN")
        target.executemany(
            "INSERT INTO monitors (id, spec, state, sequence, created_at) VALUES (?, ?, ?, ?, ?)",
            [(each.id, each.spec, each.state, each.sequence, each.created_at) for each in records],
        )
        target.executemany("INSERT INTO damaged VALUES (?)", [(each.id,) for each in records])
    return dict(target.execute("SELECT id, key FROM monitors"))


def _copy_requests(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    query = "SELECT request_key, monitor_id, created_at FROM requests ORDER BY request_key"
    rows = _rows_from_both_ends(source, query)[0]
    sound = [row for row in rows if [type(value) for value in row] == [str, str, int]]
    with target:
        target.execute("BEGIN")
        target.executemany("INSERT OR IGNORE INTO requests VALUES (?, ?, ?)", sound)
    return len(sound)


def _copy_entries(
    source: sqlite3.Connection, target: sqlite3.Connection, keys: dict[str, int], result: Salvaged
) -> None:
    named, guessed = _entry_rowids(source)
    result.is_partial = bool(guessed)
    rowids = sorted(named.union(guessed))
    missed = 0  # places between two blocks where nothing could be read
    for start in range(0, len(rowids), _PORTION):
        with target:
            target.execute("BEGIN")
            for rowid in rowids[start : start + _PORTION]:
                row = _entry(source, rowid)
                key = None if row is None else keys.get(row[0])
                if row is None or key is None:
                    result.blocks_lost += rowid in named
                    missed += rowid not in named
                    continue
                statement = "INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?, ?, ?)"
                result.blocks += target.execute(statement, (key, *row[1])).rowcount
                result.blocks_lost += missed
                missed = 0
                result.sequences[row[0]] = max(result.sequences.get(row[0], 0), row[1][0])


def _entry_rowids(source: sqlite3.Connection) -> tuple[set[int], range]:
    """Where blocks are, as table or index name them from either end; and where more may be, between or after."""
    named: set[int] = set()
    guessed = range(0)
    for query in _ROWIDS_OF_ENTRIES:
        ends = _rows(source, query), _rows(source, f"{query} DESC")
        from_start, from_end = ([row[0] for row in rows if isinstance(row[0], int)] for rows, _ in ends)
        named.update(from_start, from_end)
        if not ends[0][1] and from_start and not guessed:
            guessed = range(max(from_start) + 1, min(from_end, default=max(from_start) + _LONGEST_HOLE))
    return named, guessed[:_LONGEST_HOLE]


def _entry(source: sqlite3.Connection, rowid: int) -> tuple[str, tuple[int, str, int, int, bytes]] | None:
    """The monitor's id as the block itself has it, and the rest of the row; None if it is not a sound one."""
    query = "SELECT sequence, routing_key, event_count, created_at, body FROM entries WHERE rowid = ?"
    try:
        row = source.execute(query, (rowid,)).fetchone()
        if row is None or [type(value) for value in row] != [int, str, int, int, bytes]:
            return None
        block = decode_event_list(row[4])
    except (sqlite3.Error, OverflowError, DecodeError):
        return None
    return (block.monitor_id, row) if block.sequence == row[0] else None


def _copy_ledgers(copy: Path, target: sqlite3.Connection) -> bool:
    """Takes the ledgers along, all of them or none: what is wrong in one would be reported as a change."""
    try:
        target.execute("ATTACH ? AS old", (uri_of(copy, "ro"),))
        with target:
            target.execute("BEGIN")
            for statement in _LEDGERS:
                target.execute(statement)
    except sqlite3.Error:
        return False
    finally:
        with contextlib.suppress(sqlite3.Error):  # it was too damaged to be attached
            target.execute("DETACH old")
    return True


def _raise_sequences(target: sqlite3.Connection, sequences: dict[str, int]) -> None:
    with target:
        target.execute("BEGIN")
        target.executemany(
            "UPDATE monitors SET sequence = max(sequence, ?) WHERE id = ?",
            [(sequence, monitor_id) for monitor_id, sequence in sequences.items()],
        )
