"""FileServer as its clients see it: the whole service, a real broker, real files."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from control.client import FileServerClient
from control.copying import FileCopy
from schemas.errors import NotFoundError
from tests.integration.live import serving
from tests.integration.raw_client import RawClient, request


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def client(amqp_url: str, root: Path, tmp_path: Path) -> Iterator[RawClient]:
    with serving(amqp_url, root, tmp_path / "state"), RawClient(amqp_url) as made:
        yield made


def ask(client: RawClient, method: str, path: Path | str, **params: object) -> object:
    """The result, or the error's `data.code`."""
    key = "absPath" if "Directory" in method else "fileId"
    reply = client.ask(method, at="files", **{key: str(path)}, **params)
    return reply["result"] if "result" in reply else reply["error"]["data"]["code"]


def test_every_query_has_its_answer(client: RawClient, root: Path) -> None:
    """The contract's own values, versions where they belong."""
    file = root / "a.tif"
    file.write_bytes(b"hello")
    status = file.stat()
    stats = ask(client, "getStats", file)
    assert isinstance(stats, dict)
    version = stats.pop("version")
    assert stats == {
        "baseName": "a.tif",
        "owner": stats["owner"],
        "size": 5,
        "mTime": status.st_mtime,
        "cTime": status.st_ctime,
        "aTime": status.st_atime,
        "type": "File",
    }
    assert ask(client, "getBulkDirectory", root) == [stats]
    assert ask(client, "getDirectory", root) == ["a.tif"]
    for method, expected in {
        "fileExists": True,
        "isDir": False,
        "isFile": True,
        "getBaseName": "a.tif",
        "getSize": 5,
        "getOwner": stats["owner"],
        "getATime": status.st_atime,
        "getCTime": status.st_ctime,
        "getMTime": status.st_mtime,
        "getSHA1": {"sha1": hashlib.sha1(b"hello").hexdigest(), "version": version},
    }.items():
        assert ask(client, method, file) == expected, method
    read = ask(client, "readBlock", file, offset=1, size=3)
    assert read == {"data": base64.b64encode(b"ell").decode(), "version": version}


def test_a_block_comes_as_bytes_if_asked_for(client: RawClient, root: Path) -> None:
    """4 MiB of them; the version travels in a header, and an error is JSON all the same."""
    octets = os.urandom(4 << 20)
    (root / "file").write_bytes(octets)
    for number, offset in enumerate((0, -1)):
        body = request("readBlock", 1, fileId=str(root / "file"), offset=offset, size=4 << 20)
        headers = {"accept": "application/octet-stream"}
        client.send(body, at="files", headers=headers, correlation_id=str(number))
    properties, body = client.reply("0")
    assert body == octets
    assert properties.content_type == "application/octet-stream"
    stats = ask(client, "getStats", root / "file")
    assert isinstance(stats, dict)
    assert properties.headers == {"version": stats["version"]}
    properties, body = client.reply("1")
    assert properties.content_type == "application/json"
    assert json.loads(body)["error"]["data"]["code"] == "invalid-params"


def test_names_that_are_no_text_go_both_ways(client: RawClient, root: Path) -> None:
    """As the escapes that the protocol names."""
    (root / os.fsdecode(b"\xff.tif")).write_bytes(b"12")
    assert ask(client, "getDirectory", root) == ["\udcff.tif"]
    assert ask(client, "getSize", f"{root}/\udcff.tif") == 2
    assert ask(client, "getSize", f"{root}/\udcfe.tif") == "not-found"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("getSize", "/etc/passwd", "path-not-allowed"),
        ("getSize", "{root}/../state/lock", "path-not-allowed"),
        ("readBlock", "{root}/out", "path-not-allowed"),
        ("getSize", "{root}/none", "not-found"),
        ("getDirectory", "{root}/file", "not-a-directory"),
        ("readBlock", "{root}", "not-a-file"),
        ("getSHA1", "{root}/fifo", "not-a-file"),
        ("getSize", "a\0b", "invalid-params"),
        ("getSize", "\ud800", "invalid-params"),
    ],
)
def test_each_failure_has_its_code(client: RawClient, root: Path, method: str, path: str, code: str) -> None:
    """The names of the protocol."""
    (root / "file").touch()
    (root / "out").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    params = {"offset": 0, "size": 1} if method == "readBlock" else {}
    assert ask(client, method, path.format(root=root), **params) == code


def test_limits_are_named(client: RawClient, root: Path) -> None:
    """limit-exceeded says which."""
    (root / "file").touch()
    reply = client.ask("readBlock", at="files", fileId=f"{root}/file", offset=0, size=(4 << 20) + 1)
    assert reply["error"]["data"]["code"] == "limit-exceeded"
    assert str(4 << 20) in reply["error"]["data"]["reason"]


def test_digests_of_large_files_delay_no_other_query(client: RawClient, root: Path) -> None:
    """They are finished aside, and arrive after what was asked later."""
    with (root / "large").open("wb") as file:
        file.truncate(1 << 30)
    (root / "small").touch()
    for number in range(10):
        body = request("getSHA1", number, fileId=str(root / "large"))
        client.send(body, at="files", correlation_id=f"large-{number}")
    assert ask(client, "getSize", root / "small") == 0
    assert not any(properties.correlation_id == "large-9" for properties, _ in client.replies)
    for number in range(10):
        assert "sha1" in json.loads(client.reply(f"large-{number}", seconds=60)[1])["result"]


def test_a_large_directory_is_listed_in_pages(amqp_url: str, root: Path, tmp_path: Path) -> None:
    """Names and stats of more entries than one page holds, each once, in order."""
    with serving(amqp_url, root, tmp_path / "state"), FileServerClient(amqp_url) as files:
        for number in range(10_050):
            (root / f"{number:05}").touch()
        expected = [f"{number:05}" for number in range(10_050)]
        assert list(files.names(str(root))) == expected
        assert [stats.base_name for stats in files.entries(str(root))] == expected


def test_a_file_is_copied_over_the_broker(amqp_url: str, root: Path, tmp_path: Path) -> None:
    """Whole, checked, with several blocks on their way; taken up again after a break."""
    content = os.urandom(5_000_000)
    with (
        serving(amqp_url, root, tmp_path / "state", read_limit_bytes=100_000),
        FileServerClient(amqp_url) as files,
    ):
        (root / "large").write_bytes(content)
        copied = FileCopy(files, str(root / "large"), tmp_path / "copy").run()
        assert copied.read_bytes() == content
        with pytest.raises(NotFoundError):
            FileCopy(files, str(root / "missing"), tmp_path / "copy").run()
        assert copied.read_bytes() == content
