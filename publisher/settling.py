"""When a file is done: closed by its last writer, renamed in, or quiet.

The close is reported a moment before the kernel counts the writer out, so a look (`sighting.py`) that finds one
right after it is repeated a millisecond later.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from publisher.sighting import Openness, Sighting, Signature, glance, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RECHECK_FIRST_SECONDS = 0.001
RECHECK_LAST_SECONDS = 2.0
YOUNG_RECHECK_SECONDS = 0.02
"""A file is visible a moment before its maker counts as a writer: one that was just made is looked at twice."""
UNCLOSED_FIRST_SECONDS = 0.2
"""How long a new file may stay without a close before it is looked at: some (mknod, linkat) never get one."""

Verdict = Literal["Create", "Modify"]


@dataclass(slots=True)
class _Pending:
    """A file that is not reported yet because it is not done; `polled` if the next listing looks at it again."""

    verdict: Verdict
    scanned: bool
    closed: bool
    delay: float
    due: float
    signature: Signature | None = None
    polled: bool = False
    round: int = 0
    missed: bool = False


@dataclass(slots=True)
class _Written:
    """A reported file that was written to and not closed since."""

    dirty: bool
    due: float


class Settled(NamedTuple):
    """A file to report now; `scanned` if it was found by listing, `grows` if it is open and will be reported again."""

    path: str
    verdict: Verdict
    scanned: bool
    signature: Signature | None = None
    grows: bool = False


class Settler:
    """The unfinished files of one monitor. The clock is passed in, the look at the disk can be replaced.

    Not thread-safe: it belongs to the reader thread.
    """

    def __init__(
        self,
        *,
        settle_seconds: float,
        modify_interval_seconds: float,
        look: Callable[[str], Sighting] = look,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """Takes the quiet time of files whose writers cannot be told, and how often a growing file is reported.

        Files that were found by a listing wait while there is not `has_room`.
        """
        self._settle = settle_seconds
        self._interval = modify_interval_seconds
        self._look = look
        self._has_room = has_room
        self._pending: dict[str, _Pending] = {}
        self._written: dict[str, _Written] = {}
        self._agenda: list[tuple[float, str]] = []
        self._round = 0
        self._gone: list[str] = []
        self._held: list[str] = []

    def holds(self, path: str) -> bool:
        """Whether the file is awaited, so not reported yet."""
        return path in self._pending

    def attends(self, path: str) -> bool:
        """Whether the file will be looked at again without being asked for."""
        return path in self._pending or path in self._written

    def take_gone(self) -> list[str]:
        """The awaited files that were not where they were looked for and are not awaited any more."""
        gone, self._gone = self._gone, []
        return gone

    def expect(self, path: str, now: float) -> None:
        """A new file was made and not closed yet."""
        self._wait(path, _Pending("Create", False, False, UNCLOSED_FIRST_SECONDS, 0.0), now)

    def made(self, path: str, now: float) -> Sighting | None:
        """A new name appeared with no close in sight: a look at it if it is done (link, FIFO), else it is awaited."""
        sighting = self._look(path)
        done = sighting.openness is Openness.SPECIAL or (
            sighting.links > 1 and sighting.openness in {Openness.CLOSED, Openness.UNKNOWN}
        )
        if done:
            return sighting
        self.expect(path, now)
        return None

    def arrived(self, path: str, verdict: Verdict, now: float, *, closed: bool = False) -> Sighting | None:
        """A file was renamed to `path`, or closed there: a look at it if it is done, else it is awaited from now on.

        One that is not there is done; `lost_sight` is next where the record that tells why is of its directory.
        """
        sighting = self._look(path)
        if sighting.openness is not Openness.OPEN:
            self._pending.pop(path, None)
            return sighting
        self._wait(path, _Pending(verdict, False, closed, RECHECK_FIRST_SECONDS, 0.0), now)
        return None

    def lost_sight(self, path: str, verdict: Verdict, now: float) -> None:
        """A file is done and cannot be seen, its directory being elsewhere: the record of that decides."""
        self._wait(path, _Pending(verdict, False, True, RECHECK_LAST_SECONDS, 0.0), now)

    def found(self, path: str, now: float) -> Sighting | None:
        """A listing showed a new file: a look at it if it is done, else None and it is awaited (or gone)."""
        pending = self._pending.get(path)
        if pending is not None and not pending.polled:
            return None
        sighting = self._look(path)
        openness = sighting.openness
        if openness is Openness.SPECIAL or (openness is Openness.CLOSED and not sighting.young):
            return sighting
        if openness is not Openness.GONE:
            delay = {Openness.CLOSED: YOUNG_RECHECK_SECONDS, Openness.UNKNOWN: self._settle}.get(
                openness, RECHECK_LAST_SECONDS
            )
            self._wait(path, _Pending("Create", True, False, delay, 0.0, sighting.signature), now)
        return None

    def changed(self, path: str, now: float) -> Sighting | None:
        """A listing showed a reported file with other content: a look at it if that is final, else it is awaited."""
        pending = self._pending.get(path)
        if path in self._written or (pending is not None and not pending.polled):
            return None
        sighting = self._look(path)
        if sighting.openness in {Openness.SPECIAL, Openness.CLOSED}:
            return sighting
        if sighting.openness is Openness.OPEN:
            self.written(path, now)
        elif sighting.openness is Openness.UNKNOWN:
            self._wait(path, _Pending("Modify", True, False, self._settle, 0.0, sighting.signature), now)
        return None

    def polled(self, path: str, verdict: Verdict, sighting: Sighting, now: float) -> bool:
        """A repeated listing shows a file that is new, or other than reported: whether it is done by now.

        Nothing else looks at it in between. A reported file that somebody has open is reported as it grows.
        """
        pending = self._pending.get(path)
        openness = sighting.openness
        done = (
            openness is Openness.SPECIAL
            or (openness is Openness.CLOSED and not (sighting.young and verdict == "Create"))
            or (openness is Openness.OPEN and verdict == "Modify")
        )
        if openness is Openness.GONE:
            return False
        if not done and pending is not None and pending.signature == sighting.signature:
            done = openness is not Openness.OPEN and now - pending.due >= self._settle
        elif not done:
            pending = _Pending(verdict, True, False, 0.0, now, sighting.signature, polled=True)
            self._pending[path] = pending
        if done:
            self._pending.pop(path, None)
        elif pending is not None:
            pending.round = self._round
        return done

    def begin_poll(self) -> None:
        """Listings are repeated: what the last ones did not show any more is not awaited any more."""
        gone = [path for path, each in self._pending.items() if each.polled and each.round < self._round]
        for path in gone:
            del self._pending[path]
        self._round += 1

    def told(self, path: str) -> None:
        """The content that a reported file has now was told in another way."""
        self._written.pop(path, None)
        pending = self._pending.get(path)
        if pending is not None and pending.closed and pending.verdict == "Modify":
            del self._pending[path]

    def closed(self, path: str, now: float) -> Settled | None:
        """A writer closed an awaited file: what to report, None while another still has it open."""
        verdict = self._pending[path].verdict
        sighting = self.arrived(path, verdict, now, closed=True)
        return Settled(path, verdict, False, sighting.signature) if sighting is not None else None

    def hurry(self, now: float) -> None:
        """Records were lost, maybe closes among them: looks at everything that is awaited at once."""
        for path, pending in list(self._pending.items()):
            if not pending.polled:
                pending.delay = RECHECK_FIRST_SECONDS
                self._wait(path, pending, now)

    def written(self, path: str, now: float) -> None:
        """A reported file was written to: reported at its close, and at intervals until then."""
        written = self._written.get(path)
        if written is None:
            self._written[path] = _Written(True, now + self._interval)
            heapq.heappush(self._agenda, (now + self._interval, path))
        else:
            written.dirty = True

    def closed_after_writing(self, path: str) -> bool:
        """A reported file was closed: true if it was written to since the last close."""
        return self._written.pop(path, None) is not None

    def forget(self, path: str) -> tuple[Verdict, ...]:
        """The name is gone; returns what is owed for an awaited file: that it was there, if anybody knows or knew.

        A close that was seen counts here even if another writer was: it may have been that of the next file
        of this name, and a name that is gone says nothing of what is complete.
        """
        self._written.pop(path, None)
        pending = self._pending.pop(path, None)
        if pending is None:
            return ()
        if pending.closed:
            return (pending.verdict,)
        return ("Modify",) if pending.verdict == "Modify" else ()

    def forget_below(self, prefix: str) -> list[str]:
        """A directory is gone; returns the awaited files in it of which nobody knows yet that they were there."""
        gone = [path for path in self._pending if path.startswith(prefix)]
        for path in [path for path in self._written if path.startswith(prefix)]:
            del self._written[path]
        return [path for path in gone if "Create" in self.forget(path)]

    def moved_below(self, old_prefix: str, new_prefix: str, now: float) -> None:
        """A directory was renamed: the same unfinished files have other paths."""
        for path in [path for path in self._pending if path.startswith(old_prefix)]:
            pending = self._pending.pop(path)
            pending.delay, pending.missed = RECHECK_FIRST_SECONDS, False
            self._wait(new_prefix + path[len(old_prefix) :], pending, now)
        for path in [path for path in self._written if path.startswith(old_prefix)]:
            new = new_prefix + path[len(old_prefix) :]
            self._written[new] = self._written.pop(path)
            heapq.heappush(self._agenda, (self._written[new].due, new))

    def due_at(self) -> float | None:
        """When `due` has something to look at, None if nothing is unfinished."""
        while self._agenda and not self._current(*self._agenda[0]):
            heapq.heappop(self._agenda)
        return self._agenda[0][0] if self._agenda else None

    def due(self, now: float) -> Iterator[Settled]:
        """Looks again at what is due and yields what has turned out to be done."""
        if self._held and self._has_room():
            self._release(now)
        while (at := self.due_at()) is not None and at <= now:
            path = heapq.heappop(self._agenda)[1]
            if path in self._pending:
                yield from self._look_again(path, now)
            else:
                yield from self._report_growth(path, now)

    @property
    def holds_back(self) -> bool:
        """Whether files that are due wait for room."""
        return bool(self._held)

    def _release(self, now: float) -> None:
        held, self._held = self._held, []
        for path in held:
            pending = self._pending.get(path)
            if pending is not None:
                pending.due = now
                heapq.heappush(self._agenda, (now, path))

    def last_look(self) -> Iterator[Settled]:
        """The monitor stops: what is done by now, whether it was due or not; the rest is dropped."""
        for path, pending in list(self._pending.items()):
            if pending.polled:
                continue
            sighting = self._look(path)
            openness = sighting.openness
            if openness is Openness.CLOSED or (pending.closed and openness is not Openness.OPEN):
                yield Settled(path, pending.verdict, pending.scanned, sighting.signature)
        for path, written in self._written.items():
            if written.dirty:
                yield Settled(path, "Modify", False, glance(path))
        self._pending.clear()
        self._written.clear()

    def _wait(self, path: str, pending: _Pending, now: float) -> None:
        pending.due = now + pending.delay
        self._pending[path] = pending
        heapq.heappush(self._agenda, (pending.due, path))

    def _current(self, at: float, path: str) -> bool:
        pending = self._pending.get(path)
        if pending is not None:
            return pending.due == at and not pending.polled
        written = self._written.get(path)
        return written is not None and written.due == at

    def _look_again(self, path: str, now: float) -> Iterator[Settled]:
        pending = self._pending[path]
        if pending.scanned and not self._has_room():
            pending.due = math.inf
            self._held.append(path)
            return
        sighting = self._look(path)
        quiet = sighting.signature is not None and sighting.signature == pending.signature
        if sighting.openness is Openness.GONE and pending.missed:
            del self._pending[path]
            self._gone.append(path)
            return
        pending.missed = sighting.openness is Openness.GONE  # the record of that is still to come
        if pending.missed:
            done = False
        elif sighting.openness is Openness.UNKNOWN:
            done = pending.closed or (pending.scanned and quiet)
        else:
            done = sighting.openness is not Openness.OPEN
        if done:
            del self._pending[path]
            yield Settled(path, pending.verdict, pending.scanned, sighting.signature)
            return
        pending.signature = sighting.signature
        unknown = sighting.openness is Openness.UNKNOWN and pending.scanned
        pending.delay = self._settle if unknown else min(pending.delay * 2, RECHECK_LAST_SECONDS)
        self._wait(path, pending, now)

    def _report_growth(self, path: str, now: float) -> Iterator[Settled]:
        written = self._written[path]
        sighting = self._look(path)
        if written.dirty and sighting.signature is not None:
            yield Settled(path, "Modify", False, sighting.signature, grows=True)
            written.dirty = False
        elif sighting.openness not in {Openness.OPEN, Openness.UNKNOWN}:
            del self._written[path]  # written by name (truncate(2)): no close will come
            return
        written.due = now + self._interval
        heapq.heappush(self._agenda, (written.due, path))
