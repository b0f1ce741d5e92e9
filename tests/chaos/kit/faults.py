"""Faults of the machine: mounts that come and go, commands that take rights and limits away; all undone at the end.

What needs root, a loop device, FUSE or a user namespace skips the test where the machine has it not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.waiting import eventually

_TRIGGER = "/sys/fs/ext4/{device}/trigger_fs_error"


def run(*command: str | os.PathLike[str], check: bool = True) -> str:
    """Run a program of the system to its end and return what it prints."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 or not check, f"{' '.join(map(str, command))}: {done.stdout}"
    return done.stdout


def need(*programs: str) -> None:
    """Skip the test where one of these programs is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def need_mounts() -> None:
    """Skip the test where this process may not mount."""
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    if os.geteuid() != 0 or probe.returncode != 0:
        pytest.skip(f"mounting needs root: {probe.stderr.strip() or 'this is another user'}")


class Mounts:
    """Mounts of one test; whatever is still mounted at its end is unmounted, by force if need be."""

    def __init__(self) -> None:
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def tmpfs(self, at: Path, *, size: str) -> None:
        """A file system in memory, of that size."""
        need_mounts()
        self._mount(at, "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs")

    def image(self, path: Path, *, megabytes: int = 16) -> Path:
        """A new file that holds an empty ext4."""
        need_mounts()
        need("mkfs.ext4")
        with path.open("wb") as file:
            file.truncate(megabytes << 20)
        run("mkfs.ext4", "-q", path)
        return path

    def loop(self, image: Path, at: Path) -> None:
        """Mount an image; an error of its disk makes it read-only."""
        self._mount(at, "-o", "loop,errors=remount-ro", str(image))
        lost_found = at / "lost+found"
        if lost_found.exists():
            lost_found.rmdir()

    def bindfs(self, source: Path, at: Path) -> subprocess.Popen[bytes]:
        """Show `source` at `at` through FUSE: the kernel reports nothing of changes made in `source` itself."""
        need("bindfs")
        if not os.access("/dev/fuse", os.W_OK):
            pytest.skip("/dev/fuse cannot be used")
        process = subprocess.Popen(["bindfs", "-f", source, at], stdin=subprocess.DEVNULL)
        self._undo.callback(self.unmount, at)
        self._undo.callback(_end, process)

        def mounted() -> bool:
            assert process.poll() is None, "bindfs has ended"
            return os.path.ismount(at)

        eventually(mounted)
        return process

    def unmount(self, at: Path) -> None:
        """Unmount if something is mounted there, at once, whoever uses it still."""
        while _is_mounted(at):
            run("umount", "--lazy", at)

    def unmount_in_good_order(self, at: Path) -> None:
        """As an administrator does: refused while somebody has a file open there."""
        eventually(lambda: run("umount", at, check=False) == "" and not _is_mounted(at), seconds=5)

    def remount(self, at: Path, how: str) -> None:
        """Make a mount `ro` or `rw`; refused while somebody has a file open for writing there."""
        run("mount", "-o", f"remount,{how}", at)

    def repair(self, image: Path) -> None:
        """Check an image that is not mounted, as after a crash."""
        done = subprocess.run(("e2fsck", "-fy", image), capture_output=True, text=True, timeout=60)
        assert done.returncode < 4, done.stdout + done.stderr

    def break_disk(self, at: Path) -> None:
        """The disk of a loop mount has an error, and its file system becomes read-only under all that use it."""
        device = Path(run("findmnt", "--noheadings", "--output", "SOURCE", at).strip()).name
        Path(_TRIGGER.format(device=device)).write_text("broken by a test\n")
        eventually(lambda: not _is_writable(at))

    def _mount(self, at: Path, *arguments: str) -> None:
        need_mounts()
        at.mkdir(exist_ok=True)
        run("mount", *arguments, at)
        self._undo.callback(self.unmount, at)


def _is_mounted(at: Path) -> bool:
    # Not os.path.ismount: a FUSE whose process has ended answers no stat.
    return any(line.split()[4] == str(at) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _is_writable(at: Path) -> bool:
    probe = at / ".probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def limited(**limits: int) -> Sequence[str]:
    """A prefix that starts a command in a user namespace of its own, with limits of `/proc/sys/user`.

    `limited(max_inotify_watches=60)`; see `Service.prefix`.
    """
    probe = subprocess.run(["unshare", "--user", "--map-root-user", "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"no user namespaces here: {probe.stderr.strip()}")
    return ("unshare", "--user", "--map-root-user", "sh", "-c", f'{_setting(limits)}exec "$@"', "sh")


def set_limits(pid: int, **limits: int) -> None:
    """Change the limits of the namespace that a process with the prefix `limited` runs in."""
    need("nsenter")
    command = (
        "nsenter",
        "--user",
        f"--target={pid}",
        "--preserve-credentials",
        "sh",
        "-c",
        f"{_setting(limits)}true",
    )
    run(*command)


def _setting(limits: dict[str, int]) -> str:
    return "".join(f"echo {value} > /proc/sys/user/{name} && " for name, value in limits.items())


def without_override() -> Sequence[str]:
    """A prefix that takes from root the right to read what its mode forbids; nothing for any other user."""
    if os.geteuid() != 0:
        return ()
    need("setpriv")
    taken = "-dac_override,-dac_read_search"
    return ("setpriv", f"--bounding-set={taken}", f"--inh-caps={taken}")
