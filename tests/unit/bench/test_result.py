"""What a comparison returns: series as tables, and where they stand on an axis."""

from __future__ import annotations

import pytest

from bench.result import Curves, Series, positions, short

COST = Curves(
    "files",
    "files before",
    "CPU",
    "us",
    (
        Series("in one", {0: [3.0, 1.0, 2.0], 10: [4.0, 4.0, 4.0]}, {10: "7 blocks"}),
        Series("in all", {10: [1.0, 2.0]}),
    ),
    {100: "only 3 inodes are free"},
)


def cells(panel: Curves) -> list[list[str]]:
    """What stands in the rows of its table."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in panel.table().splitlines()]


def test_a_table_has_a_row_for_each_size_and_says_how_far_they_lie_apart() -> None:
    """Median, least and most of the rounds; what was not measured is empty, what was not run says why."""
    rows = cells(COST)
    assert rows[0] == ["files before", "CPU: in one", "CPU: in all"]
    assert rows[2:] == [
        ["0", "2.0 us (1.0 to 3.0)", ""],
        ["10", "4.0 us (4.0 to 4.0), 7 blocks", "1.5 us (1.0 to 2.0)"],
        ["100", "not run: only 3 inodes are free", "not run: only 3 inodes are free"],
        ["most / least", "x 2.00", "x 1.00"],
    ]


def test_a_panel_knows_the_sizes_that_were_run() -> None:
    """In order, whichever series has them; one that was left out is not drawn."""
    assert COST.sizes() == [0, 10]


def test_nothing_of_a_series_that_found_nothing_is_divided() -> None:
    """Where no size could be run there is a table all the same."""
    empty = Curves("", "files", "CPU", "us", (Series("in one", {}),), {1: "no room"})
    assert cells(empty)[2:] == [["1", "not run: no room"], ["most / least", "-"]]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1, 10], {1: 1.0, 10: 10.0}),
        ([0, 10_000, 100_000], {0: 1_000.0, 10_000: 10_000.0, 100_000: 100_000.0}),
        ([0], {0: 0.1}),
        ([], {}),
    ],
)
def test_nothing_stands_a_decade_before_the_least(sizes: list[int], expected: dict[int, float]) -> None:
    """A logarithmic axis has no zero."""
    assert positions(sizes) == expected


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (1, "1"), (999, "999"), (1_000, "1k"), (1_500, "1,500"), (20_000, "20k"), (1_000_000, "1M")],
)
def test_a_size_is_short_where_that_says_the_same(size: int, text: str) -> None:
    """The labels of an axis have little room."""
    assert short(size) == text
