"""The figures of the documentation, as they were drawn."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

PROJECT = Path(__file__).parents[3]
FIGURES = sorted((PROJECT / "docs" / "figures").glob("*.svg"))


def test_there_are_figures() -> None:
    """A rule over an empty set would hold for ever."""
    assert {figure.name for figure in FIGURES} >= {"growth.svg"}


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_figure_is_shown_and_says_nothing_of_when_it_was_drawn(figure: Path) -> None:
    """Drawn again with the same figures it is the same file: neither a date nor a version is in it."""
    text = figure.read_text()
    ET.fromstring(text)
    assert not re.search(r"dc:date|dc:creator|matplotlib v", text)
    assert f"docs/figures/{figure.name}" in (PROJECT / "README.md").read_text()


def test_the_figure_of_growth_has_a_panel_for_each_dimension_with_its_unit() -> None:
    """Whoever looks at it needs no other page."""
    root = ET.fromstring((PROJECT / "docs" / "figures" / "growth.svg").read_text())
    said = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    for label in (
        "monitors",
        "directories",
        "files before",
        "events in a block at most",
        "blocks of one event that wait",
    ):
        assert label in said
    assert {"CPU of a file, us", "CPU of a block, us", "largest memory of the process, MB"} <= set(said)
