"""The filter: what a specification keeps and drops."""

from __future__ import annotations

from typing import Any

import pytest

from publisher.filters import Filter
from schemas.monitors import MonitorSpec


def filter_of(**spec: Any) -> Filter:
    defaults = {"m_type": "Persistent", "e_types": ("All",), "p_mode": "Follow", "path_string": "/data"}
    return Filter(MonitorSpec(**(defaults | spec)))


@pytest.mark.parametrize(
    ("entry", "kept", "dropped"),
    [
        ("a.tif", ["a.tif"], ["b.tif", "A.tif", "xa.tif"]),
        (".tif", ["a.tif", "b.ome.tif"], ["a.TIF", "a.tiff", "tif"]),
        (".ome.tif", ["b.ome.tif"], ["a.tif"]),
        ("run_*.dat", ["run_1.dat", "run_new\nline.dat"], ["run.dat", "xrun_1.dat"]),
        ("[ab].x", ["a.x"], ["c.x"]),
        ("/data/sub/exact", ["exact"], ["other"]),
        ("/data/sub", ["anything"], []),
        ("/data/other", [], ["anything"]),
        ("/data/*/x", ["x"], ["y"]),
        ("sub/x*", ["x1"], ["y"]),
    ],
)
def test_the_whitelist_takes_names_extensions_paths_and_patterns(
    entry: str, kept: list[str], dropped: list[str]
) -> None:
    """Exact names, extensions, absolute paths, or shell patterns; case-sensitive; files only."""
    filter_ = filter_of(whitelist=(entry,))
    assert [name for name in kept if not filter_.wants_file("/data/sub", name)] == []
    assert [name for name in dropped if filter_.wants_file("/data/sub", name)] == []
    assert filter_.wants_directory("/data", "anything")


def test_the_blacklist_wins_over_the_whitelist_and_is_for_directories_too() -> None:
    """Blacklist wins; a directory it names is not entered."""
    filter_ = filter_of(whitelist=(".tif",), blacklist=("bad*", ".zarr", "/data/secret"))
    assert filter_.wants_file("/data", "good.tif")
    assert not filter_.wants_file("/data", "bad.tif")
    assert not filter_.wants_directory("/data", "badlands")
    assert not filter_.wants_directory("/data", "a.zarr")
    assert not filter_.wants_directory("/data", "secret")
    assert filter_.wants_directory("/data/other", "secret")


@pytest.mark.parametrize(
    "name",
    [
        ".hidden",
        ".DS_Store",
        ".nfs0001",
        "Thumbs.db",
        "desktop.ini",
        "untitled folder 2",
        "New Folder",
        ".a.swp",
        "a.swp",
        "~$paper.docx",
        "#a#",
        "a~",
    ],
)
def test_system_files_are_dropped_unless_they_are_asked_for(name: str) -> None:
    """ignoreSysFiles drops dot files, desktop leftovers, editors' swap and lock files, and such directories."""
    assert not filter_of().wants_file("/data", name)
    assert not filter_of().wants_directory("/data", name)
    assert filter_of(ignore_sys_files=False).wants_file("/data", name)


def test_types_and_directory_events_are_decided_by_the_specification() -> None:
    """eTypes first; ignoreDirEvents drops events about directories."""
    filter_ = filter_of(e_types=("Creation", "Deletion"), ignore_dir_events=True)
    assert filter_.wants_event("Create", is_dir=False)
    assert not filter_.wants_event("Create", is_dir=True)
    assert not filter_.wants_event("Modify", is_dir=False)
    assert not filter_.wants_modify
    assert filter_of(e_types=("All",)).wants_modify
