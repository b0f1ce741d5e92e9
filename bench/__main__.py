"""`python -m bench [NAME...] [--markdown FILE]`: runs the comparisons and prints their tables."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from pathlib import Path

NAMES = (
    "requests",
    "capture",
    "arrival",
    "publish",
    "scale",
    "floor",
    "loss",
    "ledger",
    "polling",
    "durability",
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Compares with what one would run instead."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all unless named")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.names if name not in NAMES]
    if unknown:
        parser.error(f"no comparison is called {unknown[0]!r}; there are: {', '.join(NAMES)}")
    texts = []
    for name in asked.names or NAMES:
        texts.append(f"## {name}\n\n{importlib.import_module(f'bench.{name}').main()}\n")
        print(f"\n{texts[-1]}", flush=True)
        if asked.markdown:
            asked.markdown.write_text("\n".join(texts))
    return 0


if __name__ == "__main__":
    # Whoever is asked to end does so in order, and takes its children along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
