"""`python -m bench [NAME...]`: runs the comparisons and prints their tables."""

from __future__ import annotations

import importlib
import sys

NAMES = ("requests", "durability")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no comparison is called {unknown[0]!r}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in names or NAMES:
        print(f"\n## {name}\n")
        print(importlib.import_module(f"bench.{name}").main(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
