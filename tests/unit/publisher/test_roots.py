"""The allowed roots: what is inside is opened, whatever leads outside is refused without being touched."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from publisher.beneath import open_directory_beneath
from publisher.roots import Roots, translate
from schemas.errors import (
    IOFSError,
    NotADirectoryFSError,
    NotFoundError,
    PathNotAllowedError,
    PermissionDeniedError,
)


@pytest.fixture(params=["openat2", "walk"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the kernel's openat2, and on one that has none."""
    if request.param == "walk":
        monkeypatch.setattr("publisher.beneath._SYS_OPENAT2", 100_000)  # no such system call
    root = tmp_path / "root"
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "f").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    return root


@pytest.mark.parametrize(
    "path", ["", "d/f", "d//./f", "d/e/../f", "link/f", "absolute/f", "d/up/d/f", "d/e/"]
)
def test_what_is_inside_is_opened(root: Path, path: str) -> None:
    """Also through `..` and links, as long as they stay inside."""
    (root / "link").symlink_to("d")
    (root / "absolute").symlink_to(root / "d")
    (root / "d" / "up").symlink_to("..")
    with Roots([str(root)]).open(f"{root}/{path}") as opened:
        assert opened.stat().st_ino == (root / path).stat().st_ino


@pytest.mark.parametrize(
    "path",
    [
        "{root}/../secret",
        "{root}/../missing",
        "{root}/out",
        "{root}/out/missing",
        "{root}/d/relative/secret",
        "{root}/proc/self/root/etc",
        "{root}-sibling",
        "/etc/passwd",
        "/missing",
        "relative",
        "",
        "{root}/nul\0",
    ],
)
def test_what_leads_outside_is_refused_whether_or_not_it_exists(root: Path, path: str) -> None:
    """`..`, links at any level, /proc/self/root, relative paths, NUL: the same error for all."""
    (root / "out").symlink_to(root.parent / "secret")
    (root / "d" / "relative").symlink_to("../..")
    (root / "proc").symlink_to("/proc")
    with pytest.raises(PathNotAllowedError):
        Roots([str(root)]).open(path.format(root=root))


def test_a_link_in_last_place_can_be_opened_itself(root: Path) -> None:
    """With follow false the link is what is asked about, wherever it leads."""
    (root / "out").symlink_to("/etc/passwd")
    status = Roots([str(root)]).stat(f"{root}/out")
    assert status.st_ino == (root / "out").lstat().st_ino


def test_errors_are_the_contracts(root: Path) -> None:
    """Absent, not a directory, a circle of links, a name too long."""
    roots = Roots([str(root)])
    (root / "circle").symlink_to("circle")
    with pytest.raises(NotFoundError, match="missing"):
        roots.open(f"{root}/missing/below")
    with pytest.raises(NotADirectoryFSError):
        roots.open(f"{root}/d/f/below")
    with pytest.raises(IOFSError):
        roots.open(f"{root}/circle")
    with pytest.raises(NotFoundError):
        roots.open(f"{root}/{'n' * 256}")


@pytest.mark.parametrize("spelled", ["real", "link"])
def test_a_root_that_is_a_link_counts_under_both_names(root: Path, tmp_path: Path, spelled: str) -> None:
    """As configured and as resolved."""
    (tmp_path / "alias").symlink_to(root)
    roots = Roots([str(tmp_path / "alias")])
    base = root if spelled == "real" else tmp_path / "alias"
    with roots.open(f"{base}/d/f") as opened:
        assert Path(f"/proc/self/fd/{opened.fd}").read_text() == "inside"


def test_a_path_may_lead_from_one_root_into_another(root: Path, tmp_path: Path) -> None:
    """Nested roots and links between roots are inside all the same."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "g").touch()
    (root / "to-other").symlink_to(other)
    roots = Roots([str(root), str(other), str(root / "d" / "e")])
    assert roots.stat(f"{root}/to-other/g", follow=True).st_ino == (other / "g").stat().st_ino
    assert roots.stat(f"{root}/d/e/../f").st_ino == (root / "d" / "f").stat().st_ino


def test_descriptors_are_given_back(root: Path) -> None:
    """After success and after failure."""
    roots = Roots([str(root)])
    before = len(os.listdir("/proc/self/fd"))
    for path in ("d/f", "missing", "d/f/below", "../secret"):
        try:
            roots.open(f"{root}/{path}").close()
        except (NotFoundError, NotADirectoryFSError, PathNotAllowedError):
            continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_thing_is_reopened_by_what_it_is_not_by_its_name(root: Path) -> None:
    """Whatever is put in its place meanwhile is not what is read."""
    with Roots([str(root)]).open(f"{root}/d/f") as opened:
        (root / "d" / "f").unlink()
        (root / "d" / "f").symlink_to(root.parent / "secret")
        fd = opened.reopen(os.O_RDONLY)
        assert os.read(fd, 100) == b"inside"
        os.close(fd)


def test_directories_beneath_are_opened_through_no_link(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By openat2, and by walking where the kernel has no openat2."""
    (root / "link").symlink_to("d")
    fd = os.open(root, os.O_PATH)
    for _ in range(2):
        below = open_directory_beneath(fd, "d/e/")
        assert os.fstat(below).st_ino == (root / "d" / "e").stat().st_ino
        os.close(below)
        with pytest.raises(OSError, match=r"loop|symbolic|directory"):
            open_directory_beneath(fd, "link/e")
        monkeypatch.setattr("publisher.beneath._SYS_OPENAT2", 100_000)  # no such system call
    os.close(fd)


def test_a_missing_right_is_said() -> None:
    """What the operating system denies: permission-denied, naming the path."""
    error = translate(PermissionError(errno.EACCES, "denied"), "/data/f")
    assert isinstance(error, PermissionDeniedError)
    assert "/data/f" in error.reason
