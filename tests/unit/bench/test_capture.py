"""The comparison of what only captures: what is counted, and what its table says."""

from __future__ import annotations

import pytest

from bench.arrivals.measures import Latency
from bench.capture import Found, figure, table
from bench.capturing.captures import CAPTURES
from bench.capturing.tally import distinct
from bench.result import Bars
from bench.table import missing

BY_NAME = {each.name: each for each in CAPTURES}


def test_a_file_counts_once_and_a_canary_does_not() -> None:
    """A watcher that tells of a file twice has not heard of two."""
    assert distinct(["/d/1", "/d/2", "/d/1", "/d/0canary"]) == 2


@pytest.mark.parametrize(
    ("name", "output", "files"),
    [
        ("plain reader", "123\t/d/0canary\n20000\n", 20_000),
        ("inotifywait", "Setting up watches.\nclosed\t/d/0canary\nclosed\t/d/1\nclosed\t/d/2\n", 2),
    ],
)
def test_what_was_heard_of_is_read_from_the_output(name: str, output: str, files: int) -> None:
    """Ours print their count at the end; inotifywait prints a line for each file."""
    assert BY_NAME[name].heard(output) == files


def test_the_ratios_of_arrival_have_their_columns() -> None:
    """Those that have a goal are measured there as well."""
    assert {name for name, each in BY_NAME.items() if each.goal} == {"watchdog", "inotifywait"}


def test_each_watcher_has_a_column_of_medians() -> None:
    """An outlier of one round is not in the table."""
    found = Found(
        fast=[(5.0, 0), (5.2, 100), (90.0, 7)],
        paced=[(9.0, 0)] * 3,
        alone=[Latency(0.05, 0.1, 0, 9), Latency(0.06, 0.2, 0, 9), Latency(0.07, 9.0, 0, 9)],
    )
    lines = [line.split("|")[2].strip() for line in table({"plain": found}).splitlines()]
    assert lines[0] == "plain"
    assert lines[2:] == ["5.2 us", "7", "9.0 us", "0", "0.06 / 0.20 ms"]


def test_what_is_not_installed_is_named_below_the_table() -> None:
    """With how it is installed; nothing is said when all are there."""
    assert missing({}) == ""
    assert missing({"watchfiles": "pip install watchfiles"}).strip() == (
        "Not installed here, and not compared: watchfiles (pip install watchfiles)."
    )


def test_the_figure_shows_the_cost_in_every_round() -> None:
    """At full speed, and paced."""
    found = Found(fast=[(5.0, 0), (5.2, 100)], paced=[(9.0, 0)], alone=[])
    panels = figure({"plain": found}).panels
    assert [panel.bars for panel in panels if isinstance(panel, Bars)] == [
        {"plain": [5.0, 5.2]},
        {"plain": [9.0]},
    ]
