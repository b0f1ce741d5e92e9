"""Draws figures as SVG, with matplotlib: `bench/__main__.py` imports this module where that is installed.

The same figures make the same bytes: no date, no version, no random identifiers, text as text.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from bench.result import Bars, Curves, Figure, positions, short

_STYLE = {
    "svg.hashsalt": "fsherald",
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
}
_MARKERS = "os^D"
_COLUMNS = 3
_CURVES_INCHES = (3.3, 2.6)
_BARS_INCHES = (6.6, 1.8)
_HEADROOM = 1.4
"""What is left free above the highest point, for the legend."""


def write(figures: Sequence[Figure], directory: Path) -> None:
    """A file for each figure, in a directory that is made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    with style.context(["default", _STYLE]):  # whatever the user has set for other plots
        for figure in figures:
            canvas = _drawn(figure)
            canvas.savefig(
                directory / f"{figure.name}.svg", format="svg", metadata={"Date": None, "Creator": None}
            )


def _drawn(figure: Figure) -> Canvas:
    columns = min(_COLUMNS, len(figure.panels))
    rows = math.ceil(len(figure.panels) / columns)
    width, height = _BARS_INCHES if isinstance(figure.panels[0], Bars) else _CURVES_INCHES
    canvas = Canvas(figsize=(width * columns, height * rows), layout="constrained")
    for index, panel in enumerate(figure.panels, 1):
        axes = canvas.add_subplot(rows, columns, index)
        axes.set_title(panel.title)
        if isinstance(panel, Curves):
            _curves(axes, panel)
        else:
            _bars(axes, panel)
    return canvas


def _curves(axes: Axes, panel: Curves) -> None:
    """A line through the medians, and every round as a point."""
    at = positions(panel.sizes())
    axes.set_xscale("log")
    for number, series in enumerate(panel.series):
        color, marker = f"C{number}", _MARKERS[number % len(_MARKERS)]
        medians = series.medians()
        axes.plot([at[size] for size in medians], list(medians.values()), color=color, label=series.name)
        for size, found in sorted(series.rounds.items()):
            axes.scatter([at[size]] * len(found), found, s=10, color=color, marker=marker, alpha=0.6)
    highest = max(value for series in panel.series for found in series.rounds.values() for value in found)
    axes.set_ylim(0, highest * _HEADROOM)
    axes.set_xticks(list(at.values()), [short(size) for size in at])
    axes.minorticks_off()
    axes.set_xlabel(panel.size)
    axes.set_ylabel(panel.measured)
    if len(panel.series) > 1:
        axes.legend(loc="best")


def _bars(axes: Axes, panel: Bars) -> None:
    """A bar for each median, the first on top, and every round as a point."""
    for number, (name, found) in enumerate(panel.bars.items()):
        axes.barh(name, statistics.median(found), color=f"C{number}", alpha=0.6)
        axes.scatter(found, [name] * len(found), s=10, color="black", alpha=0.6, zorder=3)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(panel.measured)
