"""What FileServer answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.files import FileStats, FileType, ReadResult, make_version

STATS = {"baseName": "a", "owner": "lab", "size": 1, "mTime": 1, "cTime": 2.5, "aTime": 3, "type": "Dir"}


def test_file_stats_read_by_a_client_ignore_members_that_it_does_not_know() -> None:
    """A newer server may say more."""
    stats = FileStats.model_validate({**STATS, "mode": 0o644})

    assert (stats.base_name, stats.m_time, stats.type) == ("a", 1.0, FileType.DIR)


def test_file_stats_hold_a_name_that_is_not_utf_8() -> None:
    """Names are bytes; pydantic's own strings must not get in the way."""
    name = os.fsdecode(b"\xff.tif")

    assert FileStats.model_validate({**STATS, "baseName": name}).base_name == name


def test_a_version_changes_with_the_content_and_not_with_reading(tmp_path: Path) -> None:
    """Device, inode, size and modification time in nanoseconds."""
    file = tmp_path / "a"
    file.write_bytes(b"one")
    before = make_version(file.stat())
    file.read_bytes()
    assert make_version(file.stat()) == before

    os.utime(file, ns=(0, 1))
    touched = make_version(file.stat())
    file.write_bytes(b"three")
    os.utime(file, ns=(0, 1))

    assert len({before, touched, make_version(file.stat())}) == 3


def test_two_files_never_have_the_same_version(tmp_path: Path) -> None:
    """Even with the same size and time."""
    versions = set()
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
        os.utime(tmp_path / name, ns=(0, -5))
        versions.add(make_version((tmp_path / name).stat()))

    assert len(versions) == 2


def test_a_read_result_carries_any_bytes() -> None:
    """base64 in JSON."""
    octets = bytes(range(256))

    result = ReadResult.of(octets, "v")

    assert ReadResult.model_validate_json(result.model_dump_json(by_alias=True)).octets == octets


def test_data_that_is_not_base64_is_an_error_and_not_other_bytes() -> None:
    """A reply that was damaged must not be taken for content."""
    with pytest.raises(ValueError, match="base64"):
        _ = ReadResult(data="!!!!", version="v").octets


def test_results_are_frozen() -> None:
    """What was answered does not change."""
    with pytest.raises(ValidationError):
        FileStats.model_validate(STATS).size = 3  # type: ignore[misc]  # frozen, which is the point
