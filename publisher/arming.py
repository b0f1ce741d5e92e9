"""Makes the watch of a monitor: which parts it takes, and what to say when it cannot be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from publisher.admission import unreported_kind
from publisher.settling import Settler
from publisher.sighting import look, look_from_afar
from publisher.watching.polling import TreePoll
from publisher.watching.watch import Watch
from publisher.watching.watcher import Watcher

if TYPE_CHECKING:
    from typing import Protocol

    from publisher.filters import Filter
    from publisher.ledger import Ledger
    from publisher.roots import Roots
    from publisher.storing.ledger_tables import LedgerRoot
    from publisher.watching.descriptors import Sink
    from publisher.watching.polling import Poller
    from publisher.watching.reader import Reader
    from schemas.events import EventInfo
    from schemas.monitors import MonitorSpec

    class WatchOwner(Sink, Protocol):
        """Who hears of what is watched: a monitor. Called on the reader thread."""

        def accept(self, events: list[EventInfo]) -> None:
            """Takes events that are settled and wanted, side by side."""

        def has_room(self) -> bool:
            """Whether more of what is found by listing can be recorded now."""

        def tick(self, now: float) -> None:
            """Is told to go on with what it was given."""

        def root_lost(self, how: str) -> None:
            """Is told that the monitor's own directory is gone."""

        def limited(self, reason: str | None) -> None:
            """Is told why the kernel has no watches left, or None when it has again."""


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """What the operator sets for all monitors, in seconds.

    Attributes:
        block_interval_seconds: The longest a partial block is held.
        modify_interval_seconds: How often a file that stays open and grows is reported.
        settle_seconds: How long a file must be quiet where nothing tells whether it is still open.
    """

    block_interval_seconds: float = 0.1
    modify_interval_seconds: float = 1.0
    settle_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Arming:
    """What all monitors' watches share."""

    roots: Roots
    reader: Reader
    poller: Poller
    settings: MonitorSettings

    def watch(
        self, spec: MonitorSpec, root: LedgerRoot, *, filter_: Filter, ledger: Ledger, owner: WatchOwner
    ) -> Watch:
        """A watch of the directory that `root` says is at the monitor's path, not armed yet.

        Raises:
            OmeroFSError: The path cannot be opened.
        """
        is_share = unreported_kind(spec, self.roots) is not None
        settler = Settler(
            settle_seconds=self.settings.settle_seconds,
            modify_interval_seconds=self.settings.modify_interval_seconds,
            look=look_from_afar if is_share else look,
            has_room=owner.has_room,
        )
        watcher = Watcher(
            spec.path_string,
            spec.p_mode,
            roots=self.roots,
            filter_=filter_,
            settler=settler,
            ledger=ledger,
            emit=owner.accept,
            root_lost=owner.root_lost,
            limited=owner.limited,
            has_room=owner.has_room,
            is_share=is_share,
        )
        poll = TreePoll(
            spec.path_string,
            root,
            roots=self.roots,
            filter_=filter_,
            reader=self.reader,
            watcher=watcher,
            tick=owner.tick,
        )
        return Watch(self.reader, self.poller, owner, watcher, poll)
