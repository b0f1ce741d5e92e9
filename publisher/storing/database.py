"""The store's connection to SQLite: opened, guarded, its failures in our words, and a way out of a full disk.

One connection and one lock serve every thread: SQLite admits one writer at a time anyway, and a lock hands
over at once where SQLite's own busy handler sleeps for milliseconds. The lock is held for one transaction.

A file that turns out to be damaged is marked (`….suspect`): the next start looks at all of it
(`publisher.storing.inspection`).
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import threading
from typing import TYPE_CHECKING, Concatenate, Literal, ParamSpec, Protocol, TypeVar

import structlog

from publisher.errors import DamagedStoreError, StoreError, StoreFullError
from publisher.storing.soundness import beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from publisher.storing.reserve import Reserve

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_LOG_LIMIT_BYTES = 8 << 20
"""What is left of the log's file on the disk after a transaction that was larger."""
_STEPS_OF_SHRINKING = 16

_log = structlog.get_logger(__name__)
_SYNCHRONOUS = {True: "FULL", False: "NORMAL"}


class Database:
    """One file. Methods may be called from any thread, but for opening; they block for one transaction."""

    def __init__(
        self,
        path: Path,
        *,
        durability: Literal["process", "power"],
        reserve: Reserve | None = None,
        on_damaged: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Opens or makes the file.

        Args:
            path: The file; SQLite puts two more beside it.
            durability: `power` syncs it to the disk with every transaction.
            reserve: Room for getting a full disk empty; none is kept unless given.
            on_damaged: Hears once that the file turned out to be damaged while in use; every call fails then.

        Raises:
            DamagedStoreError: It is not a database, or not a whole one.
            StoreFullError: There is no room to open it.
            StoreError: It cannot be opened.
        """
        self.path = path
        self._lock = threading.Lock()  # guards the connection: one transaction at a time
        self._durability = durability
        self._reserve = reserve
        self._on_damaged = on_damaged
        self._damage: DamagedStoreError | None = None
        self._is_open = False
        with translated(f"the store {path} could not be opened"):
            self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._configure()
            except BaseException:
                self.connection.close()
                raise

    def opened(self) -> None:
        """The owner has found in it what should be there: damage is reported from now on, the reserve taken."""
        if self._reserve is not None:
            self._reserve.restore()
        self._is_open = True

    def close(self) -> None:
        """Closes the file; harmless when closed already."""
        with self._lock:
            self.connection.close()

    @contextlib.contextmanager
    def transaction(self, failure: str, *, synced: bool | None = None) -> Iterator[sqlite3.Connection]:
        """One transaction; `failure` begins the sentence of the StoreError that ends it.

        Args:
            failure: What could not be done.
            synced: Whether a power cut cannot take it back; as the durability has it unless given. What is not
                synced by itself is with the next one that is.
        """
        with self._lock, self._watched(failure), self._synced(synced), self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection

    @contextlib.contextmanager
    def reading(self, failure: str) -> Iterator[sqlite3.Connection]:
        """The same for what only reads."""
        with self._lock, self._watched(failure):
            yield self.connection

    def require_room(self) -> None:
        """To be asked before anything is recorded.

        Raises:
            StoreFullError: The reserve is used and the disk still full.
        """
        if self._has_reserve():
            return
        with self._lock:
            if not self._has_reserve() and not self._regain():
                msg = f"the disk of {self.path.parent} is full"
                raise StoreFullError(msg)

    def give_up_reserve(self) -> bool:
        """Makes room for one more attempt; whether there was any left to make."""
        with self._lock:
            return self._give_up()

    def regain_reserve(self) -> None:
        """Takes back what the disk has room for, when the reserve had to be given up."""
        if self._has_reserve():
            return
        with self._lock:
            if not self._has_reserve():
                self._regain()

    def _has_reserve(self) -> bool:
        """Asked for each block, without the lock too: what has changed this moment is noticed by what comes next."""
        return self._reserve is None or self._reserve.is_whole

    def give_back(self) -> bool:
        """Gives the file's free pages back to a full disk; whether there were any and the reserve is whole."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            return self._reserve is not None and self._free_pages() > 0 and self._give_up() and self._regain()
        return False

    def _give_up(self) -> bool:
        if self._reserve is None or not self._reserve.release():
            return False
        with contextlib.suppress(sqlite3.Error):
            self._write_log_back()
        return True

    def _regain(self) -> bool:
        assert self._reserve is not None  # noqa: S101 - all callers have looked; for the type checker
        with contextlib.suppress(
            sqlite3.Error
        ):  # a disk too full for this is a disk too full for the reserve
            self._write_log_back()
            for _ in range(_STEPS_OF_SHRINKING):
                if self._free_pages() == 0:
                    break
                self.connection.execute(f"PRAGMA incremental_vacuum({self._reserve.log_pages})").fetchall()
                self._write_log_back()
        return self._reserve.restore()

    def _free_pages(self) -> int:
        return int(self.connection.execute("PRAGMA freelist_count").fetchone()[0])

    def _write_log_back(self) -> None:
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _configure(self) -> None:
        execute = self.connection.execute
        if self.path.stat().st_size == 0:  # no other would heed it
            execute("PRAGMA auto_vacuum=INCREMENTAL")
        execute("PRAGMA journal_mode=WAL")
        execute(f"PRAGMA synchronous={_SYNCHRONOUS[self._durability == 'power']}")
        # Debian's SQLite overwrites what is deleted, by way of the log: 15 times the writes for forgetting blocks.
        execute("PRAGMA secure_delete=OFF")
        execute(f"PRAGMA journal_size_limit={_LOG_LIMIT_BYTES}")
        if self._reserve is not None:
            execute(f"PRAGMA wal_autocheckpoint={self._reserve.log_pages}")

    @contextlib.contextmanager
    def _synced(self, synced: bool | None) -> Iterator[None]:
        usual = self._durability == "power"
        if synced is None or synced == usual:
            yield
            return
        self.connection.execute(f"PRAGMA synchronous={_SYNCHRONOUS[synced]}")
        try:
            yield
        finally:
            self.connection.execute(f"PRAGMA synchronous={_SYNCHRONOUS[usual]}")

    @contextlib.contextmanager
    def _watched(self, failure: str) -> Iterator[None]:
        if self._damage is not None:
            raise self._damage
        try:
            with translated(failure):
                yield
        except DamagedStoreError as exc:
            if self._is_open:
                self._report(exc)
            raise

    def _report(self, exc: DamagedStoreError) -> None:
        self._damage = exc
        remedy = "the next start sets it aside and saves what can be read"
        _log.critical("the store is damaged", file=str(self.path), reason=str(exc), remedy=remedy)
        with contextlib.suppress(OSError):
            beside(self.path, ".suspect").touch()
        if self._on_damaged is not None:
            self._on_damaged(exc)


class HasDatabase(Protocol):
    """An object on top of a database."""

    database: Database


class Tables:
    """Some tables of the store. Every method of theirs may be called from any thread and blocks for one transaction.

    A failure of the disk is raised as `StoreError`.
    """

    def __init__(
        self, database: Database, keys: Mapping[str, int], monitors_changed: Callable[[], None]
    ) -> None:
        """Shares the store's connection and lock.

        Args:
            database: The store's.
            keys: The monitors' keys by their ids.
            monitors_changed: Called when a monitor's state was stored.
        """
        self.database = database
        self._transaction = database.transaction
        self._reading = database.reading
        self._keys = keys
        self._monitors_changed = monitors_changed


P = ParamSpec("P")
R = TypeVar("R")
Owner = TypeVar("Owner", bound=HasDatabase)


def takes_room(method: Callable[Concatenate[Owner, P], R]) -> Callable[Concatenate[Owner, P], R]:
    """For a method that makes the file grow: it is refused while the reserve is in use.

    A full disk may be full of our own free pages: it is tried once more when these have been given back.
    """

    def careful(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> R:
        self.database.require_room()
        try:
            return method(self, *args, **kwargs)
        except StoreFullError:
            if not self.database.give_back():
                raise
        return method(self, *args, **kwargs)

    return functools.update_wrapper(careful, method)


def frees_room(method: Callable[Concatenate[Owner, P], R]) -> Callable[Concatenate[Owner, P], R]:
    """For a method that gets a full disk empty: it may use the reserve, and is tried again with it."""

    def stubborn(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = method(self, *args, **kwargs)
        except StoreFullError:
            if not self.database.give_up_reserve():
                raise
            result = method(self, *args, **kwargs)
        self.database.regain_reserve()
        return result

    return functools.update_wrapper(stubborn, method)


@contextlib.contextmanager
def translated(failure: str) -> Iterator[None]:
    """SQLite's errors as ours; `failure` begins the sentence."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _kind(exc)(f"{failure}: {exc}") from exc


def _kind(exc: sqlite3.Error) -> type[StoreError]:
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return DamagedStoreError
    return StoreFullError if code == sqlite3.SQLITE_FULL else StoreError
