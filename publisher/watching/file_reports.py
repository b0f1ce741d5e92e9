"""What is told of files: each event, and with it what is known of the file from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from publisher.sighting import UNSEEN, glance
from publisher.watching.reports import Fresh
from publisher.watching.tree import fingerprint
from schemas.events import EventInfo

if TYPE_CHECKING:
    from publisher.ledger import Ledger
    from publisher.settling import Settler, Verdict
    from publisher.sighting import Signature
    from publisher.watching.reports import Reports
    from publisher.watching.tree import Directory


class FileReports:
    """Reports files and keeps tree and ledger true to what was reported. The reader thread's.

    The ledger hears of each event after that was sent: a change is written with the block of its event.
    """

    def __init__(self, settler: Settler, reports: Reports, ledger: Ledger) -> None:
        self._settler = settler
        self._reports = reports
        self._ledger = ledger
        self.fresh = Fresh()
        self._dropped: list[tuple[int, str]] = []

    def report(
        self,
        directory: Directory,
        name: str,
        verdict: Verdict,
        signature: Signature | None,
        *,
        scanned: bool = False,
    ) -> None:
        """A file is new, or has new content."""
        origin: Literal["scan"] | None = "scan" if scanned else None
        self._reports.send_file(EventInfo(directory.prefix + name, name, verdict, None, origin))
        self.know(directory, name, signature)

    def report_found(
        self,
        directory: Directory,
        name: str,
        verdict: Verdict,
        signature: Signature | None,
        *,
        scanned: bool = True,
    ) -> None:
        """As `report`, of what a look shows that no record has asked for: records of it may be on their way."""
        if signature is not None:
            self.fresh.remember(directory.prefix + name, signature)
        self.report(directory, name, verdict, signature, scanned=scanned)

    def report_moved(self, directory: Directory, name: str, before: Signature | None) -> None:
        """A known file is in another place: what was to be told of its content is told with that.

        Where it cannot be seen, being in yet another place, it is known as it was `before`.
        """
        path = directory.prefix + name
        signature = glance(path)
        self.report(directory, name, "Create", signature or before)
        if signature is not None:
            self.fresh.remember(path, signature)
            self._settler.told(path)

    def know(self, directory: Directory, name: str, signature: Signature | None) -> None:
        """The subscriber knows of this file from now on."""
        signature = signature or UNSEEN
        directory.know(name, fingerprint(signature))
        self._ledger.put_file(directory.key, name, signature)

    def forget(self, directory: Directory, name: str) -> list[EventInfo]:
        """The Delete of a file that is known, after the Create that it is owed still; nothing for any other.

        Nothing either if a directory is known to have taken its place. Whoever calls sends it by `send_deletions`.
        """
        path = directory.prefix + name
        self.fresh.forget(path)
        owed = self._settler.forget(path)
        if (name not in directory.files and not owed) or name in directory.directories:
            return []
        directory.forget(name)
        self._dropped.append((directory.key, name))
        created = [EventInfo(path, name, "Create")] if "Create" in owed else []
        return [*created, EventInfo(path, name, "Delete")]

    def send_deletions(self, events: list[EventInfo]) -> None:
        """Sends what `forget` gave, and what belongs beside it."""
        self._reports.send(events)
        for key, name in self._dropped:
            self._ledger.drop_file(key, name)
        self._dropped.clear()

    def remember_directory(self, directory: Directory) -> None:
        """A listing has told of it: records of one that had the name before may be on their way."""
        inode = _inode(directory.path)
        if inode is not None:
            self.fresh.remember(directory.path, inode)

    def is_another_life(self, path: str) -> bool:
        """Whether a record of an end tells of a file that had the name before one that a listing has told."""
        told = self.fresh.signature(path)
        return told is not None and glance(path) == told

    def is_another_directory(self, directory: Directory) -> bool:
        """As `is_another_life` for a directory, of which the content counts for nothing."""
        told = self.fresh.signature(directory.path)
        return told is not None and _inode(directory.path) == told

    def is_old_news(self, path: str) -> bool:
        """Whether a record tells only of what a listing has seen and reported already."""
        signature = self.fresh.signature(path)
        return signature is not None and glance(path) == signature


def _inode(path: str) -> Signature | None:
    """The part of a directory's signature that its content does not change."""
    signature = glance(path)
    return None if signature is None else (signature[0], 0, 0, signature[3])
