"""File queries over the wire: the fourteen operations of FileServer, confined to the roots."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from tests.clients.wire import Json, WireClient, WireError


def refused(client: WireClient, method: str, **params: Any) -> str:
    """The code with which a query is refused."""
    with pytest.raises(WireError) as caught:
        client.call(method, **params)
    assert caught.value.code in (-32000, -32602), caught.value
    return str(caught.value.data["code"])


@pytest.fixture
def file(folder: Path) -> Path:
    path = folder / "a.tif"
    path.write_bytes(bytes(range(256)) * 40)
    return path


def test_the_simple_questions_about_a_file(client: WireClient, file: Path) -> None:
    """Each has the contract's own return value."""
    found = file.stat()
    ask: dict[str, Any] = {
        method: client.call(method, fileId=str(file))
        for method in (
            "fileExists",
            "isFile",
            "isDir",
            "getBaseName",
            "getSize",
            "getATime",
            "getCTime",
            "getMTime",
        )
    }
    assert ask == {
        "fileExists": True,
        "isFile": True,
        "isDir": False,
        "getBaseName": "a.tif",
        "getSize": 10_240,
        "getATime": pytest.approx(found.st_atime, abs=1e-3),
        "getCTime": pytest.approx(found.st_ctime, abs=1e-3),
        "getMTime": pytest.approx(found.st_mtime, abs=1e-3),
    }
    assert client.call("getOwner", fileId=str(file)) == file.owner()
    assert client.call("isDir", fileId=str(file.parent)) is True


def test_stats_carry_a_version_that_changes_with_the_file(client: WireClient, file: Path) -> None:
    """FileStats, and the version that binds what is read later to this generation."""
    stats = client.call("getStats", fileId=str(file))
    assert (stats["baseName"], stats["size"], stats["type"]) == ("a.tif", 10_240, "File")
    assert set(stats) == {"baseName", "owner", "size", "mTime", "cTime", "aTime", "type", "version"}
    file.write_bytes(b"other")
    assert client.call("getStats", fileId=str(file))["version"] != stats["version"]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (Path.touch, "File"),
        (Path.mkdir, "Dir"),
        (lambda path: path.symlink_to("nowhere"), "Link"),
        (os.mkfifo, "Unknown"),
    ],
)
def test_types_are_those_of_the_entry_itself(client: WireClient, folder: Path, make: Any, kind: str) -> None:
    """A link is a link, wherever it leads."""
    make(folder / "entry")
    assert client.call("getStats", fileId=str(folder / "entry"))["type"] == kind


def test_content_by_blocks(client: WireClient, file: Path) -> None:
    """Up to size bytes from the offset; empty past the end; the version says of which generation."""
    content = file.read_bytes()
    block = client.call("readBlock", fileId=str(file), offset=100, size=50)
    assert base64.b64decode(block["data"]) == content[100:150]
    assert block["version"] == client.call("getStats", fileId=str(file))["version"]
    assert (
        base64.b64decode(client.call("readBlock", fileId=str(file), offset=10_200, size=99)["data"])
        == (content[10_200:])
    )
    assert client.call("readBlock", fileId=str(file), offset=99_999, size=10)["data"] == ""


def test_content_as_it_is(client: WireClient, file: Path) -> None:
    """With `accept: application/octet-stream` the body is the bytes, the version a header; an error is JSON."""
    how: Json = {"queue": "files", "headers": {"accept": "application/octet-stream"}}
    params = {"fileId": str(file), "offset": 0, "size": 1000}
    body = {"jsonrpc": "2.0", "id": 1, "method": "readBlock", "params": params}
    reply = client.request(body, **how)
    assert reply.properties["content_type"] == "application/octet-stream"
    assert reply.body == file.read_bytes()[:1000]
    assert reply.headers["version"] == client.call("getStats", fileId=str(file))["version"]
    reply = client.request({**body, "params": {**params, "fileId": f"{file}.gone"}}, **how)
    assert reply.properties["content_type"] == "application/json"
    assert reply.json()["error"]["data"]["code"] == "not-found"


def test_sha1_with_its_version(client: WireClient, file: Path) -> None:
    """Of the whole content; a directory has none."""
    answer = client.call("getSHA1", fileId=str(file))
    assert answer["sha1"] == hashlib.sha1(file.read_bytes()).hexdigest()
    assert client.call("getSHA1", fileId=str(file), version=answer["version"]) == answer
    assert refused(client, "getSHA1", fileId=str(file.parent)) == "not-a-file"


def test_two_generations_are_never_mixed(client: WireClient, file: Path) -> None:
    """Asked with the version of before, a changed file is refused."""
    version = client.call("getStats", fileId=str(file))["version"]
    file.write_bytes(b"other")
    assert refused(client, "readBlock", fileId=str(file), offset=0, size=1, version=version) == "file-changed"
    assert refused(client, "getSHA1", fileId=str(file), version=version) == "file-changed"


def test_listings_as_ls_makes_them(client: WireClient, folder: Path) -> None:
    """Sorted, a directory with a slash, dot files only when asked for, links and FIFOs too; in pages."""
    (folder / "sub").mkdir()
    for name in ("b.tif", "a.tif", ".hidden"):
        (folder / name).touch()
    (folder / "link").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    where = str(folder)
    everything = ["a.tif", "b.tif", "link", "pipe", "sub/"]
    assert client.call("getDirectory", absPath=where, filter="*") == everything
    assert client.call("getDirectory", absPath=where, filter="") == everything
    assert client.call("getDirectory", absPath=where, filter="*.tif") == ["a.tif", "b.tif"]
    assert client.call("getDirectory", absPath=where, filter=".*") == [".hidden"]
    pages = [client.call("getDirectory", absPath=where, filter="*", limit=2)]
    while len(pages[-1]) == 2:
        pages.append(client.call("getDirectory", absPath=where, filter="*", limit=2, after=pages[-1][-1]))
    assert [name for page in pages for name in page] == everything
    stats = client.call("getBulkDirectory", absPath=where, filter="*.tif")
    assert [(row["baseName"], row["type"], row["size"]) for row in stats] == [
        ("a.tif", "File", 0),
        ("b.tif", "File", 0),
    ]


def test_what_is_gone(client: WireClient, folder: Path) -> None:
    """An error everywhere but where absence is the answer."""
    gone = str(folder / "gone")
    assert client.call("fileExists", fileId=gone) is False
    for method in ("isDir", "isFile", "getSize", "getOwner", "getMTime", "getStats", "getSHA1"):
        assert refused(client, method, fileId=gone) == "not-found"
    assert refused(client, "getDirectory", absPath=gone, filter="*") == "not-found"


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/no-such-file", "FOLDER/../../../../../../etc/passwd", "/"]
)
@pytest.mark.parametrize("method", ["fileExists", "getStats", "getSHA1", "isFile"])
def test_nothing_outside_the_roots_is_even_confirmed(
    client: WireClient, folder: Path, method: str, path: str
) -> None:
    """The same answer, whatever is there."""
    assert refused(client, method, fileId=path.replace("FOLDER", str(folder))) == "path-not-allowed"


def test_a_link_leads_nowhere_outside(client: WireClient, folder: Path) -> None:
    """Neither a link to a file nor one in the middle of a path."""
    (folder / "passwd").symlink_to("/etc/passwd")
    (folder / "etc").symlink_to("/etc")
    read = {"offset": 0, "size": 10}
    assert refused(client, "readBlock", fileId=str(folder / "passwd"), **read) == "path-not-allowed"
    assert refused(client, "readBlock", fileId=str(folder / "etc" / "passwd"), **read) == "path-not-allowed"
    assert refused(client, "getDirectory", absPath=str(folder / "etc"), filter="*") == "path-not-allowed"


def test_limits_are_named(client: WireClient, file: Path) -> None:
    """A block larger than the server's limit; numbers below zero; a path that is none."""
    assert refused(client, "readBlock", fileId=str(file), offset=0, size=1 << 30) == "limit-exceeded"
    for wrong in ({"offset": -1, "size": 1}, {"offset": 0, "size": -1}):
        assert refused(client, "readBlock", fileId=str(file), **wrong) in ("invalid-params", "limit-exceeded")
    for path in ("relative", "", "/with\0nul"):
        assert refused(client, "getSize", fileId=path) in ("invalid-params", "path-not-allowed")
