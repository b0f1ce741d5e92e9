"""What a change yields: every row of the table in the semantics, on Linux, seen from outside."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.clients.watching import Watch
from tests.clients.wire import WireClient
from tests.waiting import eventually


@pytest.fixture
def watch(client: WireClient, folder: Path) -> Watch:
    """A Follow monitor on a fresh directory, everything watched, one event per block: no delay, plain order."""
    return Watch(client, folder, blockSize=1)


@pytest.fixture
def blocked(client: WireClient, folder: Path) -> Watch:
    """The same with blocks of any size."""
    return Watch(client, folder)


def existing(watch: Watch, name: str, content: bytes = b"1") -> Path:
    """A file that has been reported already."""
    path = watch.directory / name
    path.write_bytes(content)
    assert watch.told() == [("Create", name)]
    return path


def test_a_new_file_is_one_create_at_its_close(watch: Watch) -> None:
    """Written fast: one Create, and nothing else."""
    (watch.directory / "a").write_bytes(b"x" * 100_000)
    assert watch.told() == [("Create", "a")]


def test_a_new_file_is_silent_while_its_writer_has_it_open(watch: Watch) -> None:
    """Written slowly: nothing before the close, however often it is written; then one Create."""
    with (watch.directory / "slow").open("wb") as file:
        for _ in range(4):
            file.write(b"x")
            file.flush()
            assert watch.subscription.nothing(seconds=0.7)
    assert watch.told() == [("Create", "slow")]


def test_an_empty_file_is_one_create(watch: Watch) -> None:
    """Touched: there is nothing to write, and still it is there."""
    (watch.directory / "empty").touch()
    assert watch.told() == [("Create", "empty")]


@pytest.mark.parametrize("mode", ["ab", "wb", "r+b"], ids=["append", "truncate", "overwrite"])
def test_a_burst_of_writes_is_one_modify_not_before_the_close(watch: Watch, mode: str) -> None:
    """Append, truncate and overwrite alike."""
    path = existing(watch, "a", b"0123456789")
    with path.open(mode) as file:
        for _ in range(20):
            file.write(b"x")
            file.flush()
    assert watch.told() == [("Modify", "a")]


def test_a_truncation_by_name_is_a_modify(watch: Watch) -> None:
    """truncate(2) opens nothing, and changes the content all the same."""
    os.truncate(existing(watch, "a", b"0123456789"), 3)
    assert watch.told() == [("Modify", "a")]


def test_a_file_kept_open_and_written_is_reported_at_intervals(watch: Watch) -> None:
    """A consumer sees a file grow that is written for long; and the last Modify is not before the close."""
    path = existing(watch, "log")
    with path.open("ab") as file:

        def grown() -> bool:
            file.write(b"x")
            file.flush()
            watch.client.pump(lambda: False, 0.05)
            return len(watch.subscription.messages) >= 2 + 3

        eventually(grown, seconds=12)
        seen = len(watch.subscription.messages)
        file.write(b"the end")
    changes = watch.told()
    assert set(changes) == {("Modify", "log")}
    assert len(watch.subscription.messages) > seen, "nothing after the close"


def test_what_changes_no_content_is_not_reported(watch: Watch) -> None:
    """Open for append and close without writing; read; chmod; utime of a file: nothing."""
    path = existing(watch, "a")
    path.open("ab").close()
    path.read_bytes()
    path.chmod(0o600)
    os.utime(path, (1, 1))
    assert watch.told() == []


def test_a_rename_inside_is_delete_and_create_side_by_side(blocked: Watch) -> None:
    """Both in one block, next to each other, the Delete first."""
    path = existing(blocked, "old")
    path.rename(blocked.directory / "new")
    assert blocked.told() == [("Delete", "old"), ("Create", "new")]
    holding = [block for block in blocked.blocks if any(e["baseName"] == "old" for e in block["events"])]
    names = [event["baseName"] for event in holding[-1]["events"]]
    assert names[names.index("old") :][:2] == ["old", "new"]


def test_a_rename_between_subdirectories_is_delete_and_create(watch: Watch) -> None:
    """The tree is one, however many directories it has."""
    (watch.directory / "in").mkdir()
    (watch.directory / "out").mkdir()
    assert sorted(watch.told()) == [("Create", "in"), ("Create", "out")]
    existing(watch, "in/a").rename(watch.directory / "out" / "b")
    assert watch.told() == [("Delete", "in/a"), ("Create", "out/b")]


def test_a_move_in_is_a_create(watch: Watch, tmp_path: Path) -> None:
    """From elsewhere on the same file system: complete at once."""
    outside = watch.directory.parent / f"{watch.directory.name}-outside"
    outside.write_bytes(b"x")
    outside.rename(watch.directory / "a")
    assert watch.told() == [("Create", "a")]


def test_a_move_out_is_a_delete_that_waits_for_nothing(watch: Watch) -> None:
    """It can't be known that no counterpart comes, so it is not waited for: no half second, for no event."""
    path = existing(watch, "a")
    path.rename(watch.directory.parent / f"{watch.directory.name}-outside")
    assert watch.one(seconds=0.4) == [("Delete", "a")]
    assert watch.told() == []


def test_writing_aside_and_renaming_makes_a_new_file(watch: Watch) -> None:
    """The way of careful writers, where there was no file: Delete of the temporary name, Create of the file."""
    temporary = existing(watch, "x.tmp")
    temporary.rename(watch.directory / "x")
    assert watch.told() == [("Delete", "x.tmp"), ("Create", "x")]


def test_writing_aside_and_renaming_over_modifies_a_file(watch: Watch) -> None:
    """The way of careful writers, where there was one: Delete of the temporary name, Modify of the file."""
    existing(watch, "x")
    temporary = existing(watch, "x.tmp", b"22")
    temporary.rename(watch.directory / "x")
    assert watch.told() == [("Delete", "x.tmp"), ("Modify", "x")]


def test_what_nothing_ever_closes_is_created_at_once(watch: Watch) -> None:
    """A symbolic link, a hard link, a FIFO and a socket."""
    path = existing(watch, "a")
    (watch.directory / "symbolic").symlink_to("nowhere")
    (watch.directory / "hard").hardlink_to(path)
    os.mkfifo(watch.directory / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        # An address is at most 107 bytes long, so it is named from where it is (unix(7)).
        directory = os.open(watch.directory, os.O_PATH)
        try:
            listener.bind(f"/proc/self/fd/{directory}/socket")
        finally:
            os.close(directory)
    assert watch.told() == [
        ("Create", "symbolic"),
        ("Create", "hard"),
        ("Create", "fifo"),
        ("Create", "socket"),
    ]


def test_a_tree_made_at_once_is_reported_whole_and_once(watch: Watch) -> None:
    """mkdir -p a/b/c and files inside, faster than anyone can add watches: each exactly once."""
    expected = []
    for number in range(50):
        deep = Path(f"{number}/b/c")
        (watch.directory / deep).mkdir(parents=True)
        for name in ("x", "y", "z"):
            (watch.directory / deep / name).write_bytes(b"x")
            expected.append(("Create", f"{deep}/{name}"))
        expected += [("Create", str(part)) for part in (deep, *deep.parents) if part.name]
    changes = watch.told()
    assert sorted(changes) == sorted(expected)
    assert changes.index(("Create", "7/b")) < changes.index(("Create", "7/b/c/x"))


def test_a_copied_tree_is_reported_whole_and_once(watch: Watch) -> None:
    """cp -r of directories and files."""
    source = watch.directory.parent / f"{watch.directory.name}-source"
    for number in range(10):
        (source / f"d{number}").mkdir(parents=True)
        for name in range(10):
            (source / f"d{number}" / f"f{name}").write_bytes(b"x" * 10_000)
    shutil.copytree(source, watch.directory / "copy")
    expected = [("Create", f"copy/{path.relative_to(source)}") for path in source.rglob("*")]
    assert sorted(watch.told()) == sorted([("Create", "copy"), *expected])


def test_a_tree_moved_in_is_reported_whole_and_watched(watch: Watch) -> None:
    """What is in it, once each; and what happens in it from then on."""
    source = watch.directory.parent / f"{watch.directory.name}-source"
    (source / "b" / "c").mkdir(parents=True)
    (source / "b" / "c" / "x").write_bytes(b"x")
    source.rename(watch.directory / "a")
    expected = [("Create", "a"), ("Create", "a/b"), ("Create", "a/b/c"), ("Create", "a/b/c/x")]
    assert sorted(watch.told()) == expected
    (watch.directory / "a/b/c/later").write_bytes(b"x")
    assert watch.told() == [("Create", "a/b/c/later")]


def test_a_file_found_while_it_is_written_is_reported_at_its_close(watch: Watch) -> None:
    """A tree moved in with a writer still at work in it."""
    source = watch.directory.parent / f"{watch.directory.name}-source"
    source.mkdir()
    with (source / "open").open("wb") as file:
        file.write(b"x")
        file.flush()
        source.rename(watch.directory / "a")
        assert watch.until_fence() == [("Create", "a")]
        file.write(b"x")
        file.flush()
        assert watch.subscription.nothing(seconds=0.5)
    assert watch.told() == [("Create", "a/open")]


def test_a_removed_tree_is_reported_deepest_first(watch: Watch) -> None:
    """rm -r: a Delete for everything, what is below before what is above."""
    (watch.directory / "a/b/c").mkdir(parents=True)
    (watch.directory / "a/b/c/x").write_bytes(b"x")
    (watch.directory / "a/y").write_bytes(b"x")
    watch.told()
    shutil.rmtree(watch.directory / "a")
    deepest_first(watch.told(), {"a", "a/b", "a/b/c", "a/b/c/x", "a/y"})


def test_a_tree_moved_out_is_reported_deepest_first(watch: Watch) -> None:
    """The kernel tells of the top alone: what was known below it is told too, and it is watched no longer."""
    (watch.directory / "a/b/c").mkdir(parents=True)
    (watch.directory / "a/b/c/x").write_bytes(b"x")
    (watch.directory / "a/y").write_bytes(b"x")
    watch.told()
    elsewhere = watch.directory.parent / f"{watch.directory.name}-elsewhere"
    (watch.directory / "a").rename(elsewhere)
    deepest_first(watch.told(), {"a", "a/b", "a/b/c", "a/b/c/x", "a/y"})
    (elsewhere / "b/c/later").write_bytes(b"x")
    assert watch.told() == []


def test_a_renamed_subdirectory_is_told_under_both_names(watch: Watch) -> None:
    """Delete for all below the old name, deepest first; Create for all below the new one; watched as before."""
    (watch.directory / "old/b").mkdir(parents=True)
    (watch.directory / "old/b/x").write_bytes(b"x")
    watch.told()
    (watch.directory / "old").rename(watch.directory / "new")
    changes = watch.told()
    deepest_first([change for change in changes if change[0] == "Delete"], {"old", "old/b", "old/b/x"})
    created = [path for kind, path in changes if kind == "Create"]
    assert sorted(created) == ["new", "new/b", "new/b/x"]
    (watch.directory / "new/b/later").write_bytes(b"x")
    assert watch.told() == [("Create", "new/b/later")]


def test_a_file_deleted_before_its_writer_closes_is_never_created_after_the_delete(watch: Watch) -> None:
    """Nothing, or Create then Delete."""
    path = watch.directory / "short-lived"
    with path.open("wb") as file:
        file.write(b"x")
        file.flush()
        path.unlink()
    assert watch.told() in ([], [("Create", path.name), ("Delete", path.name)])


def test_a_deleted_file_is_one_delete(watch: Watch) -> None:
    """And a file of that name made again is a Create again."""
    path = existing(watch, "a")
    path.unlink()
    path.write_bytes(b"2")
    assert watch.told() == [("Delete", "a"), ("Create", "a")]


def deepest_first(changes: list[tuple[str, str]], paths: set[str]) -> None:
    """Each path deleted exactly once, what is below before what is above."""
    assert {kind for kind, _ in changes} == {"Delete"}
    deleted = [path for _, path in changes]
    assert sorted(deleted) == sorted(paths)
    for path in deleted:
        below = [other for other in deleted if other.startswith(f"{path}/")]
        assert all(deleted.index(other) < deleted.index(path) for other in below), deleted
