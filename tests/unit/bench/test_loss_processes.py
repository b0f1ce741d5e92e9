"""Processes that are held, limited and ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.losses import processes
from bench.losses.lines import LineReader

PROC = Path("/proc/sys/user/max_inotify_watches")


def test_a_command_without_a_limit_is_run_as_it_is() -> None:
    """Nothing stands before it."""
    assert processes.limit(None) == []


def test_a_limited_command_sees_its_limit_where_the_machine_allows_one() -> None:
    """And `can_limit` says beforehand whether it does; the machine's own limit stays."""
    before = PROC.read_text()
    done = subprocess.run([*processes.limit(7), "cat", str(PROC)], capture_output=True, text=True)
    assert (done.returncode == 0 and done.stdout == "7\n") == processes.can_limit()
    assert PROC.read_text() == before


def test_a_process_that_is_held_is_ended_all_the_same(tmp_path: Path) -> None:
    """Nothing is left behind that stands still and hears no signal."""
    process, pipe = processes.start(
        [sys.executable, "-c", "import signal; signal.pause()"], tmp_path / "errors"
    )
    processes.hold(process)
    processes.end(process)
    os.close(pipe)
    assert process.returncode is not None


def test_one_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    """After the seconds that it was given."""
    script = "trap '' TERM; printf 'ready\\t/\\n'; while :; do read line < /dev/zero; done"
    process, pipe = processes.start(["sh", "-c", script], tmp_path / "errors")
    assert list(LineReader().feed(os.read(pipe, 100))) == [("ready", "/")]
    processes.end(process, seconds=0.05)
    os.close(pipe)
    assert process.returncode == -9


def test_what_it_says_on_the_standard_error_is_kept(tmp_path: Path) -> None:
    """Of every start, one after the other."""
    errors = tmp_path / "errors"
    for word in ("one", "two"):
        process, pipe = processes.start(["sh", "-c", f"echo {word} >&2"], errors)
        process.wait(10)
        os.close(pipe)
    assert errors.read_text() == "one\ntwo\n"
