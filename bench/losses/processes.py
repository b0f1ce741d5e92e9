"""Child processes of the loss comparison: with few inotify watches, held and released, ended by their id."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.waiting import eventually

_LIMIT = "/proc/sys/user/max_inotify_watches"


def limit(watches: int | None) -> list[str]:
    """What goes before a command to give it only so many inotify watches: a user namespace of its own."""
    if watches is None:
        return []
    return ["unshare", "-Ur", "sh", "-c", f'echo {watches} > {_LIMIT} && exec "$@"', "sh"]


def can_limit() -> bool:
    """Whether this machine lets us lower the limit; containers often do not."""
    try:
        return subprocess.run([*limit(60), "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def start(command: Sequence[str], errors: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A process, and the pipe with its output; what it says on the standard error is added to a file."""
    reader, writer = os.pipe()
    try:
        with errors.open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=log)
    except OSError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return process, reader


def hold(process: subprocess.Popen[bytes]) -> None:
    """Stops a process (SIGSTOP) and returns when each of its threads stands still."""
    os.kill(process.pid, signal.SIGSTOP)
    eventually(lambda: all(state == "T" for state in _states(process.pid)), seconds=5, every_seconds=0.001)


def release(process: subprocess.Popen[bytes]) -> None:
    """Lets it go on (SIGCONT)."""
    os.kill(process.pid, signal.SIGCONT)


def end(process: subprocess.Popen[bytes], *, seconds: float = 5.0) -> None:
    """Asks it to end, held or not, and kills it when it has not after `seconds`; returns when it is gone."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        release(process)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _states(pid: int) -> list[str]:
    # The state follows the name, which is in parentheses and may hold some itself (proc_pid_stat(5)).
    return [
        stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")
    ]
