"""What a comparison returns: its tables, and what of it is drawn."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.table import markdown


@dataclass(frozen=True)
class Series:
    """What the rounds have found of one thing at each size; `notes` are for the table alone."""

    name: str
    rounds: Mapping[int, Sequence[float]]
    notes: Mapping[int, str] = field(default_factory=dict)

    def medians(self) -> dict[int, float]:
        return {size: statistics.median(found) for size, found in sorted(self.rounds.items())}


@dataclass(frozen=True)
class Curves:
    """A panel that shows how something grows with a size.

    Attributes:
        title: What it is.
        size: What grows, with its unit.
        measured: What is measured, with its unit.
        unit: The unit in the cells of the table.
        series: Side by side.
        left_out: Sizes that were not run, and why.
    """

    title: str
    size: str
    measured: str
    unit: str
    series: tuple[Series, ...]
    left_out: Mapping[int, str] = field(default_factory=dict)

    def sizes(self) -> list[int]:
        """All that were run."""
        return sorted({size for each in self.series for size in each.rounds})

    def table(self) -> str:
        """A row for each size, and how far the medians lie apart."""
        rows = [[f"{size:,}", *(self._cell(each, size) for each in self.series)] for size in self.sizes()]
        rows += [
            [f"{size:,}", *(f"not run: {why}" for _ in self.series)] for size, why in self.left_out.items()
        ]
        apart = [_apart(list(each.medians().values())) for each in self.series]
        header = [self.size, *(f"{self.measured}: {each.name}" for each in self.series)]
        return markdown(header, [*rows, ["most / least", *apart]])

    def _cell(self, series: Series, size: int) -> str:
        found = series.rounds.get(size)
        if not found:
            return ""
        middle = statistics.median(found)
        text = f"{middle:.1f} {self.unit} ({min(found):.1f} to {max(found):.1f})"
        return f"{text}, {series.notes[size]}" if size in series.notes else text


@dataclass(frozen=True)
class Bars:
    """A panel that shows the same of several, side by side: what the rounds have found of each."""

    title: str
    measured: str
    bars: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Figure:
    """Panels in one file of that name."""

    name: str
    panels: tuple[Curves | Bars, ...]


@dataclass(frozen=True)
class Result:
    """The tables of a comparison as Markdown, and its figures."""

    text: str
    figures: tuple[Figure, ...] = ()


def positions(sizes: Sequence[int]) -> dict[int, float]:
    """Where sizes stand on a logarithmic axis, which has no zero: nothing stands a decade before the least."""
    least = min((size for size in sizes if size), default=1)
    return {size: float(size or least / 10) for size in sizes}


def short(size: int) -> str:
    """A size in the few characters that an axis has room for."""
    for factor, letter in ((1_000_000, "M"), (1_000, "k")):
        if size and size % factor == 0:
            return f"{size // factor}{letter}"
    return f"{size:,}"


def _apart(values: Sequence[float]) -> str:
    return f"x {max(values) / min(values):.2f}" if values and min(values) > 0 else "-"
