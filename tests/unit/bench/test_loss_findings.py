"""What was made against what was heard."""

from __future__ import annotations

import pytest

from bench.losses import findings
from bench.losses.ear import CREATED, DELETED, MODIFIED, OTHER, TOLD, Heard
from bench.losses.findings import Delivered, Difference, Exactness, Finding, Lost, MovedIn, Stall, Told

SILENT = Told()


def heard(*events: tuple[str, str]) -> list[Heard]:
    """Events, one a second from second 1 on."""
    return [Heard(float(at), kind, path) for at, (kind, path) in enumerate(events, 1)]


def test_a_file_without_any_event_is_lost() -> None:
    """And then there is no time at which all was complete."""
    found = findings.lost(["/a", "/b", "/c"], heard((CREATED, "/a"), (OTHER, "/c")), 0.0, SILENT)
    assert found == Lost(1, None, SILENT)


def test_complete_is_the_first_event_of_the_last_file() -> None:
    """What comes again later does not count."""
    events = heard((CREATED, "/a"), (CREATED, "/b"), (MODIFIED, "/a"))
    assert findings.lost(["/a", "/b"], events, 0.5, SILENT) == Lost(0, 1.5, SILENT)


def test_other_files_do_not_count_as_delivered() -> None:
    """Only files that were made for the purpose are counted, each once."""
    events = heard((CREATED, "/a"), (MODIFIED, "/a"), (CREATED, "/canary0"))
    assert findings.delivered(["/a", "/b"], events, SILENT) == Delivered(2, 1, SILENT)


def test_twice_is_what_was_new_more_than_once() -> None:
    """A modification after a creation is none; a file that was never new is not missing if it was heard of."""
    events = heard((CREATED, "/a"), (MODIFIED, "/a"), (CREATED, "/b"), (CREATED, "/b"), (MODIFIED, "/c"))
    assert findings.exactness(["/a", "/b", "/c", "/d"], events) == Exactness(missing=1, twice=1)


def test_a_difference_counts_what_was_reported_as_what_it_was() -> None:
    """A modified file that is reported as new is not reported; an unchanged one that is reported is wrong."""
    events = heard((CREATED, "/new"), (CREATED, "/changed"), (DELETED, "/gone"), (CREATED, "/same"))
    found = findings.difference(["/new"], ["/changed"], ["/gone"], ["/same", "/still"], events)
    assert found == Difference(created=1, modified=0, deleted=1, unchanged=1)


def test_what_was_told_is_found_among_the_events() -> None:
    """A System event carries its sentence where others carry a path."""
    assert findings.told_events(heard((CREATED, "/a"), (TOLD, "Overflow"))) == ("Overflow",)


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (Lost(24_538, None, SILENT), "24,538 lost, silent, never complete"),
        (Lost(0, 0.754, Told(("Overflow",))), "0 lost, told, 0.75 s"),
        (Delivered(200, 0, Told(("OSError",), ended=True)), "0 of 200, told, ended"),
        (Delivered(200, 0, Told(ended=True)), "0 of 200, silent, ended"),
        (Exactness(38, 0), "38 / 0"),
        (MovedIn(0, 50), "0 / 50"),
        (Stall(500.6, 0.041), "501 ms (otherwise 0.04 ms)"),
        (Stall(None, 1.0), "never (otherwise 1.00 ms)"),
        (Difference(0, 0, 0, 0), "nothing"),
        (Difference(100, 100, 100, 0), "100 / 100 / 100"),
        (Difference(100, 0, 0, 100), "100 / 0 / 0, 100 unchanged"),
    ],
)
def test_a_cell_says_the_counts_and_nothing_more(finding: Finding, text: str) -> None:
    """The table is read by people; the counts are exact."""
    assert str(finding) == text
