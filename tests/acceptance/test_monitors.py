"""Monitors over the wire: types, path modes, filters, blocks, routing keys, names of any bytes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import Site
from tests.clients.watching import Watch, collect
from tests.clients.wire import Subscription, WireClient, events
from tests.waiting import eventually


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def system(subscription: Subscription, *, seconds: float = 10.0) -> dict[str, object]:
    """The next block, which has to be a System event alone in it."""
    message = subscription.next(seconds=seconds)
    (event,) = message.json()["events"]
    assert event["type"] == "System"
    assert message.routing_key.endswith(".system")
    return dict(event)


# Blocks.


def test_a_block_is_what_the_protocol_says(client: WireClient, folder: Path) -> None:
    """Every property and header of the page, and the body with nothing in it that says nothing."""
    monitor, subscription = client.watch(folder, blockSize=1)
    touch(folder, "a.ome.tif")
    message = subscription.next()
    assert message.json() == {
        "monitorId": monitor,
        "sequence": 1,
        "events": [{"fileId": str(folder / "a.ome.tif"), "baseName": "a.ome.tif", "type": "Create"}],
    }
    assert message.routing_key == f"{monitor}.create"
    assert message.properties["message_id"] == f"{monitor}:1"
    assert message.properties["type"] == "EventList"
    assert message.properties["content_type"] == "application/json"
    assert message.properties["delivery_mode"] == 2
    assert message.properties["app_id"].startswith("fsherald/")
    assert "timestamp" in message.properties
    assert message.headers == {"schema": 1, "monitorId": monitor, "sequence": 1, "eventCount": 1}


def test_a_directory_says_so(client: WireClient, folder: Path) -> None:
    """isDir is there where it is true."""
    _, subscription = client.watch(folder, blockSize=1)
    (folder / "sub").mkdir()
    assert subscription.block()["events"] == [
        {"fileId": str(folder / "sub"), "baseName": "sub", "type": "Create", "isDir": True}
    ]


def test_a_block_holds_no_more_events_than_asked(client: WireClient, folder: Path) -> None:
    """And sequence counts blocks, from 1, without a gap."""
    _, subscription = client.watch(folder, blockSize=7)
    names = [f"f{number:03}" for number in range(100)]
    touch(folder, *names)
    blocks = subscription.blocks(100)
    assert [event["baseName"] for event in events(blocks)] == names
    assert max(len(block["events"]) for block in blocks) <= 7
    assert [block["sequence"] for block in blocks] == list(range(1, len(blocks) + 1))


def test_a_partial_block_is_not_held_for_long(client: WireClient, folder: Path) -> None:
    """The rest of a block goes out when the flow pauses, not when the block is full."""
    _, subscription = client.watch(folder, blockSize=1000)
    touch(folder, "a", "b")
    assert [event["baseName"] for event in events(subscription.blocks(2, seconds=2))] == ["a", "b"]


def test_stop_publishes_what_was_before_it_and_nothing_after(client: WireClient, folder: Path) -> None:
    """The partial block goes out; a stopped monitor is silent; started again it goes on counting."""
    monitor, subscription = client.watch(folder, blockSize=1000)
    touch(folder, "before")
    client.call("stopMonitor", id=monitor)
    touch(folder, "after")
    first = subscription.block()
    assert [event["baseName"] for event in first["events"]] == ["before"]
    assert subscription.nothing()
    client.call("startMonitor", id=monitor)
    touch(folder, "again")
    later = subscription.block()
    assert "again" in [event["baseName"] for event in later["events"]]
    assert later["sequence"] == first["sequence"] + 1


def test_destroy_publishes_what_was_accepted(client: WireClient, folder: Path) -> None:
    """Nothing that was seen is thrown away with the monitor."""
    monitor, subscription = client.watch(folder, blockSize=1000)
    touch(folder, "last")
    client.call("destroyMonitor", id=monitor)
    assert subscription.block()["events"][0]["baseName"] == "last"


def test_routing_keys_tell_what_is_in_a_block(client: WireClient, shared_site: Site, folder: Path) -> None:
    """`#.create.#`, `#.delete.#`, and one monitor on the exchange of all events."""
    monitor = client.create(folder)
    everything = client.subscribe(f"fsherald.monitor.{monitor}")
    creations = client.subscribe(f"fsherald.monitor.{monitor}", "#.create.#")
    deletions = client.subscribe("fsherald.events", "#.delete.#")
    mine = client.subscribe("fsherald.events", f"{monitor}.#")
    client.call("startMonitor", id=monitor)
    touch(folder, "a")
    assert creations.next().routing_key == f"{monitor}.create"
    (folder / "a").rename(folder / "b")
    assert creations.next().routing_key == f"{monitor}.create.delete"
    (folder / "b").unlink()
    assert [deletions.next().routing_key for _ in range(2)] == [
        f"{monitor}.create.delete",
        f"{monitor}.delete",
    ]
    assert [mine.block() for _ in range(3)] == [everything.block() for _ in range(3)]
    assert creations.nothing(seconds=0.3)


def test_overlapping_monitors_are_independent(client: WireClient, folder: Path) -> None:
    """Two on one tree, one below: each has its own filter, its own numbers, its own life."""
    (folder / "sub").mkdir()
    whole, all_events = client.watch(folder, blockSize=1)
    _, creations = client.watch(folder, blockSize=1, eTypes=["Creation"])
    _, below = client.watch(folder / "sub", blockSize=1, pMode="Flat")
    touch(folder, "top", "sub/low")
    (folder / "top").unlink()
    assert collect(all_events, folder, 3) == [("Create", "top"), ("Create", "sub/low"), ("Delete", "top")]
    assert collect(creations, folder, 2) == [("Create", "top"), ("Create", "sub/low")]
    assert collect(below, folder, 1) == [("Create", "sub/low")]
    client.call("destroyMonitor", id=whole)
    touch(folder, "sub/later")
    assert collect(creations, folder, 1) == [("Create", "sub/later")]
    assert collect(below, folder, 1) == [("Create", "sub/later")]


def test_a_single_file_arrives_within_milliseconds(client: WireClient, folder: Path) -> None:
    """At blockSize 1 nothing waits: half of all files arrive within 20 ms of their close, on a busy machine."""
    _, subscription = client.watch(folder, blockSize=1)
    delays = []
    for number in range(200):
        touch(folder, f"f{number}")
        closed = time.perf_counter()
        subscription.next()
        delays.append(time.perf_counter() - closed)
    delays.sort()
    half, most = delays[len(delays) // 2], delays[len(delays) * 99 // 100]
    print(f"close to consumer: p50 {half * 1000:.2f} ms, p99 {most * 1000:.2f} ms")
    assert half < 0.020, delays


# Monitor types.


def test_one_shot_publishes_its_first_block_and_stops(client: WireClient, folder: Path) -> None:
    """One block, then Stopped; and it can be started again."""
    monitor, subscription = client.watch(folder, mType="OneShot", blockSize=1)
    for name in ("a", "b"):
        touch(folder, f"first-{name}", f"second-{name}")
        assert subscription.block()["events"][0]["baseName"] == f"first-{name}"
        eventually(lambda: client.call("getMonitorState", id=monitor) == "Stopped")
        assert subscription.nothing(seconds=0.3)
        client.call("startMonitor", id=monitor)


def test_one_shot_times_out(client: WireClient, folder: Path) -> None:
    """System `Timed out` when nothing came in time."""
    monitor, subscription = client.watch(folder, mType="OneShot", timeout=0.5)
    event = system(subscription)
    assert event["fileId"] == "Timed out"
    assert event["detail"]["code"] == "timed-out"  # type: ignore[index]  # JSON
    eventually(lambda: client.call("getMonitorState", id=monitor) == "Stopped")


def test_inactivity_ends_when_nothing_comes_any_more(client: WireClient, folder: Path) -> None:
    """Events as they come, each restarting the timer; then System `Inactive`, and Stopped."""
    monitor, subscription = client.watch(folder, mType="Inactivity", timeout=1.0, blockSize=1)
    for number in range(4):
        client.pump(lambda: False, 0.5)
        touch(folder, f"f{number}")
    assert [name for _, name in collect(subscription, folder, 4)] == ["f0", "f1", "f2", "f3"]
    event = system(subscription)
    assert event["fileId"] == "Inactive"
    assert event["detail"]["code"] == "inactive"  # type: ignore[index]  # JSON
    eventually(lambda: client.call("getMonitorState", id=monitor) == "Stopped")


# Path modes.


def test_flat_sees_the_directory_itself(client: WireClient, folder: Path) -> None:
    """Not what is below."""
    (folder / "sub").mkdir()
    watch = Watch(client, folder, pMode="Flat", blockSize=1)
    touch(folder, "sub/deep", "top")
    (folder / "new").mkdir()
    touch(folder, "new/deep")
    assert watch.told() == [("Create", "top"), ("Create", "new")]


def test_recurse_sees_what_was_there_at_the_start(client: WireClient, folder: Path) -> None:
    """A directory made later yields its own event only."""
    (folder / "sub" / "deep").mkdir(parents=True)
    watch = Watch(client, folder, pMode="Recurse", blockSize=1)
    touch(folder, "sub/deep/a")
    (folder / "new").mkdir()
    touch(folder, "new/b")
    assert watch.told() == [("Create", "sub/deep/a"), ("Create", "new")]


# Filters.


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["Creation"], [("Create", "a"), ("Create", "b")]),
        (["Modification"], [("Modify", "a")]),
        (["Deletion"], [("Delete", "a")]),
        (["Creation", "Deletion"], [("Create", "a"), ("Delete", "a"), ("Create", "b")]),
    ],
)
def test_only_the_event_types_asked_for(
    client: WireClient, folder: Path, wanted: list[str], expected: list[tuple[str, str]]
) -> None:
    """All stands for each of them."""
    _, subscription = client.watch(folder, eTypes=wanted, blockSize=1)
    touch(folder, "a")
    client.pump(lambda: False, 0.2)
    (folder / "a").write_bytes(b"x")
    client.pump(lambda: False, 0.6)
    (folder / "a").unlink()
    touch(folder, "b")
    assert collect(subscription, folder, len(expected)) == expected
    assert subscription.nothing(seconds=0.3)


@pytest.mark.parametrize(
    ("params", "seen"),
    [
        ({"whitelist": [".tif"]}, {"a.tif", "b.ome.tif", "sub/c.tif", "dir.tif", "sub"}),
        ({"whitelist": [".ome.tif", "exact"]}, {"b.ome.tif", "exact", "dir.tif", "sub"}),
        ({"whitelist": ["*.TIF"]}, {"dir.tif", "sub", "upper.TIF"}),
        ({"blacklist": [".tif", "sub"]}, {"exact", "upper.TIF"}),
        ({"blacklist": ["FOLDER/exact"], "whitelist": ["exact", ".TIF"]}, {"upper.TIF", "dir.tif", "sub"}),
        ({"blacklist": ["[a-e]*", "upper*"]}, {"sub"}),
        ({"ignoreDirEvents": True, "whitelist": [".tif"]}, {"a.tif", "b.ome.tif", "sub/c.tif"}),
    ],
)
def test_white_and_black_lists(
    client: WireClient, folder: Path, params: dict[str, object], seen: set[str]
) -> None:
    """Names, extensions, paths, patterns; whitelist for files only, blacklist for directories too, and it wins."""
    wanted = json.loads(json.dumps(params).replace("FOLDER", str(folder)))
    if "whitelist" in wanted:
        wanted["whitelist"].append("fence-*")
    watch = Watch(client, folder, **wanted)
    (folder / "sub").mkdir()
    (folder / "dir.tif").mkdir()
    touch(folder, "a.tif", "b.ome.tif", "exact", "upper.TIF", "sub/c.tif")
    assert {name for _, name in watch.told()} == seen


def test_system_files_are_ignored_unless_asked_for(client: WireClient, folder: Path) -> None:
    """Dot files and desktop leftovers, directories of those names with all they hold."""
    quiet, loud = Watch(client, folder), Watch(client, folder, ignoreSysFiles=False)
    touch(folder, ".hidden", "Thumbs.db", ".DS_Store", "desktop.ini", "untitled folder 2", ".nfs0001", "seen")
    (folder / ".cache").mkdir()
    touch(folder, ".cache/inside")
    assert quiet.told() == [("Create", "seen")]
    assert {name for _, name in loud.told()} >= {".hidden", "Thumbs.db", ".cache", ".cache/inside", "seen"}


# Names.


NAMES = [
    b"with space",
    b"new\nline",
    "ü-日本-𝄞".encode(),
    b"latin-1-\xfc",
    b"\xff\xfe",
    b'quote"back\\slash',
    b"%41 & <b> {x}",
    b"-rf",
    b"n" * 255,
    b"\x01\x7f",
]


def test_names_of_any_bytes_arrive_as_they_are(client: WireClient, folder: Path) -> None:
    """What is not UTF-8 travels as surrogate escapes, and works in requests as well."""
    _, subscription = client.watch(folder, blockSize=1)
    for name in NAMES:
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_bytes(name)
    found = events(subscription.blocks(len(NAMES)))
    assert [os.fsencode(event["baseName"]) for event in found] == NAMES
    assert [os.fsencode(event["fileId"]) for event in found] == [
        os.fsencode(folder) + b"/" + n for n in NAMES
    ]
    for event, name in zip(found, NAMES, strict=True):
        assert client.call("getSize", fileId=event["fileId"]) == len(name)


def test_a_directory_of_any_name_can_be_watched(client: WireClient, folder: Path) -> None:
    """A monitor's own path may be anything too."""
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/r\xfcn 7\n"))
    odd.mkdir()
    _, subscription = client.watch(odd, blockSize=1)
    touch(odd, "a")
    assert subscription.block()["events"][0]["fileId"] == str(odd / "a")


def test_a_path_near_the_longest_arrives(client: WireClient, folder: Path) -> None:
    """Fifteen directories of 250 bytes: close to PATH_MAX."""
    watch = Watch(client, folder, blockSize=1)
    deep = folder
    while len(os.fsencode(deep)) < 4096 - 300:
        deep /= "d" * 250
        deep.mkdir()
    touch(deep, "a")
    told = watch.told()
    assert told[-1] == ("Create", str((deep / "a").relative_to(folder)))
    assert len(told) == len(deep.relative_to(folder).parts) + 1
