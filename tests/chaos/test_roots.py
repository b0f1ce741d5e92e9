"""A root that is lost and comes back, and a directory that cannot be read for a while: nothing is taken for deleted."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.chaos.conftest import ENDINGS, LONG, OpenScene
from tests.chaos.kit.faults import Mounts, without_override
from tests.chaos.kit.scene import Scene, Witness
from tests.chaos.kit.truth import on_disk
from tests.waiting import eventually

FILES = 40
# Longer than the interval at which a lost root is looked for.
LOST_SECONDS = 1.6


def fill(directory: Path) -> None:
    """Some directories with files."""
    for number in range(FILES):
        below = directory / f"d{number % 4}"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"f{number}").write_bytes(b"1")


def change(directory: Path) -> None:
    """One of each kind of difference."""
    (directory / "d0/f0").write_bytes(b"22")
    (directory / "d1/f1").unlink()
    (directory / "new").mkdir()
    (directory / "new/f").write_bytes(b"1")
    shutil.rmtree(directory / "d3")


def lost(witness: Witness) -> None:
    """It is said that the root is lost, and nothing is said to be deleted."""
    witness.until_told("root-lost")
    assert witness.stays_silent(seconds=LOST_SECONDS), witness.hear().events[-3:]
    assert deletions(witness) == []


def deletions(witness: Witness) -> list[str]:
    return [event["fileId"] for event in witness.hear().events if event["type"] == "Delete"]


def restored(witness: Witness) -> None:
    """It is said that the root is back, the differences are told, and it is watched."""
    witness.until_told("root-restored")
    witness.settle()
    assert len(witness.judge.told("root-lost")) == len(witness.judge.told("root-restored")) == 1
    (witness.root / "after").write_bytes(b"1")
    (witness.root / "d0" / "after").write_bytes(b"1")
    witness.settle()


@pytest.fixture
def scene(open_scene: OpenScene, tmp_path: Path) -> Scene:
    """A service that may watch what is in a directory; the monitors' roots are below that."""
    return open_scene(tmp_path / "allowed")


@pytest.fixture
def witness(scene: Scene) -> Witness:
    """A monitor with files, all told."""
    root = scene.root / "root"
    root.mkdir()
    witness = scene.watch(root)
    fill(root)
    witness.settle()
    return witness


def test_a_root_deleted_and_made_again_is_told_and_watched(witness: Witness) -> None:
    """What was in it is deleted, truly; what is in the new one is new."""
    shutil.rmtree(witness.root)
    witness.until_told("root-lost")
    witness.settle(truth={})
    witness.root.mkdir()
    (witness.root / "d0").mkdir()
    (witness.root / "d0/f0").write_bytes(b"22")
    restored(witness)


def test_a_root_renamed_and_back_is_told_by_its_difference(witness: Witness) -> None:
    """Nothing in it is deleted while it has another name; what changed there is told when it is back."""
    elsewhere = witness.root.with_name("elsewhere")
    witness.root.rename(elsewhere)
    lost(witness)
    change(elsewhere)
    assert witness.stays_silent()
    elsewhere.rename(witness.root)
    restored(witness)


@LONG
def test_another_directory_in_its_place_is_compared_with_it(witness: Witness) -> None:
    """What the old one held and the new one does not is gone."""
    witness.root.rename(witness.root.with_name("elsewhere"))
    lost(witness)
    new = witness.root.with_name("new")
    fill(new)
    (new / "d2" / "f2").unlink()
    new.rename(witness.root)
    restored(witness)
    assert str(witness.root / "d2/f2") in deletions(witness)


def test_a_parent_renamed_and_back_is_a_lost_root_too(scene: Scene) -> None:
    """The root's own directory keeps its name; the path leads nowhere all the same."""
    root = scene.root / "above" / "root"
    root.mkdir(parents=True)
    witness = scene.watch(root)
    fill(root)
    witness.settle()
    (scene.root / "above").rename(scene.root / "elsewhere")
    (scene.root / "elsewhere/root/d0/f0").write_bytes(b"22")
    witness.until_told("root-lost")
    assert deletions(witness) == []
    (scene.root / "elsewhere").rename(scene.root / "above")
    restored(witness)


class TestMounted:
    """The root is a mount point of a disk that is taken away."""

    @pytest.fixture
    def image(self, mounts: Mounts, tmp_path: Path) -> Path:
        return mounts.image(tmp_path / "image")

    @pytest.fixture
    def watched(self, mounts: Mounts, scene: Scene, image: Path) -> Witness:
        root = scene.root / "disk"
        mounts.loop(image, root)
        witness = scene.watch(root)
        fill(root)
        witness.settle()
        return witness

    def test_an_unmounted_root_is_lost_and_nothing_in_it_deleted(
        self, mounts: Mounts, watched: Witness, image: Path, tmp_path: Path
    ) -> None:
        """System `Root lost`; the empty mount point is not the root; mounted again: the differences."""
        mounts.unmount_in_good_order(watched.root)
        assert list(watched.root.iterdir()) == []
        lost(watched)
        mounts.loop(image, tmp_path / "elsewhere")
        change(tmp_path / "elsewhere")
        mounts.unmount_in_good_order(tmp_path / "elsewhere")
        mounts.loop(image, watched.root)
        restored(watched)

    @LONG
    def test_an_unmounted_parent_of_the_root_is_the_same(
        self, mounts: Mounts, scene: Scene, image: Path
    ) -> None:
        """The root is a directory of the disk, not its mount point: unmounted it does not exist."""
        disk = scene.root / "disk"
        mounts.loop(image, disk)
        (disk / "root").mkdir()
        witness = scene.watch(disk / "root")
        fill(witness.root)
        witness.settle()
        mounts.unmount_in_good_order(disk)
        lost(witness)
        mounts.loop(image, disk)
        change(witness.root)
        restored(witness)

    @LONG
    def test_an_unmounted_directory_in_the_tree_is_not_deleted(
        self, mounts: Mounts, scene: Scene, image: Path
    ) -> None:
        """A disk mounted somewhere below the root: what is on it is not gone because it is not mounted."""
        root = scene.root / "root"
        root.mkdir()
        mounts.loop(image, root / "disk")
        witness = scene.watch(root)
        fill(root / "disk")
        truth = on_disk(root)
        witness.settle()
        mounts.unmount_in_good_order(root / "disk")
        assert witness.stays_silent(seconds=LOST_SECONDS) or deletions(witness) == [], witness.judge.events[
            -3:
        ]
        mounts.loop(image, root / "disk")
        witness.settle(truth)
        change(root / "disk")
        witness.settle()

    @ENDINGS
    def test_a_disk_that_is_missing_at_the_start_is_waited_for(
        self, mounts: Mounts, watched: Witness, image: Path, how: signal.Signals
    ) -> None:
        """Unmounted while the service was down: the empty mount point it finds is not the root."""
        watched.scene.service.terminate(how)
        mounts.unmount_in_good_order(watched.root)
        watched.scene.service.restart()
        assert watched.stays_silent(seconds=LOST_SECONDS) or deletions(watched) == [], watched.judge.events[
            -3:
        ]
        mounts.loop(image, watched.root)
        change(watched.root)
        watched.settle()
        assert {event["fileId"] for event in watched.judge.events if event["type"] == "Delete"} == {
            str(watched.root / "d1/f1"),
            str(watched.root / "d3"),
            *(str(watched.root / f"d3/f{number}") for number in range(3, FILES, 4)),
        }

    @LONG
    def test_an_emptied_disk_is_empty(self, watched: Witness) -> None:
        """The other side: files deleted from a disk that stays mounted are deleted."""
        for directory in watched.root.iterdir():
            shutil.rmtree(directory)
        watched.settle(truth={})
        assert watched.judge.told() == []


class TestUnreadable:
    """A directory that the service may not read for a while; it runs without root's right to read all the same."""

    @pytest.fixture
    def scene(self, open_scene: OpenScene, tmp_path: Path) -> Scene:
        return open_scene(tmp_path / "allowed", prefix=tuple(without_override()))

    def test_moved_in_unreadable_it_is_counted_and_told_when_readable(
        self, witness: Witness, tmp_path: Path
    ) -> None:
        """Coverage lost and said; its contents once, when they can be read."""
        fill(tmp_path / "outside")
        (tmp_path / "outside").chmod(0)
        (tmp_path / "outside").rename(witness.root / "in")
        path = str(witness.root / "in")
        witness.until(lambda judge: judge.knows({path}), what="the directory itself")
        eventually(lambda: witness.coverage()[0] == witness.coverage()[1] + 1)
        assert path in witness.describe()["lastError"]
        assert witness.stays_silent()
        (witness.root / "in").chmod(0o755)
        witness.settle()
        (witness.root / "in/d0/after").write_bytes(b"1")
        witness.settle()
        assert witness.describe()["lastError"] is None

    def test_a_known_one_is_not_deleted_by_a_restart(self, witness: Witness) -> None:
        """An unreadable directory is not a deleted one; what changed in it is told when it is readable."""
        directory = witness.root / "d0"
        witness.scene.service.terminate()
        (directory / "f0").write_bytes(b"22")
        (directory / "f4").unlink()
        (directory / "new").write_bytes(b"1")
        directory.chmod(0)
        try:
            witness.scene.service.restart()
            eventually(lambda: witness.coverage()[0] == witness.coverage()[1] + 1)
            assert witness.stays_silent(seconds=LOST_SECONDS), witness.hear().events[-3:]
            assert deletions(witness) == []
        finally:
            directory.chmod(0o755)
        witness.settle()

    @LONG
    def test_a_root_made_unreadable_is_not_emptied(self, witness: Witness) -> None:
        """Nor does a restart meanwhile make it so: it is waited for."""
        witness.scene.service.kill()
        witness.root.chmod(0)
        try:
            witness.scene.service.restart()
            assert witness.stays_silent(seconds=LOST_SECONDS) or deletions(witness) == []
        finally:
            witness.root.chmod(0o755)
        change(witness.root)
        witness.settle()


@LONG
@pytest.mark.parametrize("times", [2])
def test_a_root_that_comes_and_goes_is_told_each_time(witness: Witness, times: int) -> None:
    """Lost and restored alternate, as often as it happens."""
    elsewhere = witness.root.with_name("elsewhere")
    for number in range(1, times + 1):
        witness.root.rename(elsewhere)
        witness.until_told("root-lost", times=number)
        (elsewhere / f"made-{number}").touch()
        elsewhere.rename(witness.root)
        witness.until_told("root-restored", times=number)
    witness.settle()
    codes = [event["detail"]["code"] for event in witness.judge.systems]
    assert codes == ["root-lost", "root-restored"] * times
