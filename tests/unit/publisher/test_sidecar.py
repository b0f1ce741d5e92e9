"""The list of monitors beside the store: written whole, and so not for every change of many."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue

import pytest

from publisher.storing.sidecar import MonitorRecord, Sidecar
from tests.waiting import eventually

SECONDS = 10.0
SPEC = '{"mType": "Persistent", "eTypes": ["All"], "pMode": "Follow", "pathString": "/data"}'


def test_changes_gather_while_it_rests_and_the_last_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many monitors made at once are a few lists; a close waits for no rest."""
    sidecar = Sidecar(tmp_path / "monitors.json")
    rests: SimpleQueue[float] = SimpleQueue()
    go_on = threading.Semaphore(0)
    made = 0
    lists: SimpleQueue[int] = SimpleQueue()

    def supply() -> list[MonitorRecord]:
        lists.put(made)
        return [MonitorRecord(f"m{number}", SPEC, "Stopped", 0, 1) for number in range(made)]

    def rest(seconds: float) -> None:
        rests.put(seconds)
        assert go_on.acquire(timeout=SECONDS)

    monkeypatch.setattr(sidecar, "_rest", rest)
    sidecar.start(supply)
    assert rests.get(timeout=SECONDS) > 0
    assert lists.get(timeout=SECONDS) == 0
    for _ in range(50):
        made += 1
        sidecar.changed()
    go_on.release()
    assert rests.get(timeout=SECONDS) > 0
    assert lists.get(timeout=SECONDS) == 50
    assert lists.empty()
    monkeypatch.undo()
    go_on.release()
    made += 1
    sidecar.close()
    assert len(sidecar.read()) == 51


def test_a_close_does_not_wait_for_a_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that is."""
    monkeypatch.setattr("publisher.storing.sidecar._REST_FACTOR", 1e9)
    sidecar = Sidecar(tmp_path / "monitors.json")
    sidecar.start(list)
    eventually(sidecar.path.exists)
    sidecar.close()
    assert not sidecar._thread.is_alive()
