"""The running service on a real broker, and a client that shares no code with it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.brokers import Broker, VirtualHost
from tests.clients.service import Service
from tests.clients.wire import WireClient

# Less waiting for what is not to come.
QUICK = {"FSHERALD_MODIFY_INTERVAL_SECONDS": "0.4", "FSHERALD_SETTLE_SECONDS": "0.4"}

NODE = Path(__file__).parents[1] / "clients" / "node"


@dataclass(frozen=True)
class Site:
    """A service, its broker's virtual host, and the directory that it may watch."""

    service: Service
    vhost: VirtualHost
    root: Path

    @property
    def url(self) -> str:
        """The broker's URL."""
        return self.vhost.url


@pytest.fixture(scope="module")
def shared_site(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One running service for all tests of a module that leave it as they found it."""
    directory = tmp_path_factory.mktemp("site")
    root = directory / "root"
    root.mkdir()
    with broker.virtual_host("site") as vhost, Service(vhost.url, [root], directory, **QUICK) as service:
        yield Site(service, vhost, root)


@pytest.fixture
def site(vhost: VirtualHost, tmp_path: Path) -> Iterator[Site]:
    """A running service of one test, which may kill it."""
    root = tmp_path / "root"
    root.mkdir()
    with Service(vhost.url, [root], tmp_path) as service:
        yield Site(service, vhost, root)


@pytest.fixture
def client(shared_site: Site) -> Iterator[WireClient]:
    """A connection to the module's service."""
    with WireClient(shared_site.url) as connected:
        yield connected


@pytest.fixture
def folder(shared_site: Site, request: pytest.FixtureRequest) -> Path:
    """A fresh directory that the module's service may watch."""
    name = "".join(char if char.isalnum() else "-" for char in request.node.name)
    fresh = shared_site.root / name[:200]
    fresh.mkdir()
    return fresh


@pytest.fixture(scope="session")
def node_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script with its one dependency installed beside it, as locked, integrity checked."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    directory = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(NODE / name, directory)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return directory / "client.mjs"
