"""What the ledger costs: per new file, and per million files at the start, in memory, on disk and at a restart."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.table import markdown

ROUNDS = 5
BURST = 50_000
TREES = ((20_000, 20_000, "<= 1.5 s", "<= 1 s", ""), (1_000_000, 1_000, "", "<= 15 s", "<= 300 MB"))
"""Files and directories of the trees that monitors start on; goals of the first start, a restart, and memory."""


def main() -> str:
    """Runs all of it; about two minutes."""
    rows = [_per_file()]
    for tree in TREES:
        rows += _per_tree(*tree)
    return markdown(("what", "measured", "goal"), rows)


def _per_file() -> list[str]:
    without, with_ledger = [], []
    for _ in range(ROUNDS):
        without.append(_run("burst", BURST, 1, "none")["us"])
        with_ledger.append(_run("burst", BURST, 1, "ledger")["us"])
    plain, kept = statistics.median(without), statistics.median(with_ledger)
    return [
        f"CPU per new file, blocks of 100, to the outbox: without / with a ledger, median of {ROUNDS}",
        f"{plain:.1f} / {kept:.1f} us (x {kept / plain:.2f})",
        "<= 20 us with all",
    ]


def _per_tree(files: int, directories: int, *goals: str) -> list[list[str]]:
    first, again = started_twice(files, directories)
    tree = f"{files:,} files in {directories:,} directories"
    return [
        [f"{tree}: first start", f"{first['seconds']:.2f} s", goals[0]],
        [f"{tree}: restart, nothing changed", f"{again['seconds']:.2f} s", goals[1]],
        [f"{tree}: memory", f"{again['bytes'] / 1e6:.0f} MB", goals[2]],
        [f"{tree}: ledger on disk", f"{again['disk'] / files:.0f} bytes a file", ""],
    ]


def started_twice(files: int, directories: int) -> tuple[dict[str, float], dict[str, float]]:
    """What the first start on a tree measures, and what a restart does with nothing changed."""
    base = _base()
    try:
        first = _run("begin", files, directories, "ledger", base)
        return first, _run("restart", files, directories, "ledger", base)
    finally:
        shutil.rmtree(base)


def _run(what: str, files: int, directories: int, ledger: str, base: Path | None = None) -> dict[str, float]:
    """What a monitor in a process of its own measures; without `base` it has a directory of its own."""
    own = base or _base()
    try:
        command = [
            sys.executable,
            "-m",
            "bench.monitored",
            what,
            str(files),
            str(directories),
            ledger,
            str(own),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found
    finally:
        if base is None:
            shutil.rmtree(own)


def _base() -> Path:
    """A new directory, on tmpfs where there is one."""
    shm = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="fsherald-bench-", dir=shm if shm.is_dir() else None))
