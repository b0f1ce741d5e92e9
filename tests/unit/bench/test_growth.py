"""What growth is measured with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.growth import Bursts, lacking, make_files, spread


def file_system(**values: int) -> Any:
    """What os.statvfs says of one with room for all, unless told otherwise."""
    return SimpleNamespace(**{"f_files": 100, "f_favail": 90, "f_bavail": 10, "f_frsize": 4096, **values})


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        (file_system(), None),
        (file_system(f_favail=9), "only 9 inodes are free"),
        (file_system(f_bavail=0), "only 0 MB are free"),
        (file_system(f_files=0, f_favail=0), None),
    ],
)
def test_a_file_system_says_what_it_has_too_little_of(there: Any, reason: str | None) -> None:
    """Inodes or bytes; one that makes inodes as they are needed says that it has none."""
    assert lacking(there, files=10, size_bytes=20_000) == reason


@pytest.mark.parametrize(
    ("most", "expected"), [(10, "abcdefg"), (7, "abcdefg"), (4, "aceg"), (3, "adg"), (1, "a")]
)
def test_more_directories_than_files_are_used_evenly(most: int, expected: str) -> None:
    """Not the first ones alone."""
    places = [Path(name) for name in "abcdefg"]
    assert [str(place) for place in spread(places, most)] == list(expected)


def test_files_are_made_evenly_over_directories(tmp_path: Path) -> None:
    """As many as were asked for."""
    places = [tmp_path / name for name in ("a", "b")]
    for place in places:
        place.mkdir()
    make_files(places, 5)
    assert [len(list(place.iterdir())) for place in places] == [3, 2]


def test_a_series_has_the_cost_of_every_round_and_the_blocks_of_the_middle_one() -> None:
    """Blocks say why a cost is what it is."""
    found = iter([(20.0, 200), (22.0, 1_200), (21.0, 1_100)])
    bursts = Bursts("in one")
    bursts.measure(10, lambda: next(found))
    assert bursts.series().rounds == {10: [20.0, 22.0, 21.0]}
    assert bursts.series().notes == {10: "1,100 blocks"}
