"""The service and its clients over TLS: a real node that asks for certificates, and what is said when one is wrong."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import trustme

from control.client import EventSubscriber, FileServerClient, MonitorServerClient
from control.embedded import EmbeddedBroker, free_port
from publisher.amqp import AmqpConnection, AmqpSettings
from tests.clients.service import Service
from tests.waiting import eventually

FILES = 2_000
SECONDS = 30.0


class Secured:
    """A node that speaks TLS and asks who comes; what it and its clients show stands in files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.ca = self.write("ca", self.authority.cert_pem)
        self.port = free_port()
        key, certificate = self.issue("localhost", "127.0.0.1")
        self.node = EmbeddedBroker(
            directory / "node",
            say=lambda _line: None,
            settings={
                "listeners.ssl.default": f"127.0.0.1:{self.port}",
                "ssl_options.cacertfile": str(self.ca),
                "ssl_options.certfile": str(certificate),
                "ssl_options.keyfile": str(key),
                "ssl_options.verify": "verify_peer",
                "ssl_options.fail_if_no_peer_cert": "true",
            },
        )

    def write(self, name: str, *blobs: trustme.Blob) -> Path:
        """A PEM file."""
        path = self.directory / f"{name}.pem"
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return path

    def issue(self, *names: str, authority: trustme.CA | None = None) -> tuple[Path, Path]:
        """A key and a certificate for these names."""
        leaf = (authority or self.authority).issue_cert(*names)
        stem = f"{names[0]}-{id(leaf)}"
        return self.write(f"{stem}-key", leaf.private_key_pem), self.write(stem, *leaf.cert_chain_pems)

    def url(self, **options: Path) -> str:
        """Its URL over TLS with these files; a client's certificate is among them unless it is None."""
        key, certificate = self.issue("client")
        files = {"cacertfile": self.ca, "certfile": certificate, "keyfile": key, **options}
        query = "&".join(f"{name}={quote(str(file))}" for name, file in files.items() if file.name)
        credentials = urlsplit(self.node.url).netloc.rpartition("@")[0]
        return f"amqps://{credentials}@localhost:{self.port}/?{query}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The node, for all tests here."""
    made = Secured(tmp_path_factory.mktemp("tls"))
    with made.node:
        yield made


def test_events_commands_and_files_travel_over_tls(secured: Secured, tmp_path: Path):
    """All three connections of the service and those of its clients, thousands of blocks and a large reply."""
    root = tmp_path / "root"
    root.mkdir()
    url = secured.url()
    content = os.urandom(9 << 20)
    with Service(url, [root], tmp_path), MonitorServerClient(url) as server:
        monitor = server.create_monitor(str(root), block_size=1, queue="tls")
        with EventSubscriber(url, queue="tls") as subscriber:
            server.start_monitor(monitor)
            for number in range(FILES):
                (root / f"f{number}").touch()
            (root / "large").write_bytes(content)
            names: set[str] = set()
            while len(names) < FILES + 1:
                block = subscriber.receive(SECONDS)
                assert block is not None, f"only {len(names)} were heard of"
                names |= {event.base_name for event in block.events}
        with FileServerClient(url) as files:
            path = str(root / "large")
            parts = [files.read_block(path, offset, 3 << 20) for offset in range(0, len(content), 3 << 20)]
            assert b"".join(data for data, _version in parts) == content
            assert files.get_sha1(path).sha1 == hashlib.sha1(content).hexdigest()
        server.destroy_monitor(monitor)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param({"authority": "another"}, "certificate", id="an-authority-nobody-knows"),
        pytest.param({"name": "elsewhere.example"}, "certificate", id="another-name"),
        pytest.param({"client": "none"}, "certfile", id="no-certificate-of-its-own"),
        pytest.param({"client": "foreign"}, "certfile", id="a-certificate-of-another-authority"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(secured: Secured, options: dict[str, str], reason: str):
    """In words that name it, and it is tried again: certificates are renewed."""
    other = trustme.CA()
    files: dict[str, Path] = {}
    if options.get("authority"):
        files["cacertfile"] = secured.write("other", other.cert_pem)
    if options.get("client") == "none":
        files |= {"certfile": Path(), "keyfile": Path()}
    if options.get("client") == "foreign":
        files["keyfile"], files["certfile"] = secured.issue("client", authority=other)
    if "name" in options:
        files["server_name_indication"] = Path(options["name"])
    connection = AmqpConnection(
        AmqpSettings(url=secured.url(**files)),
        on_open=lambda _connection: pytest.fail("it connected"),
        on_lost=lambda _reason: None,
        on_died=lambda exc: pytest.fail(repr(exc)),
    )
    connection.start()
    try:
        said = eventually(lambda: connection.last_error, seconds=SECONDS)
        assert reason in said.lower(), said
    finally:
        connection.stop()
        assert connection.join(SECONDS)
