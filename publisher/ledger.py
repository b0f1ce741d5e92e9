"""What one monitor has reported: every file and directory that its subscriber knows of, as it was told.

The difference between the ledger and the disk is what is still owed: after a crash, a restart, an overflow, an
outage. A change of the ledger waits here for the block that reports it, and is written in its transaction.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from publisher.storing.ledger_tables import DirectoryRow, LedgerChanges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from publisher.sighting import Signature
    from publisher.storing.ledger_tables import LedgerRoot, LedgerTables

LEARN_ROWS = 2000
"""How many rows a monitor that starts writes in one transaction."""
LOAD_ROWS = 2000

_position = itemgetter(0)
_Change = TypeVar("_Change", bound=tuple[Any, ...])


class KnownFile(NamedTuple):
    """A file of the ledger."""

    name: str
    signature: Signature


class Ledger:
    """One monitor's ledger. The reader thread's, but for `learn_*`, which belong to the thread that starts it.

    `position` is the number of events that were accepted so far; a change is written with the block that
    holds the event of its position.
    """

    __slots__ = ("_directories", "_files", "_learned", "_monitor_id", "_tables", "position")

    def __init__(self, monitor_id: str, tables: LedgerTables) -> None:
        """The ledger of a monitor that the store knows."""
        self._monitor_id = monitor_id
        self._tables = tables
        self._files: list[tuple[int, int, str, Signature | None]] = []
        self._directories: list[tuple[int, int, DirectoryRow | None]] = []
        self._learned = LedgerChanges()
        self.position = 0

    # Reports

    def put_file(self, directory: int, name: str, signature: Signature) -> None:
        """A file was reported with this content; call it after its event was accepted."""
        self._files.append((self.position, directory, name, signature))

    def drop_file(self, directory: int, name: str) -> None:
        """A file's deletion was reported."""
        self._files.append((self.position, directory, name, None))

    def put_directory(self, row: DirectoryRow) -> None:
        """A directory was reported, or has another place now."""
        self._directories.append((self.position, row.key, row))

    def drop_directory(self, key: int) -> None:
        """A directory's deletion was reported; what was in it goes with it."""
        self._directories.append((self.position, key, None))

    def take(self, position: int) -> LedgerChanges:
        """The changes of all events up to that number, which are recorded with them."""
        changes = LedgerChanges()
        latest = {
            (directory, name): signature for _, directory, name, signature in _cut(self._files, position)
        }
        changes.files = [
            (directory, name.encode("utf-8", "surrogateescape"), *signature)
            for (directory, name), signature in latest.items()
            if signature is not None
        ]
        if len(changes.files) < len(latest):
            changes.gone_files = [
                (directory, name.encode("utf-8", "surrogateescape"))
                for (directory, name), signature in latest.items()
                if signature is None
            ]
        last = {key: row for _, key, row in _cut(self._directories, position)}
        for key, row in last.items():
            if row is None:
                changes.gone_directories.append(key)
            else:
                changes.directories.append(row)
        return changes

    def discard(self) -> None:
        """Forgets the changes that wait: their events will not be recorded."""
        self._files.clear()
        self._directories.clear()

    # Beginnings

    def new_key(self) -> int:
        """A key for a directory."""
        return self._tables.new_key()

    def learn_directory(self, row: DirectoryRow) -> None:
        """A directory was there before the monitor started."""
        directories = self._learned.directories
        directories.append(row)
        if len(directories) >= LEARN_ROWS:
            self.learn()

    def learn_file(self, directory: int, name: str, signature: Signature) -> None:
        """A file was there before the monitor started."""
        files = self._learned.files
        files.append((directory, name.encode("utf-8", "surrogateescape"), *signature))
        if len(files) >= LEARN_ROWS:
            self.learn()

    def learn(self) -> None:
        """Writes what was learned until now; raises StoreError."""
        learned, self._learned = self._learned, LedgerChanges()
        if learned:
            self._tables.learn(self._monitor_id, learned)

    def clear(self) -> None:
        """Empties it, as the monitor starts from what is there; raises StoreError."""
        self._learned = LedgerChanges()
        self.discard()
        self._tables.drop(self._monitor_id)

    def begin(self, root: LedgerRoot) -> None:
        """It is complete, and its monitor Started; raises StoreError."""
        self._tables.begin(self._monitor_id, root)

    # What an earlier run left

    def root(self) -> LedgerRoot | None:
        """Which directory it is about, None if there is no ledger: the monitor was not started."""
        return self._tables.root(self._monitor_id)

    def directories(self) -> list[DirectoryRow]:
        """All directories."""
        return self._tables.directories(self._monitor_id)

    def signatures(self, directory: int) -> dict[str, Signature]:
        """With which content each file of a directory was reported."""
        found = {file.name: file.signature for portion in self.files(directory) for file in portion}
        for _, key, name, signature in self._files:
            if key != directory:
                continue
            if signature is None:
                found.pop(name, None)
            else:
                found[name] = signature
        return found

    def signature(self, directory: int, name: str) -> Signature | None:
        """With which content a file was reported, None if it was not."""
        for _, key, waiting, signature in reversed(self._files):
            if (key, waiting) == (directory, name):
                return signature
        return self._tables.file(directory, name.encode("utf-8", "surrogateescape"))

    def files(self, directory: int) -> Iterator[list[KnownFile]]:
        """The files of one directory, in portions."""
        after = b""
        while True:
            rows = self._tables.files(directory, after, LOAD_ROWS)
            yield [KnownFile(name.decode("utf-8", "surrogateescape"), signature) for name, signature in rows]
            if len(rows) < LOAD_ROWS:
                return
            after = rows[-1][0]


def _cut(changes: list[_Change], position: int) -> list[_Change]:
    """Takes the changes up to a position out of the list."""
    if not changes:
        return []
    number = len(changes)
    if changes[-1][0] > position:
        number = bisect_right(changes, position, key=_position)
    taken = changes[:number]
    del changes[:number]
    return taken
