"""Small file systems of a test's own: one that gets full, and one that fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(directory: Path, size_bytes: int) -> Iterator[Path]:
    """A tmpfs of that size, mounted at `directory`, which is made; the test is skipped where it may not mount."""
    directory.mkdir()
    mounted = _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(directory))
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        _run("umount", "-l", str(directory))


def fill(directory: Path) -> Path:
    """Takes all room that is left, with a file that may be removed."""
    filler = directory / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 16, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    return filler


@contextmanager
def refused_writes(file: Path) -> Iterator[None]:
    """The kernel refuses every write to `file`, also to who has it open: the attribute `immutable`."""
    done = _run("chattr", "+i", str(file))
    if done.returncode:
        pytest.skip(f"the file system has no attributes: {done.stderr.strip()}")
    try:
        yield
    finally:
        _run("chattr", "-i", str(file))


@contextmanager
def failing_disk(directory: Path, image: Path) -> Iterator[Failing]:
    """An ext4 of 32 MiB in a file, which turns read-only when it fails, as `errors=remount-ro` has it."""
    with image.open("wb") as file:
        os.truncate(file.fileno(), 32 << 20)
    directory.mkdir()
    made = _run("mkfs.ext4", "-q", str(image))
    made = (
        made if made.returncode else _run("mount", "-o", "loop,errors=remount-ro", str(image), str(directory))
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        device = _run("findmnt", "-n", "-o", "SOURCE", str(directory)).stdout.strip()
        yield Failing(directory, Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error")
    finally:
        _run("umount", "-l", str(directory))


class Failing:
    """A disk that fails when told to."""

    def __init__(self, directory: Path, trigger: Path) -> None:
        self.directory = directory
        self._trigger = trigger

    def fail(self) -> None:
        """From now on it is read-only."""
        if not self._trigger.exists():
            pytest.skip("this kernel's ext4 cannot be made to fail")
        self._trigger.write_text("1")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        return subprocess.CompletedProcess(command, 127, "", str(exc))
