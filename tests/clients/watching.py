"""What a monitor reported, as tests speak of it: lists of `(type, path below the watched directory)`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from tests.clients.wire import Subscription, WireClient

Change = tuple[str, str]

# Longer than any time for which the service that is tested may hold an event back: its interval of Modify,
# its settle time.
_QUIET_SECONDS = 0.7


class Watch:
    """A started monitor on a directory, and what it tells.

    The end of a story is found with a fence: a file that is made last, and whose Create therefore comes last.
    """

    def __init__(self, client: WireClient, directory: Path, **params: object) -> None:
        self.client = client
        self.directory = directory
        self.monitor, self.subscription = client.watch(directory, **params)
        self.blocks: list[dict[str, Any]] = []
        self._fences = itertools.count(1)

    def told(self) -> list[Change]:
        """All changes since the last call, when nothing more comes of what has happened until now."""
        changes = self.until_fence()
        while not self.subscription.nothing(seconds=_QUIET_SECONDS):
            changes += self.one()
        return changes

    def until_fence(self) -> list[Change]:
        """All changes reported before that of a file that is made now, and those in one block with it."""
        fence = self.directory / f"fence-{next(self._fences)}"
        fence.touch()
        changes: list[Change] = []
        while True:
            changes += self.one(seconds=15)
            if any(event["fileId"] == str(fence) for event in self.blocks[-1]["events"]):
                return changes

    def one(self, *, seconds: float = 10.0) -> list[Change]:
        """The changes of the next block, fences left out."""
        block = self.subscription.block(seconds=seconds)
        self.blocks.append(block)
        fence = str(self.directory / "fence-")
        return [
            change(event, self.directory)
            for event in block["events"]
            if not event["fileId"].startswith(fence)
        ]


def change(event: dict[str, Any], directory: Path) -> Change:
    """An event in short; what is not below the directory keeps its whole path."""
    path = event["fileId"]
    prefix = f"{directory}/"
    return event["type"], path.removeprefix(prefix)


def collect(
    subscription: Subscription, directory: Path, count: int, *, seconds: float = 30.0
) -> list[Change]:
    """The first `count` changes of a subscription."""
    blocks = subscription.blocks(count, seconds=seconds)
    return [change(event, directory) for block in blocks for event in block["events"]]
