"""A delivery between an outbox in memory and a scripted broker."""

from __future__ import annotations

from collections.abc import Iterable

from publisher.delivery import Delivery
from publisher.forgetting import BUSY_SECONDS
from publisher.lanes import Lane
from publisher.window import Window
from schemas.topology import Topology
from tests.fakes import MemoryOutbox, ScriptedConnection

TOPOLOGY = Topology("NS")


class Scene:
    """A delivery between a memory outbox and a scripted broker."""

    def __init__(
        self, window_entries: int = 8, window_bytes: int = 1 << 20, outbox: MemoryOutbox | None = None
    ) -> None:
        self.connection = ScriptedConnection()
        self.outbox = outbox or MemoryOutbox()
        self.rounds: list[set[str]] = []
        self.delivery = Delivery(
            self.connection,  # type: ignore[arg-type]  # stands in for an AmqpConnection
            TOPOLOGY,
            self.outbox,
            Window(window_entries, window_bytes),
            on_round=self.note_round,
            clock=lambda: self.connection.now,
        )
        self.outbox.subscribe(lambda monitor_id: self.delivery.offer((monitor_id,)))

    def note_round(self, lanes: Iterable[Lane]) -> None:
        self.rounds.append({lane.monitor_id for lane in lanes})

    def connect(self) -> None:
        self.connection.is_open = True
        self.delivery.opened()
        self.connection.advance()

    def confirm_all(self) -> None:
        """Confirms what is in flight until nothing is sent any more and all is forgotten."""
        sent = -1
        while sent != len(self.connection.published):
            sent = len(self.connection.published)
            channel = self.connection.publishing()
            if channel.published:
                channel.confirm(max(channel.published), multiple=True)
            self.connection.advance()
        self.connection.advance(BUSY_SECONDS)

    def come_back(self, tag: int) -> None:
        """No queue takes the message with this tag."""
        channel = self.connection.publishing()
        channel.turn_back(tag)
        channel.confirm(tag)
        self.connection.advance()
