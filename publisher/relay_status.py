"""How the relay is doing, for those who ask: health, metrics, tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """How the relay is doing, at some moment of late.

    Attributes:
        connected: Blocks can be published.
        blocked: The broker has stopped reading them, being short of memory or disk.
        last_error: What an operator should look at; None when nothing is wrong.
        confirmed: Blocks that the broker has taken since the start, repeated ones included.
        returned: Blocks that came back because no queue took them.
        nacked: Blocks that the broker refused to keep.
        reconnects: How often the connection had to be opened again.
        held: The monitors whose blocks wait for a queue, or for a broker that takes them.
        store_problem: Why the state directory does not serve; None while it does.
    """

    connected: bool
    blocked: bool
    last_error: str | None
    confirmed: int
    returned: int
    nacked: int
    reconnects: int
    held: frozenset[str]
    store_problem: str | None = None
