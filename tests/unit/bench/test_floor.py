"""The parts of a file's way: each does its work on all files, or what it measures is nothing."""

from __future__ import annotations

import pytest

from bench import floor

FILES = 300


def test_each_part_handles_every_file(monkeypatch: pytest.MonkeyPatch):
    """What one leaves is what the next one needs; at the end nothing is left to publish."""
    monkeypatch.setattr(floor, "FILES", FILES)
    with floor.parts() as ours:
        for number in range(2):
            ours.make(number)
            ours.read()
            # Where a buffer ends between them, the records of a file are two.
            assert {record[3] for batch in ours.batches for record in batch.records} == {
                path.rpartition("/")[2] for path in ours.paths
            }
            ours.call_bare()
            ours.look()
            ours.handle()
            assert [event.file_id for event in ours.events] == ours.paths
            ours.cut()
            assert [len(block) for block in ours.full] == [floor.BLOCK_SIZE] * (FILES // floor.BLOCK_SIZE)
            ours.record()
            assert ours.outbox.size()[0] == FILES // floor.BLOCK_SIZE
            assert ours.store.ledgers.count(ours.monitor_id) == (1, FILES * (number + 1))
            ours.drain()
            assert ours.outbox.size() == (0, 0)


def test_the_table_names_every_part(monkeypatch: pytest.MonkeyPatch):
    """And their sum, without what is there for comparison alone."""
    monkeypatch.setattr(floor, "FILES", FILES)
    monkeypatch.setattr(floor, "ROUNDS", 1)
    table = floor.main()
    assert all(what in table for what, _, _ in floor.STEPS)
    cells = [float(line.split("|")[2].split()[0]) for line in table.splitlines()[2:]]
    counted = [cell for cell, (_, _, counts) in zip(cells, floor.STEPS, strict=False) if counts]
    assert cells[-1] == pytest.approx(sum(counted), abs=0.5)
