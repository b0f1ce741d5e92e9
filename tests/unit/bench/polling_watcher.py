"""A watcher that loses nothing: it lists the tree again and again, and remembers it in a file while it is down.

`python -m tests.unit.bench.polling_watcher MEMORY ROOT`
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from bench.losses.lines import write

Tree = dict[str, list[int]]


def main(memory: str, root: str) -> None:
    kept = Path(memory)
    before: Tree = json.loads(kept.read_text()) if kept.exists() else listed(root)
    never = threading.Event()
    while not never.wait(0.01):
        now = listed(root)
        write(
            (_word(path, before, now), path)
            for path in {**before, **now}
            if before.get(path) != now.get(path)
        )
        if now != before:
            # Whole or not at all: it may be ended at any moment.
            fresh = kept.with_suffix(".new")
            fresh.write_text(json.dumps(now))
            fresh.replace(kept)
        before = now


def listed(root: str) -> Tree:
    tree: Tree = {}
    for directory, _, files in os.walk(root):
        for name in files:
            status = os.stat(f"{directory}/{name}")
            tree[f"{directory}/{name}"] = [status.st_size, status.st_mtime_ns]
    return tree


def _word(path: str, before: Tree, now: Tree) -> str:
    if path not in before:
        return "created"
    return "modified" if path in now else "deleted"


if __name__ == "__main__":
    main(*sys.argv[1:])
