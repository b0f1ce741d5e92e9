"""Files that are replaced, truncated, rewritten or deleted while they are read, again and again, by another thread."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from control.dispatcher import Aside, Caller, Octets
from control.file_server import FileServer
from publisher.roots import Roots
from schemas.errors import FileChangedError, NotFoundError, PathNotAllowedError
from schemas.methods import methods_of

SIZE = 2 << 20
ROUNDS = 150
LETTERS = (b"A", b"B")
DIGESTS = {hashlib.sha1(letter * SIZE).hexdigest() for letter in LETTERS}


def ask(server: FileServer, method: str, **params: object) -> Any:
    parsed = methods_of("files")[method].parse_params(params)
    result = server.handlers()[method](parsed, Caller(takes_octets=True))
    return result.finish() if isinstance(result, Aside) else result


@contextmanager
def meanwhile(change: Callable[[int], None]) -> Iterator[None]:
    """Has `change(0)`, `change(1)`, ... called by another thread for as long as the block lasts."""
    done = threading.Event()

    def run() -> None:
        number = 0
        while not done.is_set():
            change(number)
            number += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def replace(path: Path, letter: bytes) -> None:
    """Puts another generation in the place of a file."""
    new = path.with_name("new")
    new.write_bytes(letter * SIZE)
    new.rename(path)


def test_a_replaced_file_is_read_as_one_or_the_other(tmp_path: Path) -> None:
    """Blocks, digests and versions of a file that is renamed over belong to one generation each."""
    path = tmp_path / "f"
    path.write_bytes(LETTERS[0] * SIZE)
    server = FileServer(Roots([str(tmp_path)]))

    with meanwhile(lambda number: replace(path, LETTERS[number % 2])):
        for _ in range(ROUNDS):
            block = ask(server, "readBlock", fileId=str(path), offset=0, size=SIZE)
            assert isinstance(block, Octets)
            assert len(block.body) == SIZE
            assert len(set(block.body)) == 1
            try:
                assert ask(server, "getSHA1", fileId=str(path)).sha1 in DIGESTS
            except FileChangedError:
                continue


def test_a_version_that_no_longer_holds_is_never_answered_with_another(tmp_path: Path) -> None:
    """With the version of one generation, the answer is that generation or file-changed."""
    path = tmp_path / "f"
    path.write_bytes(LETTERS[0] * SIZE)
    server = FileServer(Roots([str(tmp_path)]))

    changed = rounds = 0
    deadline = time.monotonic() + 60
    with meanwhile(lambda number: replace(path, LETTERS[number % 2])):
        while (rounds < ROUNDS or not changed) and time.monotonic() < deadline:
            rounds += 1
            first = ask(server, "readBlock", fileId=str(path), offset=0, size=10)
            version = first.headers["version"]
            try:
                second = ask(
                    server, "readBlock", fileId=str(path), offset=SIZE - 10, size=10, version=version
                )
                assert second.body == first.body
                assert second.headers["version"] == version
            except FileChangedError:
                changed += 1
    assert changed


@pytest.mark.parametrize("how", ["truncated", "deleted"])
def test_a_file_that_shrinks_or_goes_is_an_error_or_whole(tmp_path: Path, how: str) -> None:
    """Never a digest or a block of something in between, and never a hang."""
    path = tmp_path / "f"
    server = FileServer(Roots([str(tmp_path)]))
    whole = hashlib.sha1(LETTERS[0] * SIZE).hexdigest()
    empty = hashlib.sha1(b"").hexdigest()

    def change(number: int) -> None:
        replace(path, LETTERS[0])
        if how == "truncated":
            os.truncate(path, 0)
        else:
            path.unlink()

    change(0)
    with meanwhile(change):
        for _ in range(ROUNDS):
            try:
                assert ask(server, "getSHA1", fileId=str(path)).sha1 in {whole, empty}
                block = ask(server, "readBlock", fileId=str(path), offset=0, size=SIZE)
                assert len(block.body) in {0, SIZE}
            except (FileChangedError, NotFoundError):
                continue


def test_a_link_that_is_swapped_during_the_call_leads_nowhere_outside(tmp_path: Path) -> None:
    """Whatever a name is exchanged for between two steps, nothing outside the roots is read."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "inside").mkdir(parents=True)
    outside.mkdir()
    (root / "inside" / "f").write_bytes(b"inside")
    (outside / "f").write_bytes(b"secret")
    name = root / "d"
    name.symlink_to("inside")
    server = FileServer(Roots([str(root)]))
    targets = ("inside", str(outside), "../outside")

    def swap(number: int) -> None:
        new = root / "new"
        new.symlink_to(targets[number % len(targets)])
        new.rename(name)

    seen: dict[str, int] = {"inside": 0, "refused": 0}
    deadline = time.monotonic() + 60
    with meanwhile(swap):
        while min(seen.values()) < ROUNDS and time.monotonic() < deadline:
            try:
                block = ask(server, "readBlock", fileId=f"{name}/f", offset=0, size=100)
                assert block.body == b"inside"
                seen["inside"] += 1
                assert ask(server, "getDirectory", absPath=str(name), filter="") == ["f"]
            except PathNotAllowedError:
                seen["refused"] += 1
    assert min(seen.values())


def test_a_directory_exchanged_for_a_link_leads_nowhere_outside(tmp_path: Path) -> None:
    """A directory on the way becomes a link to outside and back, all the time."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "d").mkdir(parents=True)
    outside.mkdir()
    (root / "d" / "f").write_bytes(b"inside")
    (outside / "f").write_bytes(b"secret")
    server = FileServer(Roots([str(root)]))

    def exchange(_number: int) -> None:
        (root / "d").rename(root / "kept")
        (root / "d").symlink_to(outside)
        (root / "d").unlink()
        (root / "kept").rename(root / "d")

    with meanwhile(exchange):
        for _ in range(ROUNDS * 10):
            try:
                block = ask(server, "readBlock", fileId=str(root / "d" / "f"), offset=0, size=100)
                assert block.body == b"inside"
            except (PathNotAllowedError, NotFoundError):
                continue
