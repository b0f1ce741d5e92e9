"""FileServer against the operating system's own answers, on generated trees: os.stat, hashlib, ls."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from control.dispatcher import Aside, Caller, Octets
from control.file_server import FileServer
from publisher.roots import Roots
from schemas.methods import methods_of

NAMES = st.binary(min_size=1, max_size=20).filter(
    lambda name: not {0, 47} & set(name) and name not in {b".", b".."}
)
KINDS = st.sampled_from(["file", "file", "dir", "link in", "link out", "dangling", "fifo"])
TREES = st.lists(
    st.tuples(st.lists(NAMES, min_size=1, max_size=3), KINDS, st.binary(max_size=200)), max_size=12
)


@contextmanager
def tree(entries: list[tuple[list[bytes], str, bytes]]) -> Iterator[bytes]:
    """A directory with these entries; what cannot be made where something else is already is left out."""
    base = os.fsencode(tempfile.mkdtemp(prefix="fsherald-"))
    root = base + b"/root"
    os.mkdir(root)
    Path(os.fsdecode(base + b"/outside")).write_text("outside")
    try:
        for parts, kind, content in entries:
            path = b"/".join([root, *parts])
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                make(path, kind, content, base)
            except OSError:
                continue
        yield root
    finally:
        shutil.rmtree(base)


def make(path: bytes, kind: str, content: bytes, base: bytes) -> None:
    if kind == "file":
        with open(path, "xb") as f:
            f.write(content)
    elif kind == "dir":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        targets = {"link in": base + b"/root", "link out": base + b"/outside", "dangling": b"nowhere"}
        os.symlink(targets[kind], path)


def ask(root: bytes, method: str, path: bytes, **params: object) -> Any:
    server = FileServer(Roots([os.fsdecode(root)]))
    key = "absPath" if "Directory" in method else "fileId"
    parsed = methods_of("files")[method].parse_params({key: os.fsdecode(path), **params})
    result = server.handlers()[method](parsed, Caller(takes_octets=True))
    return result.finish() if isinstance(result, Aside) else result


def everything(root: bytes) -> list[bytes]:
    return [
        os.path.join(directory, name)
        for directory, directories, files in os.walk(root)
        for name in [*directories, *files]
    ]


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_stats_are_those_of_the_system(entries: list[tuple[list[bytes], str, bytes]]) -> None:
    """Size, times, owner and type of everything that is no link, whatever its name."""
    with tree(entries) as root:
        for path in everything(root):
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                continue
            stats = ask(root, "getStats", path)
            expected = (
                os.fsdecode(os.path.basename(path)),
                status.st_size,
                status.st_mtime,
                status.st_ctime,
                pwd.getpwuid(status.st_uid).pw_name,
            )
            assert (stats.base_name, stats.size, stats.m_time, stats.c_time, stats.owner) == expected
            assert ask(root, "isDir", path) == stat.S_ISDIR(status.st_mode)
            assert ask(root, "isFile", path) == stat.S_ISREG(status.st_mode)
            assert ask(root, "fileExists", path) is True
            assert ask(root, "fileExists", path + b"-not") == os.path.lexists(path + b"-not")


@settings(max_examples=60, deadline=None)
@given(TREES, st.integers(0, 250), st.integers(0, 250))
def test_content_is_that_of_the_system(
    entries: list[tuple[list[bytes], str, bytes]], offset: int, size: int
) -> None:
    """SHA-1 and any range of any file, past the end too."""
    with tree(entries) as root:
        for path in everything(root):
            if not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            content = Path(os.fsdecode(path)).read_bytes()
            assert ask(root, "getSHA1", path).sha1 == hashlib.sha1(content).hexdigest()
            block = ask(root, "readBlock", path, offset=offset, size=size)
            assert isinstance(block, Octets)
            assert block.body == content[offset : offset + size]


@settings(max_examples=40, deadline=None)
@given(TREES, st.sampled_from(["", "*", ".*", "*a*", "?", "[a-m]*"]), st.integers(1, 4))
def test_listings_are_those_of_ls(
    entries: list[tuple[list[bytes], str, bytes]], pattern: str, limit: int
) -> None:
    """The names that `ls` shows, sorted, a directory's with a slash; pages put together are the whole."""
    with tree(entries) as root:
        shell = f"ls -d1p --zero -- {pattern or '*'} 2>/dev/null"
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        out = subprocess.run(["sh", "-c", shell], cwd=root, env=environment, capture_output=True, check=False)
        shown = [os.fsdecode(name) for name in out.stdout.split(b"\0") if name]
        expected = {
            name
            for name in shown
            if name not in {"./", "../"} and os.path.lexists(root + b"/" + os.fsencode(name))
        }
        whole = ask(root, "getDirectory", root, filter=pattern)
        assert set(whole) == expected
        assert [name.rstrip("/") for name in whole] == sorted(name.rstrip("/") for name in whole)
        bulk = ask(root, "getBulkDirectory", root, filter=pattern)
        assert [stats.base_name for stats in bulk] == [name.rstrip("/") for name in whole]
        paged: list[str] = []
        while page := ask(
            root, "getDirectory", root, filter=pattern, limit=limit, **({"after": paged[-1]} if paged else {})
        ):
            paged += page
        assert paged == whole
