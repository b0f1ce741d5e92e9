"""The commands as processes, against a real broker: pipes, signals, and what is left when they have ended."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from control.client import MonitorServerClient, NoServerError
from tests.waiting import eventually

CHECKOUT = Path(__file__).parents[2]


def environment(url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FSHERALD_")}
    return {**kept, "FSHERALD_AMQP_URL": url, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "200"}


@contextmanager
def running(url: str, cwd: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path, Path]]:
    """A command, with files that receive its stdout and stderr; killed if it is still there at the end."""
    out, err = cwd / f"{arguments[0]}.out", cwd / f"{arguments[0]}.err"
    command = [sys.executable, "-m", "control", *arguments]
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=cwd, env=environment(url), stdout=stdout, stderr=stderr)
    try:
        yield process, out, err
    finally:
        process.kill()
        process.wait()


def fsherald(url: str, cwd: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "control", *arguments],
        cwd=cwd,
        env=environment(url),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def served(amqp_url: str, tmp_path: Path) -> Iterator[Path]:
    """A server on `tmp_path`/data."""
    data = tmp_path / "data"
    data.mkdir()
    options = ("--roots", str(data), "--state-dir", str(tmp_path / "state"))
    with running(amqp_url, tmp_path, "serve", *options) as (process, _, err):

        def answers() -> bool:
            assert process.poll() is None, err.read_text()
            try:
                with MonitorServerClient(amqp_url, timeout_seconds=5) as client:
                    client.list_monitors()
            except NoServerError:
                return False
            return True

        eventually(answers, seconds=30)
        yield data
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, err.read_text()


def test_from_create_to_destroy(amqp_url: str, served: Path, tmp_path: Path):
    """What README shows: a monitor made at the shell, its events in a pipe, and gone again."""
    monitor_id = fsherald(amqp_url, tmp_path, "monitor", "create", "data", "--start").strip()
    assert fsherald(amqp_url, tmp_path, "monitor", "state", monitor_id[:8]) == "Started\n"
    with running(amqp_url, tmp_path, "tail", "--json", monitor_id) as (tail, out, err):
        number = iter(range(1000))

        def has_arrived() -> bool:
            (served / f"{next(number)}.tif").write_bytes(b"x")
            assert tail.poll() is None, err.read_text()
            return bool(out.read_text())

        eventually(has_arrived, seconds=20, every_seconds=0.2)
        tail.send_signal(signal.SIGINT)
        assert tail.wait(20) == 0
        assert err.read_text() == ""
    blocks = [json.loads(line) for line in out.read_text().splitlines()]
    assert all(block["monitorId"] == monitor_id for block in blocks)
    assert blocks[0]["events"][0]["fileId"].startswith(str(served))
    fsherald(amqp_url, tmp_path, "monitor", "destroy", monitor_id)
    assert fsherald(amqp_url, tmp_path, "monitor", "list", "--json") == "[]\n"


def test_tail_ends_when_the_reader_of_its_pipe_does(amqp_url: str, served: Path, tmp_path: Path):
    """`fsherald tail | head -1` ends at once, without a word, and not only with the next event."""
    monitor_id = fsherald(amqp_url, tmp_path, "monitor", "create", str(served), "--start").strip()
    command = [sys.executable, "-m", "control", "tail", monitor_id]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(amqp_url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        tail.stdout.close()
        try:
            assert tail.wait(20) == 0
        finally:
            tail.kill()
        assert tail.stderr.read() == b""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_demo_shows_a_dropped_file_and_leaves_nothing_running(
    amqp_url: str, tmp_path: Path, ending: signal.Signals
):
    """A first run: one command, a file dropped in shows up, a signal ends all that was started."""
    with running(amqp_url, tmp_path, "demo") as (demo, out, err):

        def ready() -> bool:
            assert demo.poll() is None, out.read_text() + err.read_text()
            return "Ctrl-C ends everything" in out.read_text()

        eventually(ready, seconds=60)
        (tmp_path / "dropbox" / "image.tif").write_bytes(b"x")
        eventually(lambda: re.search(r"Create +\S+/dropbox/image\.tif", out.read_text()))
        assert processes_of(tmp_path)
        demo.send_signal(ending)
        assert demo.wait(40) == 0, err.read_text()
        assert err.read_text() == ""
    assert not processes_of(tmp_path)


def test_a_second_demo_finds_the_monitor_of_the_first(amqp_url: str, tmp_path: Path):
    """The state directory outlives the run."""
    said = []
    for _ in range(2):
        with running(amqp_url, tmp_path, "demo") as (demo, out, err):
            eventually(lambda out=out: "Ctrl-C ends everything" in out.read_text(), seconds=60)
            demo.send_signal(signal.SIGINT)
            assert demo.wait(40) == 0, err.read_text()
            said.append(out.read_text())
    created = re.search(r"created monitor (\w+)", said[0])
    assert created
    assert f"monitor {created[1]} of the last run" in said[1]


def test_a_killed_demo_takes_its_server_along(amqp_url: str, tmp_path: Path):
    """Nothing is left even by kill -9."""
    with running(amqp_url, tmp_path, "demo") as (demo, out, _):
        eventually(lambda: "Ctrl-C ends everything" in out.read_text(), seconds=60)
        assert processes_of(tmp_path)
        demo.kill()
        eventually(lambda: not processes_of(tmp_path), seconds=30)


def test_the_demo_does_not_disturb_a_server_that_is_there(amqp_url: str, served: Path, tmp_path: Path):
    """Two servers would share one queue of requests: the second is not started."""
    with running(amqp_url, tmp_path, "demo") as (demo, _, err):
        assert demo.wait(40) == 1
        assert "already answers on fsherald.control" in err.read_text()


def processes_of(directory: Path) -> list[str]:
    """The servers that were started on a directory below this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = entry.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "serve" in arguments and any(argument.startswith(f"{directory}/") for argument in arguments):
            found.append(" ".join(arguments))
    return found
