"""FSHERALD_DURABILITY as the kernel sees it: what is synced to the disk, and when."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

STORY = """
import os, sys
from pathlib import Path
from publisher.outbox import Entry, Outbox
from publisher.storing.recovery import open_store
from schemas.monitors import MonitorSpec

def say(word):
    os.write(told, word.encode())

told = os.open(sys.argv[1] + "/told", os.O_WRONLY | os.O_CREAT)
with open_store(Path(sys.argv[1]) / "store.sqlite", durability=sys.argv[2]) as store:
    say("creating")
    store.add_monitor("m", MonitorSpec(m_type="Persistent", e_types=("All",), p_mode="Flat", path_string="/"))
    say("created")
    outbox = Outbox(store)
    outbox.subscribe(lambda monitor_id: say("published"))
    for number in range(1, 6):
        say("recording")
        outbox.record([Entry("m", number, "m.create", bytes(9000), 1, 1)])
    say("confirming")
    outbox.confirm({"m": 5})
    say("confirmed")
"""


def calls(tmp_path: Path, durability: str) -> list[str]:
    """What the process did to the log, and what it said, in order: write, sync, and its own words."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o", str(trace)]
    done = subprocess.run(
        [*command, sys.executable, "-c", STORY, str(tmp_path), durability],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "ptrace" in done.stderr and not trace.stat().st_size:
        pytest.skip("processes cannot be traced here")
    assert done.returncode == 0, done.stderr
    found = []
    for line in trace.read_text().splitlines():
        call = line.partition(" ")[2].lstrip()
        if "/told>" in call:
            found.append(call.split('"')[1])
        elif "store.sqlite-wal>" in call:
            found.append("sync" if "sync" in call.partition("(")[0] else "write")
    return found


def between(found: list[str], first: str, last: str) -> list[list[str]]:
    """What stands between each `first` and the `last` that follows it."""
    parts: list[list[str]] = []
    for number, word in enumerate(found):
        if word == first:
            rest = found[number + 1 :]
            parts.append(rest[: rest.index(last)])
    return parts


def test_power_syncs_each_block_before_anybody_hears_of_it(tmp_path: Path):
    """A block that the broker may have is on the disk: its number is never used again, whatever happens."""
    found = calls(tmp_path, "power")
    blocks = between(found, "recording", "published")
    assert len(blocks) == 5
    for block in blocks:
        assert "write" in block
        assert block[-1] == "sync"


def test_power_does_not_sync_what_may_be_lost(tmp_path: Path):
    """A confirm that a power cut takes back costs a redelivery with the same id, and no sync."""
    [confirm] = between(calls(tmp_path, "power"), "confirming", "confirmed")
    assert "write" in confirm
    assert "sync" not in confirm


def test_process_writes_each_block_and_syncs_none(tmp_path: Path):
    """With the kernel a block is safe from the end of the process; a power cut may lose it."""
    blocks = between(calls(tmp_path, "process"), "recording", "published")
    assert len(blocks) == 5
    for block in blocks:
        assert "write" in block
        assert "sync" not in block


def test_a_monitor_is_on_the_disk_before_anybody_hears_of_it(tmp_path: Path):
    """What a command has changed is seldom and matters: with either durability a power cut does not take it back."""
    [command] = between(calls(tmp_path, "process"), "creating", "created")
    assert command[-1] == "sync"
