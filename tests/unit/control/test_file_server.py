"""FileServer on real directories: every operation, every kind of file, and nothing outside the roots."""

from __future__ import annotations

import hashlib
import os
import pwd
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from control import content, directory, file_look
from control.dispatcher import NOT_AT_ONCE, Aside, Caller, Octets
from control.file_look import owner_name
from control.file_server import FileServer
from control.local_mounts import LocalMounts
from publisher.beneath import mount_number
from publisher.roots import Roots
from schemas.errors import (
    FileChangedError,
    LimitExceededError,
    NotADirectoryFSError,
    NotAFileError,
    NotFoundError,
    OmeroFSError,
    PathNotAllowedError,
    RequestError,
    ShuttingDownError,
)
from schemas.files import FileType, make_version
from schemas.methods import methods_of

OF_ONE_FILE = (
    "fileExists",
    "isDir",
    "isFile",
    "getBaseName",
    "getSize",
    "getOwner",
    "getATime",
    "getCTime",
    "getMTime",
    "getStats",
    "getSHA1",
)

Ask = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def ask(root: Path) -> Ask:
    return asker(FileServer(Roots([str(root)])))


def asker(server: FileServer, caller: Caller | None = None) -> Ask:
    """Calls a method as the dispatcher would, from the values on the wire; what is put aside is finished."""
    handlers, methods = server.handlers(), methods_of("files")

    def ask(name: str, path: Path | str, **params: object) -> Any:
        key = "absPath" if "Directory" in name else "fileId"
        parsed = methods[name].parse_params({key: str(path), **params})
        result = handlers[name](parsed, caller or Caller())
        return result.finish() if isinstance(result, Aside) else result

    return ask


def test_every_method_of_the_contract_is_served(root: Path) -> None:
    """All fourteen and getStats; rpc.discover is the service's."""
    assert FileServer(Roots([str(root)])).handlers().keys() == methods_of("files").keys() - {"rpc.discover"}


def test_a_listing_is_sorted_and_marks_directories(root: Path, ask: Ask) -> None:
    """Names in order; directories end in a slash; links and special files are there; dot files are not."""
    (root / "b.txt").touch()
    (root / "a").mkdir()
    (root / "A.txt").touch()
    (root / ".hidden").touch()
    (root / "link").symlink_to("a")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "fifo")
    assert ask("getDirectory", root) == ["A.txt", "a/", "b.txt", "dangling", "fifo", "link"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ["a.tif", "b.ome.tif", "b.txt"]),
        ("*", ["a.tif", "b.ome.tif", "b.txt"]),
        ("*.tif", ["a.tif", "b.ome.tif"]),
        ("[ab].t??", ["a.tif", "b.txt"]),
        ("[!a]*", ["b.ome.tif", "b.txt"]),
        (".*", [".dot", ".tif"]),
        ("?dot", []),
        ("*dot", []),
        ("A.TIF", []),
        ("b.txt", ["b.txt"]),
        ("no/slash", []),
        ("[", []),
    ],
)
def test_a_filter_is_a_shell_pattern(root: Path, ask: Ask, pattern: str, expected: list[str]) -> None:
    """As for ls: case counts, and only a pattern that begins with a dot shows dot files."""
    for name in ("a.tif", "b.ome.tif", "b.txt", ".dot", ".tif"):
        (root / name).touch()
    assert ask("getDirectory", root, filter=pattern) == expected
    assert [stats.base_name for stats in ask("getBulkDirectory", root, filter=pattern)] == expected


def test_a_pattern_made_to_take_for_ever_does_not(root: Path, ask: Ask) -> None:
    """Matching is linear in the stars; a pattern that is too long is refused."""
    (root / ("a" * 250)).touch()
    assert ask("getDirectory", root, filter="*a" * 100 + "b") == []
    with pytest.raises(LimitExceededError):
        ask("getDirectory", root, filter="*" * 5000)


def test_pages_make_up_the_whole(root: Path, ask: Ask) -> None:
    """`after` takes the last name of the page before, with its slash or without."""
    for number in range(25):
        (root / f"{number:02}").mkdir() if number % 2 else (root / f"{number:02}").touch()
    whole = ask("getDirectory", root)
    pages: list[str] = []
    while page := ask("getDirectory", root, limit=4, **({"after": pages[-1]} if pages else {})):
        assert len(page) <= 4
        pages += page
    assert pages == whole
    stats = ask("getBulkDirectory", root, limit=10, after=whole[20])
    assert [each.base_name for each in stats] == [name.rstrip("/") for name in whole[21:]]


def test_a_directory_with_too_many_entries_is_asked_for_in_pages(
    root: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded: without a limit there is one of ours, which the error names."""
    monkeypatch.setattr(directory, "NAMES_LIMIT", 3)
    monkeypatch.setattr(directory, "STATS_LIMIT", 2)
    for name in "abcd":
        (root / name).touch()
    with pytest.raises(LimitExceededError, match="3 entries"):
        ask("getDirectory", root)
    assert ask("getDirectory", root, limit=3) == ["a", "b", "c"]
    assert [each.base_name for each in ask("getBulkDirectory", root, limit=2)] == ["a", "b"]


def test_stats_are_those_of_the_file(root: Path, ask: Ask) -> None:
    """Sizes of 64 bits, times as doubles, the owner by name, a version that ties the answers together."""
    file = root / "big.tif"
    with file.open("wb") as handle:
        handle.truncate(5 << 30)
    os.utime(file, ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321))
    status = file.stat()
    stats = ask("getStats", file)
    assert (stats.base_name, stats.size, stats.type) == ("big.tif", 5 << 30, FileType.FILE)
    assert (stats.m_time, stats.a_time, stats.c_time) == (status.st_mtime, status.st_atime, status.st_ctime)
    assert stats.version == make_version(status)
    assert stats.owner == ask("getOwner", file) == pwd.getpwuid(os.getuid()).pw_name
    assert ask("getSize", file) == 5 << 30
    assert ask("getMTime", file) == status.st_mtime
    assert ask("getATime", file) == status.st_atime
    assert ask("getCTime", file) == status.st_ctime
    assert ask("getBaseName", file) == "big.tif"


class AtOnce:
    """What is answered at once beneath a root on a mount that counts as of the given kind."""

    def __init__(self, root: Path, table: Path, kind: str) -> None:
        fd = os.open(root, os.O_PATH)
        table.write_text(f"{mount_number(fd)} 0 8:1 / / rw - {kind} /dev/x rw\n")
        os.close(fd)
        self.mounts = LocalMounts(str(table))
        self._server = FileServer(Roots([str(root)]), mounts=self.mounts)
        self.later = asker(self._server)

    def __call__(self, name: str, path: Path | str) -> Any:
        params = methods_of("files")[name].parse_params({"fileId": str(path)})
        return self._server.at_once()[name](params, Caller())


@pytest.fixture
def at_once(root: Path, tmp_path: Path) -> Iterator[AtOnce]:
    made = AtOnce(root, tmp_path / "mountinfo", "ext4")
    with made.mounts:
        yield made


def test_one_look_at_a_local_file_is_answered_at_once_and_the_same(root: Path, at_once: AtOnce) -> None:
    """All but the digest; once somebody has looked with time to wait."""
    file = root / "a b.tif"
    file.write_text("12345")
    os.mkfifo(root / "fifo")
    for path in (file, root / "fifo", f"{root}//./a b.tif"):
        for name in OF_ONE_FILE:
            if name != "getSHA1":
                expected = at_once.later(name, path)
                assert at_once(name, path) == expected, name


def test_what_may_have_to_wait_is_not_answered_at_once(root: Path, at_once: AtOnce) -> None:
    """Links and directories lead to other mounts; errors take another look."""
    (root / "file").touch()
    (root / "link").symlink_to("file")
    (root / "directory").mkdir()
    (root / "through").symlink_to("directory")
    (root / "directory" / "file").touch()
    at_once.later("getStats", root / "file")
    assert at_once("fileExists", root / "file") is True
    for name in (
        "link",
        "directory",
        "through/file",
        "absent",
        "directory/../file",
        "../root/file",
        "file/x",
    ):
        assert at_once("fileExists", f"{root}/{name}") is NOT_AT_ONCE, name
    for path in ("/etc/passwd", f"{root}x", "relative"):
        assert at_once("fileExists", path) is NOT_AT_ONCE, path


def test_nothing_on_a_network_is_answered_at_once(root: Path, tmp_path: Path) -> None:
    """A server that does not answer must not stop all other requests."""
    (root / "file").touch()
    at_once = AtOnce(root, tmp_path / "mountinfo", "nfs4")
    with at_once.mounts:
        assert at_once.later("getSize", root / "file") == 0
        assert at_once("getSize", root / "file") is NOT_AT_ONCE


def test_an_owner_that_is_not_known_is_not_looked_up_at_once(
    root: Path, at_once: AtOnce, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That may take a directory service; what tells no owner needs none."""
    monkeypatch.setattr(file_look, "_owners", {})
    (root / "file").touch()
    at_once.later("getSize", root / "file")
    assert at_once("getSize", root / "file") == 0
    assert at_once("getOwner", root / "file") is at_once("getStats", root / "file") is NOT_AT_ONCE
    expected = at_once.later("getOwner", root / "file")
    assert at_once("getOwner", root / "file") == expected


def test_without_mounts_nothing_is_answered_at_once(root: Path) -> None:
    """As where a kernel cannot tell."""
    assert FileServer(Roots([str(root)])).at_once() == {}


def test_an_owner_without_a_name_is_a_number() -> None:
    """The uid as text."""
    assert owner_name(2**31 - 7) == str(2**31 - 7)


def test_types_are_told_links_first(root: Path, ask: Ask) -> None:
    """Link, Dir, File, else Unknown, whatever a link leads to."""
    (root / "file").touch()
    (root / "dir").mkdir()
    (root / "to-file").symlink_to("file")
    (root / "to-dir").symlink_to("dir")
    (root / "to-nothing").symlink_to("nothing")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo")
    types = {stats.base_name: stats.type.value for stats in ask("getBulkDirectory", root)}
    assert types == {
        "dir": "Dir",
        "fifo": "Unknown",
        "file": "File",
        "loop": "Link",
        "to-dir": "Link",
        "to-file": "Link",
        "to-nothing": "Link",
    }
    assert all(ask("getStats", root / name).type == kind for name, kind in types.items() if name != "loop")


def test_a_mount_is_told_from_a_directory() -> None:
    """Where something is mounted, the type is Mount."""
    ask = asker(FileServer(Roots(["/"])))
    assert ask("getStats", "/proc").type is FileType.MOUNT
    assert ask("getStats", "/").type is FileType.MOUNT
    assert ask("getStats", "/proc/self/fdinfo").type is FileType.DIR
    bulk = {stats.base_name: stats.type for stats in ask("getBulkDirectory", "/")}
    assert bulk["proc"] is FileType.MOUNT


def test_a_link_tells_of_what_it_leads_to(root: Path, ask: Ask) -> None:
    """Size, times and version are those of the content that readBlock reads; isFile and isDir follow too."""
    (root / "file").write_bytes(b"12345")
    (root / "dir").mkdir()
    (root / "to-file").symlink_to("file")
    (root / "to-dir").symlink_to("dir")
    assert ask("getSize", root / "to-file") == 5
    version = ask("getStats", root / "to-file").version
    assert ask("readBlock", root / "to-file", offset=0, size=9, version=version).octets == b"12345"
    assert ask("isFile", root / "to-file") is True
    assert ask("isDir", root / "to-file") is False
    assert ask("isDir", root / "to-dir") is True


def test_a_link_that_leads_nowhere_is_there(root: Path, ask: Ask) -> None:
    """It is an entry, and neither a file nor a directory; there is nothing to read."""
    (root / "link").symlink_to("nowhere")
    assert ask("fileExists", root / "link") is True
    assert ask("isFile", root / "link") is False
    assert ask("isDir", root / "link") is False
    with pytest.raises(NotFoundError):
        ask("readBlock", root / "link", offset=0, size=1)


def test_existence_is_a_plain_answer(root: Path, ask: Ask) -> None:
    """False when absent, whatever is missing of the path."""
    (root / "file").touch()
    assert ask("fileExists", root / "file") is True
    assert ask("fileExists", root) is True
    assert ask("fileExists", root / "nothing") is False
    assert ask("fileExists", root / "file" / "below") is False
    assert ask("fileExists", root / ("x" * 300)) is False


@pytest.mark.parametrize("name", [name for name in OF_ONE_FILE if name != "fileExists"])
def test_what_is_gone_is_an_error(root: Path, ask: Ask, name: str) -> None:
    """not-found, for every operation but fileExists."""
    with pytest.raises(NotFoundError):
        ask(name, root / "gone")


@pytest.mark.parametrize("name", [*OF_ONE_FILE, "getDirectory", "getBulkDirectory"])
@pytest.mark.parametrize("kind", ["absolute", "dots", "link", "relative", "missing", "below a link"])
def test_outside_the_roots_nothing_is_confirmed(root: Path, ask: Ask, name: str, kind: str) -> None:
    """path-not-allowed, the same whether there is something or not, by every way out."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (root / "way-out").symlink_to(outside)
    path = {
        "absolute": str(outside / "file"),
        "dots": f"{root}/../outside/file",
        "link": str(root / "way-out"),
        "relative": "root/file",
        "missing": str(outside / "missing"),
        "below a link": str(root / "way-out" / "file"),
    }[kind]
    with pytest.raises(PathNotAllowedError):
        ask(name, path)


def test_a_file_is_read_in_blocks(root: Path, ask: Ask) -> None:
    """Up to `size` bytes at `offset`; past the end there is nothing, at any distance."""
    (root / "file").write_bytes(b"0123456789")
    read = {
        (offset, size): ask("readBlock", root / "file", offset=offset, size=size).octets
        for offset, size in [(0, 4), (4, 4), (8, 4), (10, 4), (0, 0), (2**63 - 1, 4)]
    }
    assert list(read.values()) == [b"0123", b"4567", b"89", b"", b"", b""]


@pytest.mark.parametrize(
    "wrong", [{"offset": -1, "size": 1}, {"offset": 0, "size": -1}, {"offset": 0, "size": 2**63}]
)
def test_a_negative_offset_or_size_is_refused(root: Path, ask: Ask, wrong: dict[str, int]) -> None:
    """-1 does not mean all."""
    (root / "file").touch()
    with pytest.raises(RequestError):
        ask("readBlock", root / "file", **wrong)


def test_a_block_is_bounded(root: Path) -> None:
    """The error names the limit."""
    (root / "file").write_bytes(b"x" * 100)
    ask = asker(FileServer(Roots([str(root)]), read_limit_bytes=64))
    assert len(ask("readBlock", root / "file", offset=0, size=64).octets) == 64
    with pytest.raises(LimitExceededError, match="64"):
        ask("readBlock", root / "file", offset=0, size=65)


def test_a_block_travels_as_octets_if_the_client_takes_them(root: Path) -> None:
    """The bytes themselves, and the version in a header."""
    (root / "file").write_bytes(b"\x00\xff")
    ask = asker(FileServer(Roots([str(root)])), Caller(takes_octets=True))
    result = ask("readBlock", root / "file", offset=0, size=9)
    assert result == Octets(b"\x00\xff", {"version": make_version((root / "file").stat())})


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 17])
def test_a_digest_is_that_of_the_content(root: Path, ask: Ask, size: int) -> None:
    """Of files of any size, read in steps."""
    octets = os.urandom(size)
    (root / "file").write_bytes(octets)
    digest = ask("getSHA1", root / "file")
    assert digest.sha1 == hashlib.sha1(octets).hexdigest()
    assert digest.version == make_version((root / "file").stat())


@pytest.mark.parametrize("name", ["readBlock", "getSHA1"])
def test_another_version_is_not_served(root: Path, ask: Ask, name: str) -> None:
    """file-changed instead of bytes of two generations."""
    file = root / "file"
    file.write_bytes(b"one")
    version = ask("getStats", file).version
    params = {"offset": 0, "size": 9} if name == "readBlock" else {}
    ask(name, file, version=version, **params)
    file.write_bytes(b"three")
    with pytest.raises(FileChangedError):
        ask(name, file, version=version, **params)


def test_a_file_that_changes_meanwhile_has_no_digest(
    root: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is of two generations."""
    file = root / "file"
    file.write_bytes(b"x" * 1000)
    readv = os.readv

    def writing(fd: int, buffers: Any) -> int:
        with file.open("ab") as handle:
            handle.write(b"more")
        return readv(fd, buffers)

    monkeypatch.setattr(content.os, "readv", writing)
    with pytest.raises(FileChangedError):
        ask("getSHA1", file)


def test_a_file_that_changes_once_is_read_again(
    root: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block without a version asked for is of one generation all the same; a file never at rest has none."""
    file = root / "file"
    file.write_bytes(b"old")
    pread, changes = os.pread, iter([b"new", b"", b"", b""])

    def writing(fd: int, size: int, offset: int) -> bytes:
        octets = pread(fd, size, offset)
        if change := next(changes, b""):
            file.write_bytes(change * 2)
        return octets

    monkeypatch.setattr(content.os, "pread", writing)
    assert ask("readBlock", file, offset=0, size=9).octets == b"newnew"
    sizes = iter(range(1, 1000))

    def never_at_rest(_fd: int, _size: int, _offset: int) -> bytes:
        file.write_bytes(b"x" * next(sizes))
        return b""

    monkeypatch.setattr(content.os, "pread", never_at_rest)
    file.write_bytes(b"y" * 2000)
    with pytest.raises(FileChangedError):
        ask("readBlock", file, offset=0, size=9)


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory", "link to a fifo"])
@pytest.mark.parametrize("name", ["readBlock", "getSHA1"])
def test_only_regular_files_are_opened(root: Path, ask: Ask, name: str, kind: str) -> None:
    """Reading a FIFO would wait for ever, opening a device may do anything."""
    path = root / "thing"
    if kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        os.mkfifo(root / "fifo")
        path = root / "fifo" if kind == "fifo" else path
        if kind != "fifo":
            path.symlink_to("fifo")
    with pytest.raises(NotAFileError):
        ask(name, path, **({"offset": 0, "size": 1} if name == "readBlock" else {}))


def test_a_large_file_is_digested_aside_within_bounds(root: Path) -> None:
    """It delays no other query; those that wait are bounded, and the bound is given back."""
    (root / "file").write_bytes(b"x" * 100)
    server = FileServer(Roots([str(root)]), aside_from_bytes=100, aside_limit=2)
    params = methods_of("files")["getSHA1"].parse_params({"fileId": str(root / "file")})
    handler = server.handlers()["getSHA1"]
    waiting = [handler(params, Caller()), handler(params, Caller())]
    assert all(isinstance(each, Aside) for each in waiting)
    with pytest.raises(LimitExceededError, match="2 digests"):
        handler(params, Caller())
    assert isinstance(waiting[0], Aside)
    assert waiting[0].finish() == asker(FileServer(Roots([str(root)])))("getSHA1", root / "file")
    assert isinstance(handler(params, Caller()), Aside)


def test_a_stop_ends_a_digest(root: Path) -> None:
    """shutting-down, at the next step."""
    (root / "file").write_bytes(b"x")
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(ShuttingDownError):
        asker(FileServer(Roots([str(root)]), stopping=stopping))("getSHA1", root / "file")


@pytest.mark.parametrize("name", ["getDirectory", "getBulkDirectory"])
def test_only_directories_are_listed(root: Path, ask: Ask, name: str) -> None:
    """not-a-directory, or not-found."""
    (root / "file").touch()
    with pytest.raises(NotADirectoryFSError):
        ask(name, root / "file")
    with pytest.raises(NotFoundError):
        ask(name, root / "nothing")


def test_an_entry_that_vanishes_is_left_out(root: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the listing and the look; one that cannot be looked at is Unknown."""
    for name in ("a", "b", "c"):
        (root / name).touch()
    looked = os.stat

    def losing(path: Any, *args: Any, **more: Any) -> os.stat_result:
        if path == "b" and "dir_fd" in more:
            raise FileNotFoundError(2, "gone", path)
        if path == "c" and "dir_fd" in more:
            raise PermissionError(13, "no", path)
        return looked(path, *args, **more)

    monkeypatch.setattr(directory.os, "stat", losing)
    assert [(stats.base_name, stats.type.value) for stats in ask("getBulkDirectory", root)] == [
        ("a", "File"),
        ("c", "Unknown"),
    ]


def test_names_of_any_bytes_go_both_ways(root: Path, ask: Ask) -> None:
    """What is not UTF-8 travels as surrogates; newlines and spaces are characters like others."""
    names = [b"\xff\xfe.tif", "grün.tif".encode(), b"new\nline", b" spaces ", b"x" * 255]
    for name in names:
        (root / os.fsdecode(name)).write_bytes(b"12")
    listed = ask("getDirectory", root)
    assert sorted(map(os.fsencode, listed)) == sorted(names)
    for name in listed:
        assert ask("getSize", f"{root}/{name}") == 2
        assert ask("getBaseName", f"{root}/{name}") == name
    assert ask("getDirectory", root, filter="\udcff*") == [os.fsdecode(names[0])]


def test_no_descriptor_is_left_open(root: Path, ask: Ask) -> None:
    """Whatever an operation ends with."""
    (root / "file").write_bytes(b"x")
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    for name in [*OF_ONE_FILE, "getDirectory", "getBulkDirectory", "readBlock"]:
        for path in ("file", "link", "fifo", "gone", "", "file/below"):
            params = {"offset": 0, "size": 1} if name == "readBlock" else {}
            try:
                ask(name, root / path, **params)
            except OmeroFSError:
                continue
    assert len(os.listdir("/proc/self/fd")) == before
