"""A real FUSE mount whose changes the kernel does not report: polled, nothing missed, no failure taken for deletion."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.conftest import LONG, OpenScene
from tests.chaos.kit.faults import Mounts
from tests.chaos.kit.load import Load
from tests.chaos.kit.scene import Witness
from tests.chaos.kit.truth import Truth, on_disk
from tests.waiting import eventually

# Several rounds of polling.
LOST_SECONDS = 1.0


class Share:
    """A directory and where it is mounted; changes are made behind the mount, as on another machine."""

    def __init__(self, mounts: Mounts, behind: Path, mounted: Path) -> None:
        self._mounts = mounts
        self.behind = behind
        self.mounted = mounted
        behind.mkdir()
        mounted.mkdir(parents=True)
        self.process: subprocess.Popen[bytes]
        self.mount()

    def mount(self) -> None:
        self.process = self._mounts.bindfs(self.behind, self.mounted)

    def break_off(self) -> None:
        """The process behind the mount dies: every access fails (ENOTCONN), as with a share whose server is gone."""
        self.process.kill()
        self.process.wait()

    def unmount(self) -> None:
        self._mounts.unmount(self.mounted)

    def seen(self, path: str) -> str:
        """The path under which what is behind the mount is seen through it."""
        return f"{self.mounted}{path.removeprefix(str(self.behind))}"

    def truth(self, load: Load | None = None) -> Truth:
        """What is there, as it is seen through the mount."""
        found = on_disk(self.behind, load.touched if load else None)
        return {self.seen(path): entry for path, entry in found.items()}


@pytest.fixture
def share(mounts: Mounts, tmp_path: Path) -> Share:
    return Share(mounts, tmp_path / "behind", tmp_path / "root" / "share")


@pytest.fixture
def witness(open_scene: OpenScene, share: Share) -> Witness:
    """A monitor of the share with files, all told."""
    scene = open_scene()
    witness = scene.watch(share.mounted)
    assert witness.coverage()[2], "the mount is not polled"
    for name in ("d/e/f", "d/f", "f"):
        path = share.behind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    witness.settle(share.truth())
    return witness


def test_the_kernel_does_not_report_what_these_tests_are_about(share: Share) -> None:
    """The premise: a watch on the mount hears nothing of a change behind it."""
    with subprocess.Popen(
        [sys.executable, "-c", _LISTEN, os.fspath(share.mounted)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as listener:
        assert listener.stdout is not None
        assert listener.stdin is not None
        assert listener.stdout.readline() == "watching\n"
        (share.behind / "f").touch()
        eventually((share.mounted / "f").exists)
        listener.stdin.close()
        assert listener.stdout.read() == "0 bytes\n"


_LISTEN = """
import ctypes, fcntl, os, sys
libc = ctypes.CDLL(None)
fd = libc.inotify_init1(os.O_NONBLOCK)
assert libc.inotify_add_watch(fd, os.fsencode(sys.argv[1]), 0xFFF) > 0
print("watching", flush=True)
sys.stdin.read()
try:
    print(len(os.read(fd, 65536)), "bytes")
except BlockingIOError:
    print("0 bytes")
"""


@LONG
def test_each_kind_of_change_behind_the_mount_is_told(witness: Witness, share: Share) -> None:
    """Created, changed, renamed, deleted, moved in, turned into a directory."""
    behind = share.behind
    (behind / "new").mkdir()
    (behind / "new/f").write_bytes(b"1")
    (behind / "f").write_bytes(b"22")
    (behind / "d/f").rename(behind / "d/g")
    witness.settle(share.truth())
    (behind / "d/e").rename(behind / "moved")
    (behind / "f").unlink()
    (behind / "f").mkdir()
    witness.settle(share.truth())
    assert all(event.get("origin") == "scan" for event in witness.judge.events)


def test_a_load_behind_the_mount_is_told_completely(open_scene: OpenScene, share: Share, seed: int) -> None:
    """Nothing missed, nothing twice, however much happens between two listings."""
    scene = open_scene()
    witness = scene.watch(share.mounted)
    load = Load(share.behind, seed, counts_closes=True)
    for _ in range(4):
        load.start(150)
        witness.until(lambda judge: judge.last > 0)
        load.join()
    load.finish()
    changes = {share.seen(path): count for path, count in load.changes.items()}
    witness.settle(share.truth(load), changes=changes, seconds=25)


@LONG
def test_a_load_through_the_mount_is_told_completely(open_scene: OpenScene, share: Share, seed: int) -> None:
    """Changes made on this machine look no different."""
    scene = open_scene()
    witness = scene.watch(share.mounted)
    load = Load(share.mounted, seed, outside=share.behind.with_name("outside"), counts_closes=True)
    load.only_inside()
    load.run(300)
    witness.settle(load=load, seconds=25)


def test_a_share_that_fails_for_a_while_has_lost_nothing(witness: Witness, share: Share) -> None:
    """Every access fails: nothing is deleted; mounted again: the differences, once."""
    told = len(witness.judge.events)
    share.break_off()
    eventually(lambda: witness.describe()["lastError"] is not None)
    witness.until_quiet()
    assert [event["type"] for event in witness.judge.events[told:] if event["type"] != "System"] == []
    (share.behind / "d/f").write_bytes(b"22")
    (share.behind / "f").unlink()
    share.unmount()
    share.mount()
    witness.settle(share.truth())
    changed = [
        (event["type"], event["fileId"]) for event in witness.judge.events[told:] if event["type"] != "System"
    ]
    assert sorted(changed) == [
        ("Delete", str(share.mounted / "f")),
        ("Modify", str(share.mounted / "d/f")),
    ]
    assert witness.describe()["lastError"] is None


def test_an_unmounted_share_is_a_lost_root_and_not_an_empty_one(witness: Witness, share: Share) -> None:
    """The empty mount point in its place is not the share: System `Root lost`, no deletions; then `Root restored`."""
    share.unmount()
    assert list(share.mounted.iterdir()) == []
    witness.until_told("root-lost")
    assert witness.stays_silent(seconds=LOST_SECONDS), witness.hear().events[-3:]
    assert [event for event in witness.judge.events if event["type"] == "Delete"] == []
    (share.behind / "new").write_bytes(b"1")
    share.mount()
    witness.until_told("root-restored")
    witness.settle(share.truth())


@LONG
def test_a_restart_on_a_share_tells_the_difference(witness: Witness, share: Share) -> None:
    """What happened on it while the service was down, once."""
    told = len(witness.judge.events)
    witness.scene.service.kill()
    (share.behind / "d/f").write_bytes(b"22")
    (share.behind / "f").unlink()
    (share.behind / "new").write_bytes(b"1")
    witness.scene.service.restart()
    witness.settle(share.truth())
    changed = [(event["type"], event["fileId"]) for event in witness.judge.events[told:]]
    assert sorted(changed) == [
        ("Create", str(share.mounted / "new")),
        ("Delete", str(share.mounted / "f")),
        ("Modify", str(share.mounted / "d/f")),
    ]


def test_a_share_that_is_not_mounted_yet_at_the_start_is_waited_for(witness: Witness, share: Share) -> None:
    """The machine boots faster than the network: nothing is deleted by that."""
    witness.scene.service.terminate()
    share.unmount()
    witness.scene.service.restart()
    assert witness.stays_silent(seconds=LOST_SECONDS) or not [
        event for event in witness.judge.events if event["type"] == "Delete"
    ], witness.judge.events[-3:]
    (share.behind / "new").write_bytes(b"1")
    share.mount()
    witness.settle(share.truth())
    assert [event for event in witness.judge.events if event["type"] == "Delete"] == []


def test_a_share_that_hangs_delays_no_other_monitor(
    witness: Witness, share: Share, open_scene: OpenScene
) -> None:
    """Its process is stopped: a listing waits in the kernel; the kernel's own reports go on, and so do requests."""
    other = witness.scene.root / "other"
    other.mkdir()
    beside = witness.scene.watch(other)
    share.process.send_signal(signal.SIGSTOP)
    try:
        (other / "f").touch()
        beside.until(lambda judge: judge.knows({str(other / "f")}), seconds=5)
        beside.client.call("getMonitorState", id=witness.monitor, seconds=5)
    finally:
        share.process.send_signal(signal.SIGCONT)
    (share.behind / "after").touch()
    witness.settle(share.truth())
