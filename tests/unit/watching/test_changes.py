"""What a change yields: the table of the semantics, row by row, on real files."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from publisher.arming import MonitorSettings
from tests.unit.watching.conftest import Site
from tests.waiting import eventually, stays


def test_a_new_file_yields_one_create_at_its_close(site: Site) -> None:
    """New file, written fast or slowly: one Create, at close, never while the writer has it open."""
    monitor = site.monitor()
    with (site.root / "slow").open("w") as slow:
        slow.write("part")
        slow.flush()
        (site.root / "fast").write_text("all")
        eventually(lambda: ("Create", "fast") in site.events(monitor))
        stays(lambda: ("Create", "slow") not in site.events(monitor), seconds=0.4)
    assert site.after(monitor) == [("Create", "fast"), ("Create", "slow")]


def test_a_file_closed_by_one_of_two_writers_is_not_done(site: Site) -> None:
    """A second writer's close does not make a file complete while the first still has it open."""
    monitor = site.monitor()
    with (site.root / "f").open("w") as first:
        (site.root / "f").write_text("second")
        stays(lambda: not site.events(monitor), seconds=0.4)
        first.write("first")
    assert site.after(monitor) == [("Create", "f")]


@pytest.mark.parametrize("change", ["append", "truncate", "overwrite", "truncate by name"])
def test_a_change_in_place_yields_one_modify(site: Site, change: str) -> None:
    """Append, truncate, overwrite in place: one Modify per burst of writes."""
    path = site.root / "f"
    path.write_text("content")
    monitor = site.monitor()
    if change == "append":
        with path.open("a") as f:
            f.write("more")
            f.flush()
            f.write("and more")
    elif change == "truncate":
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    elif change == "truncate by name":
        os.truncate(path, 2)
        eventually(lambda: site.events(monitor))
    else:
        path.write_text("other")
    assert site.after(monitor) == [("Modify", "f")]


def test_a_file_that_stays_open_is_reported_while_it_grows_and_at_its_close(site: Site) -> None:
    """Kept open and written for long: Modify at intervals; the last one not before the close."""
    (site.root / "f").touch()
    monitor = site.monitor()
    with (site.root / "f").open("a", buffering=1) as f:
        f.write("one\n")
        eventually(lambda: site.events(monitor) == [("Modify", "f")])
        f.write("two\n")
        eventually(lambda: site.events(monitor) == [("Modify", "f")] * 2)
    assert site.after(monitor) == [("Modify", "f")] * 3


def test_what_changes_no_content_yields_nothing(site: Site) -> None:
    """Open for append and close without writing, read, chmod, utime: nothing."""
    path = site.root / "f"
    path.write_text("content")
    monitor = site.monitor()
    path.open("a").close()
    path.read_text()
    path.chmod(0o600)
    os.utime(path, (1, 1))
    assert site.after(monitor) == []


def test_a_rename_inside_yields_delete_and_create_side_by_side_in_one_block(site: Site) -> None:
    """Rename inside the tree: Delete(old), Create(new), never split over two blocks."""
    for number in range(9):
        (site.root / f"f{number}").touch()
    monitor = site.monitor(block_size=3)
    for number in range(9):
        (site.root / f"f{number}").rename(site.root / f"g{number}")
    site.after(monitor)
    blocks = [[(e.type, e.base_name) for e in block.events] for block in site.blocks(monitor)]
    for number in range(9):
        pair = [("Delete", f"f{number}"), ("Create", f"g{number}")]
        assert any(pair == block[i : i + 2] for block in blocks for i in range(len(block)))


def test_a_move_in_or_out_waits_for_no_counterpart(site: Site, tmp_path: Path) -> None:
    """Move in: Create; move out: Delete; both at once, in the kernel's order."""
    (site.root / "out").touch()
    (tmp_path / "in").touch()
    monitor = site.monitor()
    (site.root / "out").rename(tmp_path / "gone")
    (tmp_path / "in").rename(site.root / "in")
    assert site.after(monitor) == [("Delete", "out"), ("Create", "in")]


def test_a_file_renamed_over_another_is_a_modify_of_it(site: Site) -> None:
    """Write x.tmp, rename over x: Delete x.tmp; Create x if it was new, Modify if it replaced a file."""
    monitor = site.monitor()
    for _ in range(2):
        (site.root / "x.tmp").write_text("new")
        (site.root / "x.tmp").rename(site.root / "x")
    first = [("Create", "x.tmp"), ("Delete", "x.tmp"), ("Create", "x")]
    assert site.after(monitor) == [*first, *first[:2], ("Modify", "x")]


def test_an_unfinished_file_that_is_renamed_is_done_at_its_close(site: Site) -> None:
    """A rename does not complete a file: its writer's close does, under the new name."""
    monitor = site.monitor()
    with (site.root / "part").open("w") as f:
        (site.root / "part").rename(site.root / "whole")
        stays(lambda: not site.events(monitor), seconds=0.3)
        f.write("x")
    assert site.after(monitor) == [("Create", "whole")]


def test_links_and_special_files_are_created_at_once(site: Site) -> None:
    """Symlink, hard link, FIFO, socket, mknod: Create without a close, which nothing ever gives them."""
    (site.root / "f").touch()
    monitor = site.monitor()
    (site.root / "symlink").symlink_to("nowhere")
    (site.root / "hard").hardlink_to(site.root / "f")
    os.mkfifo(site.root / "fifo")
    assert site.after(monitor) == [("Create", "symlink"), ("Create", "hard"), ("Create", "fifo")]
    os.mknod(site.root / "node", 0o600)
    eventually(lambda: ("Create", "node") in site.events(monitor))


def test_a_hard_link_to_a_file_that_is_being_written_is_not_done(site: Site) -> None:
    """Nothing is complete while somebody can still write to it, whatever name it is seen under."""
    monitor = site.monitor()
    with (site.root / "f").open("w"):
        (site.root / "hard").hardlink_to(site.root / "f")
        stays(lambda: not site.events(monitor), seconds=0.3)
    eventually(lambda: sorted(site.events(monitor)) == [("Create", "f"), ("Create", "hard")])


def test_a_tree_made_at_once_is_reported_whole_and_once(site: Site) -> None:
    """mkdir -p a/b/c with files inside at once: Create for each directory and file exactly once."""
    monitor = site.monitor()
    expected = set()
    for number in range(100):
        for below in (f"{number}/a", f"{number}/a/b", f"{number}/a/b/c"):
            (site.root / below).mkdir(parents=True)
            (site.root / below / "file").write_text("x")
            expected |= {("Create", below), ("Create", f"{below}/file")}
        expected.add(("Create", str(number)))
    eventually(lambda: len(site.events(monitor)) >= len(expected), seconds=30)
    events = site.after(monitor)
    assert set(events) == expected
    assert len(events) == len(expected)
    for index, (_, path) in enumerate(events):
        assert "/" not in path or ("Create", os.path.dirname(path)) in events[:index]


def test_a_copied_tree_is_reported_whole_and_once(site: Site, tmp_path: Path) -> None:
    """cp -r: Create for each directory and file exactly once."""
    source = tmp_path / "source"
    for number in range(300):
        (source / f"{number % 7}" / f"{number % 5}").mkdir(parents=True, exist_ok=True)
        (source / f"{number % 7}" / f"{number % 5}" / f"f{number}").write_text("x" * number)
    monitor = site.monitor()
    shutil.copytree(source, site.root / "copy")
    expected = {("Create", "copy")} | {
        ("Create", f"copy/{path.relative_to(source)}") for path in source.rglob("*")
    }
    eventually(lambda: len(site.events(monitor)) >= len(expected))
    events = site.after(monitor)
    assert sorted(events) == sorted(expected)


def test_a_tree_moved_in_is_reported_with_its_later_changes(site: Site, tmp_path: Path) -> None:
    """A tree moved in: all inside, marked as found by listing, and every later change; an open file at its close."""
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "f").touch()
    monitor = site.monitor()
    with (tmp_path / "tree" / "open").open("w") as unfinished:
        (tmp_path / "tree").rename(site.root / "tree")
        eventually(lambda: ("Create", "tree/deep/f") in site.events(monitor))
        stays(lambda: ("Create", "tree/open") not in site.events(monitor), seconds=0.3)
        unfinished.write("x")
    (site.root / "tree" / "deep" / "later").touch()
    events = site.after(monitor)
    assert sorted(events) == sorted(
        ("Create", path) for path in ("tree", "tree/deep", "tree/deep/f", "tree/deep/later", "tree/open")
    )
    assert {e.base_name: e.origin for e in site.infos(monitor) if e.base_name in {"tree", "f", "later"}} == {
        "tree": None,
        "f": "scan",
        "later": None,
    }


@pytest.mark.parametrize("how", ["rm -r", "moved out", "renamed"])
def test_a_tree_that_goes_is_deleted_deepest_first(site: Site, tmp_path: Path, how: str) -> None:
    """rm -r, tree moved out, watched subdirectory renamed: Delete for everything known below it, deepest first."""
    tree = site.root / "tree"
    for below in ("a/b", "c"):
        (tree / below).mkdir(parents=True)
        (tree / below / "f").touch()
    monitor = site.monitor()
    (tree / "a" / "later").touch()
    site.after(monitor)
    if how == "rm -r":
        shutil.rmtree(tree)
    else:
        tree.rename(tmp_path / "gone" if how == "moved out" else site.root / "other")
    events = site.after(monitor)
    deleted = [path for event, path in events if event == "Delete"]
    paths = ["tree", "tree/a", "tree/a/b", "tree/a/b/f", "tree/a/later", "tree/c", "tree/c/f"]
    assert sorted(deleted) == paths
    assert all(deleted.index(path) < deleted.index(os.path.dirname(path)) for path in paths[1:])
    if how == "renamed":
        assert events.index(("Create", "other")) == events.index(("Delete", "tree")) + 1
        created = sorted(path for event, path in events if event == "Create" and path.startswith("other"))
        assert created == [path.replace("tree", "other", 1) for path in paths]


def test_a_renamed_directory_stays_watched(site: Site) -> None:
    """What happens in a directory after it was renamed is reported under its new name, an open file's close too."""
    (site.root / "old").mkdir()
    monitor = site.monitor()
    with (site.root / "old" / "open").open("w"):
        (site.root / "old").rename(site.root / "new")
        (site.root / "new" / "f").touch()
    events = site.after(monitor)
    assert events[:2] == [("Delete", "old"), ("Create", "new")]
    # A file that was just closed may be looked at twice, and then another one is done before it.
    assert sorted(events[2:]) == [("Create", "new/f"), ("Create", "new/open")]


def test_a_directory_moved_out_is_not_watched_any_more(site: Site, tmp_path: Path) -> None:
    """Nothing outside the tree is reported."""
    (site.root / "d").mkdir()
    monitor = site.monitor()
    (site.root / "d").rename(tmp_path / "d")
    site.after(monitor)
    (tmp_path / "d" / "f").touch()
    assert site.after(monitor) == [("Delete", "d")]
    assert monitor.coverage.watched == 1


def test_a_file_deleted_before_its_close_is_never_created_after_its_delete(site: Site) -> None:
    """Nothing, or Create then Delete; never a Create after the Delete."""
    monitor = site.monitor()
    with (site.root / "f").open("w"):
        (site.root / "f").unlink()
    for number in range(200):
        with (site.root / f"g{number}").open("w") as f:
            f.write("x")
        (site.root / f"g{number}").unlink()
    events = site.after(monitor)
    assert not [event for event in events if event[1] == "f"]
    for number in range(200):
        assert [kind for kind, path in events if path == f"g{number}"] in (["Create", "Delete"], [])


def test_a_file_made_again_after_its_deletion_is_created_again(site: Site) -> None:
    """Delete and Create follow each other as often as they happen."""
    monitor = site.monitor()
    for _ in range(3):
        (site.root / "f").write_text("x")
        (site.root / "f").unlink()
    assert site.after(monitor) == [("Create", "f"), ("Delete", "f")] * 3


def test_names_of_any_bytes_survive(site: Site) -> None:
    """Spaces, newlines, bytes that are not UTF-8, 255-byte names and deep paths neither stop a monitor nor change."""
    monitor = site.monitor()
    names = [b" ", b"new\nline", b"\xff\xfe", "ünï".encode(), b"n" * 255, b'back\\slash"quote', b"\x01\x7f"]
    for name in names:
        Path(os.fsdecode(os.fsencode(site.root) + b"/" + name)).touch()
    events = site.after(monitor)
    assert [os.fsencode(path) for _, path in events] == names


def test_paths_longer_than_the_kernel_takes_are_watched(site: Site) -> None:
    """A path beyond PATH_MAX can be made and so must be watched; a file in it is reported at its close."""
    monitor = site.monitor()
    fd = os.open(site.root, os.O_RDONLY)
    path = []
    for number in range(20):
        name = f"{number:02d}" + "d" * 250
        os.mkdir(name, dir_fd=fd)
        path.append(name)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    eventually(lambda: ("Create", "/".join(path)) in site.events(monitor))
    eventually(lambda: monitor.coverage.watched == 21)
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    eventually(lambda: ("Create", "/".join([*path, "file"])) in site.events(monitor))


def test_a_burst_arrives_complete(site: Site) -> None:
    """Every file of a burst, once, from several writers at a time."""
    monitor = site.monitor(block_size=100)

    def write(writer: int) -> None:
        for number in range(1500):
            os.close(os.open(f"{site.root}/w{writer}-{number}", os.O_CREAT | os.O_WRONLY))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    events = site.after(monitor)
    assert len(events) == len(set(events)) == 6000


def test_overlapping_monitors_are_independent(site: Site) -> None:
    """Two monitors on one tree each hear everything, and stopping one does not touch the other."""
    (site.root / "d").mkdir()
    first, second = site.monitor(), site.monitor(path_string=str(site.root / "d"))
    (site.root / "d" / "f").touch()
    eventually(lambda: site.events(second) == [("Create", "d/f")])
    second.stop()
    (site.root / "d" / "g").touch()
    assert site.after(first) == [("Create", "d/f"), ("Create", "d/g")]
    assert site.events(second) == [("Create", "d/f")]


def test_only_the_types_that_are_watched_are_reported(site: Site) -> None:
    """eTypes decides, and what is not watched is counted as filtered."""
    monitor = site.monitor(e_types=("Deletion",), settings=MonitorSettings())
    (site.root / "f").write_text("x")
    (site.root / "f").unlink()
    eventually(lambda: site.events(monitor) == [("Delete", "f")])
    assert monitor.counters.filtered == 1
