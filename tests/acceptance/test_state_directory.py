"""The running service whose state directory is damaged or full: said, survived, and no number used twice."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import Site
from tests.brokers import VirtualHost
from tests.clients.service import Service
from tests.clients.wire import Json, WireClient, WireError
from tests.disks import fill, refused_writes, small_disk
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually


def start_monitor(site: Site, **params: object) -> str:
    with WireClient(site.url) as client:
        monitor = client.create(site.root, queue="kept", **params)
        client.call("startMonitor", id=monitor)
        # RabbitMQ writes down the members of a new quorum queue half a second late.
        client.pump(lambda: False, 1)
    return str(monitor)


def blocks_with(site: Site, name: str, *, seconds: float = 40) -> list[Json]:
    """What is in the queue, up to and with a block that names this file."""
    found: list[Json] = []

    def complete() -> bool:
        found.extend(
            json.loads(row["payload"]) for row in site.vhost.broker.get(site.vhost.name, "kept", 5000)
        )
        return any(event["baseName"] == name for block in found for event in block["events"])

    eventually(complete, seconds=seconds)
    return found


def store_of(site: Site) -> Path:
    return site.service.directory / "state" / "fsherald.sqlite"


@pytest.mark.parametrize("damage", ["head", "not a database", "missing"])
def test_a_damaged_store_keeps_no_service_from_starting(site: Site, damage: str) -> None:
    """Same monitors in the same state; numbers go on above those used; the old file is still there."""
    monitor = start_monitor(site)
    (site.root / "before").touch()
    before = blocks_with(site, "before")
    assert site.service.terminate() == 0
    content = store_of(site).read_bytes()
    if damage == "missing":
        store_of(site).unlink()
    else:
        store_of(site).write_bytes(bytes(100) + (content[100:] if damage == "head" else b"?" * 5000))
    site.service.restart()
    (site.root / "after").touch()
    after = blocks_with(site, "after")
    assert {block["monitorId"] for block in before + after} == {monitor}
    assert min(block["sequence"] for block in after) > max(block["sequence"] for block in before)
    assert "the store was damaged" in site.service.output
    aside = [file for file in store_of(site).parent.iterdir() if ".damaged-" in file.name]
    assert bool(aside) == (damage != "missing")


def test_a_store_damaged_in_use_ends_the_service_and_is_replaced_at_the_next_start(
    vhost: VirtualHost, tmp_path: Path
) -> None:
    """Exit code 1 for a supervisor; with the next start monitors and numbers are there again."""
    root = tmp_path / "root"
    root.mkdir()
    with TcpProxy(vhost.broker.host, vhost.broker.port) as proxy:
        proxy.open()
        url = vhost.url.replace(f"@{vhost.broker.host}:{vhost.broker.port}/", f"@127.0.0.1:{proxy.port}/")
        with Service(url, [root], tmp_path) as service:
            site = Site(service, vhost, root)
            monitor = start_monitor(site)
            proxy.close()
            for number in range(16_000):  # more than SQLite keeps in memory
                os.close(os.open(f"{root}/{number:05}-{'x' * 200}", os.O_CREAT | os.O_WRONLY))
            eventually(lambda: store_of(site).stat().st_size > 4 << 20, seconds=30)
            for file in (store_of(site), Path(f"{store_of(site)}-wal")):
                with file.open("r+b") as opened:
                    opened.seek(4096)
                    opened.write(random.Random(1).randbytes(file.stat().st_size - 4096))
            proxy.open()
            assert service.wait(seconds=60) == 1
            published = blocks_published(vhost)
            service.restart()
            (root / "after").touch()
            after = blocks_with(site, "after")
            assert {block["monitorId"] for block in after} == {monitor}
            assert min(block["sequence"] for block in after) > max(
                [0, *(each["sequence"] for each in published)]
            )


def blocks_published(vhost: VirtualHost) -> list[Json]:
    return [json.loads(row["payload"]) for row in vhost.broker.get(vhost.name, "kept", 5000)]


@pytest.fixture
def cramped(vhost: VirtualHost, tmp_path: Path) -> Iterator[Site]:
    """A service whose state directory has a disk of its own, of one MiB."""
    root = tmp_path / "root"
    root.mkdir()
    with (
        small_disk(tmp_path / "state", 1 << 20),
        Service(vhost.url, [root], tmp_path) as service,
    ):
        yield Site(service, vhost, root)


def test_a_full_disk_is_survived_and_told(cramped: Site) -> None:
    """Commands that would store something are refused, others served; with room again all goes on by itself."""
    monitor = start_monitor(cramped, blockSize=1)
    (cramped.root / "first").touch()
    before = blocks_with(cramped, "first")
    filler = fill(cramped.service.directory / "state")
    number = 0

    def refused() -> bool:
        nonlocal number
        number += 1
        (cramped.root / f"{number:04}-{'x' * 200}").touch()
        with WireClient(cramped.url) as client:
            return client.call("describeMonitor", id=monitor)["lastError"] is not None

    eventually(refused, seconds=40)
    with WireClient(cramped.url) as client:
        with pytest.raises(WireError, match="full") as error:
            create_for_ever(client, cramped.root)
        assert error.value.data["code"] == "io-error"
        listed = client.call("listMonitors")
        assert client.call("getMonitorState", id=monitor) == "Started"
    assert cramped.service.get("/healthz") == 200
    filler.unlink()
    eventually(lambda: touched(cramped, "last") and told(cramped, before), seconds=40)
    cramped.service.wait_until_ready()
    with WireClient(cramped.url) as client:
        assert client.call("listMonitors")[0]["id"] == listed[0]["id"]
        client.create(cramped.root)


def test_a_disk_that_refuses_changes_nothing(site: Site) -> None:
    """Every command that would store something is refused with its reason, and can be repeated later."""
    started = start_monitor(site)
    with WireClient(site.url) as client:
        stopped = client.create(site.root)
        commands = {"startMonitor": stopped, "stopMonitor": started, "destroyMonitor": stopped}
        with refused_writes(Path(f"{store_of(site)}-wal")):
            for method, monitor in commands.items():
                with pytest.raises(WireError) as error:
                    client.call(method, id=monitor)
                assert error.value.data["code"] == "io-error", method
            with pytest.raises(WireError, match="io-error"):
                client.create(site.root)
            states = {row["id"]: row["state"] for row in client.call("listMonitors")}
            assert states == {started: "Started", stopped: "Stopped"}
            (site.root / "meanwhile").touch()
        eventually(lambda: touched(site, "after") and blocks_with(site, "after", seconds=1), seconds=40)
        for method, monitor in commands.items():
            client.call(method, id=monitor)
        assert {row["id"]: row["state"] for row in client.call("listMonitors")} == {started: "Stopped"}
    assert site.service.get("/healthz") == 200


def create_for_ever(client: WireClient, root: Path) -> None:
    while True:
        client.create(root)


def touched(site: Site, name: str) -> bool:
    (site.root / name).write_bytes(b"x")
    return True


def told(site: Site, blocks: list[Json]) -> bool:
    """Whether the monitor has said that events are missing, in order and without a hole in the numbers."""
    blocks += blocks_published(site.vhost)
    numbers = sorted({block["sequence"] for block in blocks})
    assert numbers == list(range(1, len(numbers) + 1))
    details = [event.get("detail") or {} for block in blocks for event in block["events"]]
    return any(detail.get("code") == "gap" for detail in details)
