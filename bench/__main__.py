"""`python -m bench [NAME...] [--markdown FILE] [--plots DIR]`: runs the comparisons, prints their tables, draws."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import signal
import sys
from pathlib import Path

from bench.result import Result

NAMES = (
    "requests",
    "capture",
    "arrival",
    "publish",
    "scale",
    "growth",
    "floor",
    "loss",
    "ledger",
    "polling",
    "durability",
)
NO_PLOTS = "no plots: matplotlib is not installed (it is in requirements-bench.txt)"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Compares with what one would run instead."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all unless named")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw there what can be drawn, as SVG")
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.names if name not in NAMES]
    if unknown:
        parser.error(f"no comparison is called {unknown[0]!r}; there are: {', '.join(NAMES)}")
    texts = []
    for name in asked.names or NAMES:
        result = run(name)
        texts.append(f"## {name}\n\n{result.text}\n")
        print(f"\n{texts[-1]}", flush=True)
        if asked.markdown:
            asked.markdown.parent.mkdir(parents=True, exist_ok=True)
            asked.markdown.write_text("\n".join(texts))
        if asked.plots and can_draw():
            importlib.import_module("bench.plots").write(result.figures, asked.plots)
    if asked.plots and not can_draw():
        print(NO_PLOTS, file=sys.stderr)
    return 0


def run(name: str) -> Result:
    """What a comparison finds; one without figures may return its tables alone."""
    found: Result | str = importlib.import_module(f"bench.{name}").main()
    return Result(found) if isinstance(found, str) else found


def can_draw() -> bool:
    """Whether `bench.plots` can be imported."""
    return importlib.util.find_spec("matplotlib") is not None


if __name__ == "__main__":
    # Whoever is asked to end does so in order, and takes its children along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
