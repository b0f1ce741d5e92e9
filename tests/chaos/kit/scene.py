"""The service under fire and who listens to it: a subscriber that hands every message to its judge."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.brokers import VirtualHost
from tests.chaos.kit.judge import Finding, Judge
from tests.chaos.kit.load import Load
from tests.chaos.kit.truth import Truth, on_disk
from tests.clients.service import Service
from tests.clients.wire import Message, Subscription, WireClient

Json = dict[str, Any]

# Less waiting for what is not to come. The quiet time is longer than any of these.
QUICK = {
    "FSHERALD_MODIFY_INTERVAL_SECONDS": "0.25",
    "FSHERALD_SETTLE_SECONDS": "0.25",
    "FSHERALD_POLL_INTERVAL_SECONDS": "0.1",
}
QUIET_SECONDS = 0.5
SETTLE_SECONDS = 15.0
_MOST_HISTORIES = 3
_MOST_SHOWN = 25


class Witness:
    """A started monitor that reports everything, and what was heard of it until now.

    Its connection goes to the broker itself, past any proxy of the service's; it hears when it is asked something.
    """

    def __init__(self, scene: Scene, root: Path, *, monitor: str, judge: Judge, client: WireClient) -> None:
        self.scene = scene
        self.root = root
        self.monitor = monitor
        self.judge = judge
        self.client = client
        self.messages: list[Message] = []
        self._judged = 0
        self._subscription = self.subscribe()

    def subscribe(self, client: WireClient | None = None) -> Subscription:
        """Bind a new queue to the monitor's exchange and listen to it too, on another connection if one is given."""
        self.client = client or self.client
        self._subscription = self.client.subscribe(self.exchange)
        self._subscription.messages = self.messages
        return self._subscription

    def unsubscribe(self) -> None:
        """Listen no more; what is published from now on finds no queue, what was before is heard."""
        self.client.channel.queue_unbind(self._subscription.queue, self.exchange, "#")
        self.until_quiet()

    @property
    def exchange(self) -> str:
        """The monitor's exchange."""
        return f"fsherald.monitor.{self.monitor}"

    def hear(self) -> Judge:
        """The judge, with all that has arrived."""
        while self._judged < len(self.messages):
            self.judge.take(self.messages[self._judged])
            self._judged += 1
        return self.judge

    def _listen(self, seconds: float) -> bool:
        """Wait for the next message; whether one came."""
        arrived = len(self.messages)
        self.client.pump(lambda: len(self.messages) > arrived, seconds)
        return len(self.messages) > arrived

    def until(self, is_so: Callable[[Judge], object], *, seconds: float = 30.0, what: str = "") -> None:
        """Listen until the judge has heard something."""
        deadline = time.monotonic() + seconds
        while not is_so(self.hear()):
            if time.monotonic() >= deadline:
                self.fail(f"{what or 'what was waited for'} did not come within {seconds:g} s", [])
            self._listen(0.25)

    def until_told(self, code: str, *, times: int = 1, seconds: float = 15.0) -> None:
        """Listen until a System event with that code has come so often."""
        self.until(lambda judge: len(judge.told(code)) >= times, seconds=seconds, what=f"System {code}")

    def stays_silent(self, *, seconds: float = QUIET_SECONDS) -> bool:
        """Whether nothing arrives for so long, after what has arrived already."""
        return not self._listen(seconds)

    def until_quiet(self) -> None:
        """Listen until nothing arrives any more."""
        while self._listen(QUIET_SECONDS):
            pass
        self.hear()

    def settle(
        self,
        truth: Truth | None = None,
        *,
        load: Load | None = None,
        changes: Mapping[str, int] | None = None,
        seconds: float = SETTLE_SECONDS,
    ) -> None:
        """Wait until the truth is known to the subscriber and nothing more comes, and accept no finding at all.

        Args:
            truth: What exists; the disk below the monitor's root unless given.
            load: Who made it, if a load did: finished first, and every report needs a cause.
            changes: As `Judge.verdict` takes them.
            seconds: How long the truth may take to arrive.
        """
        if load is not None:
            load.finish()
            changes = load.changes
        wanted = truth if truth is not None else on_disk(self.root, load.touched if load else None)
        deadline = time.monotonic() + seconds
        while self.hear().owed(wanted) and not self.judge.has_found and time.monotonic() < deadline:
            self._listen(0.5)
        self.until_quiet()
        findings = self.judge.verdict(wanted, changes)
        if findings:
            self.fail(f"{len(findings)} findings", findings)

    def fail(self, why: str, findings: list[Finding]) -> None:
        """Fail the test with all that helps to understand it."""
        shown = [f"  {finding}" for finding in findings[:_MOST_SHOWN]]
        systems = [f"  {json.dumps(event['detail'])}" for event in self.judge.systems[-10:]]
        lines = [why, *shown, f"last block {self.judge.last}, System events:", *systems]
        about = {finding.about for finding in findings[:_MOST_HISTORIES]}
        lines += [f"  {json.dumps(event)}" for event in self.judge.events if event["fileId"] in about]
        text = "\n".join([*lines, "the service said last:", *self.scene.log()[-15:]])
        raise AssertionError(text.replace(f"{self.root}/", ""))

    def describe(self) -> Json:
        """What describeMonitor answers."""
        return dict(self.client.call("describeMonitor", id=self.monitor))

    def coverage(self) -> tuple[int, int, bool]:
        """Directories found, watched, and whether some are polled."""
        told = self.describe()["coverage"]
        return told["directories"], told["watched"], told["polled"]


class Scene:
    """A running service on a virtual host of its own, the directory it may watch, and its witnesses.

    `root` is on a disk unless a test puts it elsewhere. `url` is the broker's own; the service may have another.
    """

    def __init__(self, service: Service, vhost: VirtualHost, root: Path) -> None:
        self.service = service
        self.vhost = vhost
        self.root = root
        self._clients: list[WireClient] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.close()

    def client(self) -> WireClient:
        """A new connection to the broker."""
        client = WireClient(self.vhost.url)
        self._clients.append(client)
        return client

    def watch(
        self, root: Path | None = None, *, client: WireClient | None = None, **params: object
    ) -> Witness:
        """Create, subscribe, start: a monitor of everything below `root`; what is there now is known."""
        directory, connection = root or self.root, client or self.client()
        monitor = connection.create(directory, **params)
        started = time.time()
        baseline = on_disk(directory) if os.access(directory, os.R_OK) else {}
        judge = Judge(monitor, baseline, started=started)
        witness = Witness(self, directory, monitor=monitor, judge=judge, client=connection)
        connection.call("startMonitor", id=monitor)
        return witness

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The service is stopped meanwhile (SIGSTOP), as by an overloaded machine or a debugger."""
        self.service.pause()
        try:
            yield
        finally:
            self.service.resume()

    def metric(self, name: str) -> float:
        """One figure of the service's metrics, summed over its labels."""
        values = [
            line.rsplit(" ", 1)[1] for line in self.service.metrics().splitlines() if _names(line, name)
        ]
        return sum(map(float, values))

    def log(self, *, least: tuple[str, ...] = ("warning", "error", "critical")) -> list[str]:
        """What the service has logged of consequence, and what it wrote that is no log entry."""
        lines = self.service.output.splitlines()
        return [line for line in lines if not line.startswith("{") or _level(line) in least]


def _names(line: str, metric: str) -> bool:
    return line.startswith((f"{metric} ", f"{metric}{{", f"{metric}_total "))


def _level(line: str) -> str:
    try:
        return str(json.loads(line).get("level"))
    except ValueError:
        return "warning"


def numbered(stem: str, count: int) -> list[str]:
    """Names with numbers: `stem-0` and so on."""
    return [f"{stem}-{number}" for number in itertools.islice(itertools.count(), count)]
