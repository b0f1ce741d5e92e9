"""The judge: takes every message of one monitor and the truth of the disk, and says what does not agree.

It knows docs/protocol.md alone. What it says is a list of findings; an empty one is the proof that every file that
exists has been reported in its final state, that what is gone has been reported deleted, that nothing was
reported twice or without a cause, and that no message was lost, swapped, or redelivered with other content.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.kit.truth import Truth
from tests.clients.wire import Message

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not agree.

    Attributes:
        kind: Of what is owed: `missing` (exists, not reported), `stale` (the last report is older than the last
            change), `ghost` (reported, gone, not reported deleted). Of what was told: `twice` (Create of what was
            reported and not deleted), `unexplained` (of what was not reported, or never was), `excess` (more reports
            than changes), `kind` (directory or not), `orphan` (a directory deleted before what is in it). Of the
            messages: `skipped`, `disordered`, `altered`, `envelope`.
        about: The path, or the number of the block.
        detail: What was seen.
    """

    kind: str
    about: str
    detail: str = ""

    def __str__(self) -> str:
        """For the message of a failed test; file names may be any bytes."""
        return f"{self.kind} {self.about!r} {self.detail}".rstrip()


@dataclass(slots=True)
class _Live:
    """What the subscriber believes to exist: told when (seconds since the epoch, whole), in which block."""

    is_dir: bool
    reported: int
    sequence: int


class Judge:
    """Of one monitor that reports everything (Follow, all types); messages in the order of their arrival."""

    def __init__(self, monitor: str, baseline: Truth | None = None, *, started: float = 0.0) -> None:
        """Takes what was there when the monitor was started, which nobody reports, and when that was."""
        self.monitor = monitor
        self.last = 0
        self.redelivered = 0
        self.systems: list[Json] = []
        self.events: list[Json] = []
        self._live = {path: _Live(entry.is_dir, int(started), 0) for path, entry in (baseline or {}).items()}
        self._bodies: dict[int, bytes] = {}
        self._reports: Counter[str] = Counter()
        self._told: set[str] = set(self._live)
        self._findings: list[Finding] = []
        self._may_repeat: set[str] = set()
        self._may_skip = False

    # What a fault excuses.

    def excuse_repetition(self) -> None:
        """The service has lost what it knew: it may report, once, what it has reported before.

        What it does not report again after a System `gap` may be gone: it cannot know that it was ever there.
        """
        self._may_repeat = set(self._live)

    def excuse_one_skip(self) -> None:
        """The service has lost count: its next number may be higher than the one that follows."""
        self._may_skip = True

    # Messages.

    def take(self, message: Message) -> None:
        """One message as it arrived."""
        block = message.json()
        sequence = int(block["sequence"])
        self._check_envelope(message, block)
        digest = hashlib.sha256(message.body + repr(sorted(message.headers.items())).encode()).digest()
        if sequence in self._bodies:
            self.redelivered += 1
            if self._bodies[sequence] != digest:
                self._find("altered", str(sequence), "redelivered with another content")
            return
        self._bodies[sequence] = digest
        self._check_sequence(sequence)
        recorded = int(message.properties.get("timestamp", 0))
        for event in block["events"]:
            self._take_event(event, recorded, sequence)

    def _check_envelope(self, message: Message, block: Json) -> None:
        sequence, events = block["sequence"], block["events"]
        types = ".".join(sorted({event["type"].lower() for event in events}))
        wanted = {
            "message_id": (message.properties.get("message_id"), f"{self.monitor}:{sequence}"),
            "sequence": (message.headers.get("sequence"), sequence),
            "eventCount": (message.headers.get("eventCount"), len(events)),
            "monitorId": (block["monitorId"], self.monitor),
            "routing key": (message.routing_key, f"{self.monitor}.{types}"),
            "alone": ("system" not in types or len(events) == 1, True),
            "empty": (not events, False),
        }
        for name, (is_, should) in wanted.items():
            if is_ != should:
                self._find("envelope", str(sequence), f"{name} is {is_!r}, not {should!r}")

    def _check_sequence(self, sequence: int) -> None:
        if sequence == self.last + 1 or (sequence > self.last and self._may_skip):
            self._may_skip = self._may_skip and sequence == self.last + 1
            self.last = sequence
        elif sequence > self.last:
            self._find("skipped", str(sequence), f"after {self.last}")
            self.last = sequence
        else:
            self._find("disordered", str(sequence), f"after {self.last}")

    # Events.

    def _take_event(self, event: Json, recorded: int, sequence: int) -> None:
        self.events.append(event)
        kind, path = event["type"], event["fileId"]
        if kind == "System":
            self.systems.append(event)
            return
        is_dir = bool(event.get("isDir"))
        live = self._live.get(path)
        self._told.add(path)
        if live is not None and live.is_dir != is_dir and path not in self._may_repeat:
            self._find("kind", path, f"{kind} in block {sequence} with isDir {is_dir}, known otherwise")
        if kind == "Delete":
            self._deleted(path, is_dir=is_dir, sequence=sequence)
            return
        self._reports[path] += 1
        if kind == "Modify" and live is None:
            self._find("unexplained", path, f"Modify in block {sequence} of what was not reported")
        if kind == "Create" and live is not None:
            if path in self._may_repeat:
                self._reports[path] -= 1
            else:
                self._find("twice", path, f"Create in block {sequence} and before that in {live.sequence}")
        self._may_repeat.discard(path)
        self._live[path] = _Live(is_dir, recorded, sequence)

    def _deleted(self, path: str, *, is_dir: bool, sequence: int) -> None:
        if self._live.pop(path, None) is None:
            self._find("unexplained", path, f"Delete in block {sequence} of what was not reported")
        self._may_repeat.discard(path)
        if is_dir:
            known_below = (known for known in self._live if known.startswith(f"{path}/"))
            below = next((known for known in known_below if known not in self._may_repeat), None)
            if below is not None:
                self._find("orphan", path, f"deleted in block {sequence} before {below!r}")

    def _find(self, kind: str, about: str, detail: str) -> None:
        self._findings.append(Finding(kind, about, detail))

    # Judgement.

    @property
    def live(self) -> frozenset[str]:
        """The paths that the subscriber believes to exist."""
        return frozenset(self._live)

    @property
    def has_found(self) -> bool:
        """Whether something is wrong that nothing that is still to come can mend."""
        return bool(self._findings)

    def knows(self, paths: set[str]) -> bool:
        """Whether the subscriber believes all of these to exist."""
        return self._live.keys() >= paths

    def told(self, *codes: str) -> list[Json]:
        """The System events with one of these codes, all without."""
        return [event for event in self.systems if not codes or event["detail"]["code"] in codes]

    def owed(self, truth: Truth) -> list[Finding]:
        """What is still to be reported before the subscriber knows the truth; may be asked at any time."""
        owed = []
        for path, entry in truth.items():
            live = self._live.get(path)
            if live is None:
                owed.append(Finding("missing", path, "reported deleted" if path in self._told else ""))
            elif live.is_dir != entry.is_dir:
                owed.append(Finding("kind", path, f"is {'a' if entry.is_dir else 'no'} directory"))
            elif live.reported < int(entry.since):
                owed.append(Finding("stale", path, f"reported {live.reported} changed {entry.since:.3f}"))
        forgotten = self._may_repeat if self.told("gap") else set()
        owed += [Finding("ghost", path) for path in self._live if path not in truth and path not in forgotten]
        return owed

    def verdict(self, truth: Truth, changes: Mapping[str, int] | None = None) -> list[Finding]:
        """Everything that does not agree, when nothing more is to come.

        Args:
            truth: The disk.
            changes: How often something was put or changed at each path that ever was; more reports than that, or
                a report of another path, are unexplained. None if nobody counted.
        """
        return [*self._findings, *self.owed(truth), *self._excess(changes)]

    def _excess(self, changes: Mapping[str, int] | None) -> Iterable[Finding]:
        if changes is None:
            return
        for path in self._told - set(changes):
            yield Finding("unexplained", path, "never was there")
        for path, count in self._reports.items():
            if count > changes.get(path, 0):
                yield Finding("excess", path, f"{count} reports of {changes.get(path, 0)} changes")
