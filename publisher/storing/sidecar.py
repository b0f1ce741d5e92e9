"""The monitors once more, in a small file beside the store: for the day on which the store cannot be read.

Written by a thread of its own, for it is synced to the disk and nobody is to wait for that; whatever changes
while it is being written is written next. The numbers in it are as old as the last change of a monitor's state.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import structlog

from schemas.errors import FsheraldError
from schemas.monitors import MonitorSpec, MonitorState
from schemas.rpc import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_VERSION = 1
_RETRY_SECONDS = 5.0
_REST_FACTOR = 10.0
"""How many times as long as it took to write the list nothing is written after that: a tenth of the time at most."""
_CLOSE_SECONDS = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MonitorRecord:
    """A monitor as it stands in the store; `created_at` in seconds since the epoch."""

    id: str
    spec: str
    state: str
    sequence: int
    created_at: int

    @property
    def is_sound(self) -> bool:
        """Whether a monitor can be made of it."""
        try:
            MonitorSpec.model_validate(loads(self.spec.encode()))
            MonitorState(self.state)
        except (FsheraldError, ValueError):
            return False
        return bool(self.id) and self.sequence >= 0


class Sidecar:
    """The file `monitors.json`. `changed` may be called from any thread and never blocks."""

    def __init__(self, path: Path) -> None:
        """Writes nothing before `start`."""
        self.path = path
        self._supply: Callable[[], list[MonitorRecord]] | None = None
        self._wake = threading.Condition()  # guards the next two
        self._is_due = False
        self._closing = False
        self._complained = False
        self._thread = threading.Thread(target=self._run, name="sidecar", daemon=True)

    def read(self) -> list[MonitorRecord]:
        """What the last run wrote; nothing if there is no such file, or not one that can be read."""
        try:
            content: Any = loads(self.path.read_bytes())
            rows = content["monitors"] if content["version"] == _VERSION else []
            records = [MonitorRecord(**{**row, "spec": dumps(row["spec"]).decode()}) for row in rows]
            return [record for record in records if record.is_sound]
        except FileNotFoundError:
            return []
        except (OSError, FsheraldError, ValueError, KeyError, TypeError) as exc:
            _log.error("the list of monitors cannot be read", file=str(self.path), reason=str(exc))
            return []

    def start(self, supply: Callable[[], list[MonitorRecord]]) -> None:
        """Writes the file, and again whenever something has `changed`; `supply` reads the store."""
        self._supply = supply
        self._thread.start()
        self.changed()

    def changed(self) -> None:
        """A monitor was made, removed, started or stopped."""
        with self._wake:
            self._is_due = True
            self._wake.notify()

    def close(self) -> None:
        """Writes it a last time and ends; blocks for that, a few seconds at most. Harmless when done already."""
        if not self._thread.is_alive():
            return
        with self._wake:
            self._is_due = self._closing = True
            self._wake.notify()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        pause: float | None = None
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._is_due or self._closing, pause)
                self._is_due = False
                closing = self._closing
            began = time.monotonic()
            pause = None if self._write() else _RETRY_SECONDS
            if closing:
                return
            self._rest((time.monotonic() - began) * _REST_FACTOR)

    def _rest(self, seconds: float) -> None:
        """Lets changes gather: a long list is written whole for each of them."""
        with self._wake:
            self._wake.wait_for(lambda: self._closing, seconds)

    def _write(self) -> bool:
        assert self._supply is not None  # noqa: S101 - start() has set it; for the type checker
        part = self.path.with_suffix(".part")
        try:
            rows = [{**asdict(record), "spec": loads(record.spec.encode())} for record in self._supply()]
            with part.open("wb") as file:
                file.write(dumps({"version": _VERSION, "monitors": rows}) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except Exception as exc:  # noqa: BLE001 - of the disk or of the store, which may be closed or damaged: tried again
            self._complain(exc)
            with contextlib.suppress(OSError):
                part.unlink()
            return False
        self._complained = False
        return True

    def _complain(self, exc: Exception) -> None:
        log = _log.debug if self._complained else _log.warning
        self._complained = True
        log("the list of monitors cannot be written, it is tried again", file=str(self.path), reason=str(exc))
