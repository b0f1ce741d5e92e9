"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [header, *rows]]
    rule = ["-" * width for width in widths]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def missing(installs: Mapping[str, str]) -> str:
    """What is said below a table of those that have no column, being not installed; nothing if there are none."""
    lines = [f"Not installed here, and not compared: {name} ({how})." for name, how in installs.items()]
    return "".join(f"\n\n{line}" for line in lines)
