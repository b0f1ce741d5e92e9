"""What a watcher made of a situation: the files that were made, compared with the events that were heard. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.losses.ear import CREATED, DELETED, MODIFIED, TOLD, Heard


@dataclass(frozen=True)
class Told:
    """What a watcher said about itself; `ended` with a process that gave up."""

    sentences: tuple[str, ...] = ()
    ended: bool = False

    def __str__(self) -> str:
        said = "told" if self.sentences else "silent"
        return f"{said}, ended" if self.ended else said


@dataclass(frozen=True)
class Delivered:
    """How many of the files that were made were heard of."""

    made: int
    heard: int
    told: Told

    def __str__(self) -> str:
        return f"{self.heard} of {self.made}, {self.told}"


@dataclass(frozen=True)
class Lost:
    """How many files were never heard of, and the seconds until all were; None where that did not happen."""

    lost: int
    seconds: float | None
    told: Told

    def __str__(self) -> str:
        when = "never complete" if self.seconds is None else f"{self.seconds:.2f} s"
        return f"{self.lost:,} lost, {self.told}, {when}"


@dataclass(frozen=True)
class Exactness:
    """How many files were never reported, and how many more than once as new."""

    missing: int
    twice: int

    def __str__(self) -> str:
        return f"{self.missing} / {self.twice}"


@dataclass(frozen=True)
class MovedIn:
    """Of a tree that was moved in: files that were reported, and files whose later change was."""

    files: int
    later: int

    def __str__(self) -> str:
        return f"{self.files} / {self.later}"


@dataclass(frozen=True)
class Stall:
    """Milliseconds from a file's close to its first event: right after a move out, and otherwise."""

    after_ms: float | None
    otherwise_ms: float | None

    def __str__(self) -> str:
        return f"{_ms(self.after_ms)} (otherwise {_ms(self.otherwise_ms)})"


@dataclass(frozen=True)
class Difference:
    """What a start reported of changes made before it: of each sort, and of files that had not changed."""

    created: int
    modified: int
    deleted: int
    unchanged: int

    def __str__(self) -> str:
        if not (self.created or self.modified or self.deleted or self.unchanged):
            return "nothing"
        wrong = f", {self.unchanged} unchanged" if self.unchanged else ""
        return f"{self.created} / {self.modified} / {self.deleted}{wrong}"


Finding = Delivered | Lost | Exactness | MovedIn | Stall | Difference


def lost(made: Iterable[str], heard: Sequence[Heard], since_seconds: float, told: Told) -> Lost:
    """The files of which nothing was heard; the time counts to the first event of the last one."""
    first: dict[str, float] = {}
    for event in heard:
        first.setdefault(event.path, event.at)
    times = [first.get(path) for path in made]
    found = [at for at in times if at is not None]
    complete = len(found) == len(times)
    return Lost(len(times) - len(found), max(found) - since_seconds if complete and found else None, told)


def delivered(made: Sequence[str], heard: Sequence[Heard], told: Told) -> Delivered:
    """The files of which anything was heard."""
    return Delivered(len(made), len(set(made) & {event.path for event in heard}), told)


def exactness(made: Sequence[str], heard: Sequence[Heard]) -> Exactness:
    """Missing is a file without any event; twice is one that was reported as new again."""
    paths = {event.path for event in heard}
    created = Counter(event.path for event in heard if event.kind == CREATED)
    return Exactness(sum(path not in paths for path in made), sum(created[path] > 1 for path in made))


def count(paths: Iterable[str], heard: Sequence[Heard], *kinds: str) -> int:
    """How many of `paths` were heard of with one of `kinds`."""
    found = {event.path for event in heard if event.kind in kinds}
    return sum(path in found for path in paths)


def difference(
    created: Sequence[str],
    modified: Sequence[str],
    deleted: Sequence[str],
    kept: Sequence[str],
    heard: Sequence[Heard],
) -> Difference:
    """What was reported as what it was; of the unchanged, anything at all."""
    return Difference(
        count(created, heard, CREATED),
        count(modified, heard, MODIFIED),
        count(deleted, heard, DELETED),
        count(kept, heard, CREATED, MODIFIED, DELETED),
    )


def told_events(heard: Sequence[Heard]) -> tuple[str, ...]:
    """The sentences among the events."""
    return tuple(event.path for event in heard if event.kind == TOLD)


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value:.{0 if value >= 10 else 2}f} ms"
