"""What polling costs: a tree of 50,000 files listed each second, by this service's poller and by watchdog's."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.monitored import make_files
from bench.table import markdown

FILES, DIRECTORIES = 50_000, 500
SECONDS = 10
ROUNDS = 3


def main() -> str:
    """Runs both in turns; about a minute and a half."""
    base = Path(tempfile.mkdtemp(prefix="fsherald-bench-"))
    try:
        (base / "root").mkdir()
        make_files(base / "root", FILES, DIRECTORIES)
        shares: dict[str, list[float]] = {"fsherald": [], "watchdog": []}
        for _ in range(ROUNDS):
            for who, measured in shares.items():
                command = [sys.executable, "-m", "bench.polling_child", who, str(base), str(SECONDS)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                measured.append(float(done.stdout.splitlines()[-1]))
    finally:
        shutil.rmtree(base)
    ours, theirs = (statistics.median(measured) for measured in shares.values())
    row = [
        f"CPU of polling {FILES:,} files each second, nothing changed, median of {ROUNDS}",
        f"{ours:.1%}",
        f"{theirs:.1%} (watchdog's PollingObserver)",
        f"{ours / theirs:.2f}",
        "<= 0.5",
    ]
    return markdown(["what", "fsherald", "instead", "ratio", "goal"], [row])
