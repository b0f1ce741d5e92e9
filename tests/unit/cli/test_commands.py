"""The command line with a fake server behind it: what is printed where, and with which code it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import pytest
from typer.testing import CliRunner, Result

from control.cli import app
from control.cli_options import Endpoint
from control.client import BrokerUnreachableError, NoServerError, ReplyTimeoutError
from schemas.errors import NotFoundError, PathNotAllowedError, RequestError
from schemas.files import FileDigest, FileStats, FileType
from schemas.monitors import Coverage, MonitorCounters, MonitorInfo, MonitorSpec, MonitorState
from schemas.version import __version__

ID = "0d7c0000-0000-11f0-8000-000000000000"
OTHER = "0d7cffff-0000-11f0-8000-000000000000"


class FakeMonitorServer:
    """Keeps monitors in a dict; `failure` is raised by every operation."""

    def __init__(self) -> None:
        self.monitors: dict[str, MonitorInfo] = {}
        self.calls: list[tuple[str, object]] = []
        self.created: dict[str, object] = {}
        self.failure: Exception | None = None
        self.at: Endpoint | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.calls.append(("close", None))

    def _called(self, name: str, argument: object = None) -> None:
        if self.failure is not None:
            raise self.failure
        self.calls.append((name, argument))

    def add(self, monitor_id: str, path: str = "/data") -> None:
        spec = MonitorSpec.model_validate(
            {"mType": "Persistent", "eTypes": ["All"], "pMode": "Follow", "pathString": path}
        )
        self.monitors[monitor_id] = MonitorInfo(
            id=monitor_id,
            spec=spec,
            state=MonitorState.STOPPED,
            exchange=f"fsherald.monitor.{monitor_id}",
            counters=MonitorCounters(),
            coverage=Coverage(),
        )

    def create_monitor(self, path_string: str, **parameters: object) -> str:
        self._called("create", path_string)
        self.created = parameters
        return ID

    def start_monitor(self, monitor_id: str) -> None:
        self._called("start", monitor_id)

    def stop_monitor(self, monitor_id: str) -> None:
        self._called("stop", monitor_id)

    def destroy_monitor(self, monitor_id: str) -> None:
        self._called("destroy", monitor_id)

    def get_monitor_state(self, monitor_id: str) -> MonitorState:
        self._called("state", monitor_id)
        return MonitorState.STARTED

    def list_monitors(self) -> list[MonitorInfo]:
        self._called("list")
        return list(self.monitors.values())

    def describe_monitor(self, monitor_id: str) -> MonitorInfo:
        self._called("show", monitor_id)
        return self.monitors[monitor_id]


class FakeFileServer:
    """Holds one file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        """Nothing to close."""

    def file_exists(self, file_id: str) -> bool:
        return file_id == "/data/a"

    def names(self, abs_path: str, filter: str) -> list[str]:
        return ["a", "b\x1b[31m/"]

    def entries(self, abs_path: str, filter: str) -> list[FileStats]:
        return [self._stats("a"), self._stats("\udcff")]

    def _stats(self, name: str) -> FileStats:
        return FileStats(
            base_name=name, owner="root", size=5, m_time=0.0, c_time=0.0, a_time=0.0, type=FileType.FILE
        )

    def get_stats(self, file_id: str) -> FileStats:
        if file_id != "/data/a":
            raise NotFoundError(f"{file_id!r} does not exist")
        return self._stats("a")

    def get_sha1(self, file_id: str) -> FileDigest:
        return FileDigest(sha1="0" * 40, version="v")

    def read(self, file_id: str):
        yield b"\xff\x00"
        yield b"end"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeMonitorServer:
    fake = FakeMonitorServer()

    def monitors(self: Endpoint) -> FakeMonitorServer:
        fake.at = self
        return fake

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Endpoint, "monitors", monitors)
    monkeypatch.setattr(Endpoint, "files", lambda _self: FakeFileServer())
    for name in ("FSHERALD_AMQP_URL", "FSHERALD_NAMESPACE", "FSHERALD_ROOTS"):
        monkeypatch.delenv(name, raising=False)
    return fake


def fsherald(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="fsherald")


def refused(result: Result, code: int) -> str:
    """The one line on stderr of a command that failed, stdout being empty."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("fsherald: ")
    return line


def test_the_version_is_printed():
    """`fsherald --version` says what is installed."""
    result = fsherald("--version")
    assert (result.exit_code, result.stdout) == (0, f"fsherald {__version__}\n")


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["serve"],
        ["tail"],
        ["demo"],
        ["monitor"],
        *(["monitor", name] for name in ("create", "start", "stop", "destroy", "state", "list", "show")),
        *(["file", name] for name in ("stat", "ls", "sha1", "read", "exists")),
    ],
    ids=" ".join,
)
def test_every_command_has_help(command: list[str]):
    """--help explains without needing anything."""
    result = fsherald(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: fsherald" in result.stdout


def test_the_help_names_the_exit_codes():
    """They are part of the interface."""
    assert "Exit codes: 0 done" in fsherald("--help").stdout


def test_create_prints_the_id_alone(server: FakeMonitorServer):
    """So that a script can take it; the contract's defaults are filled in."""
    result = fsherald("monitor", "create", "/data")
    assert (result.exit_code, result.stdout, result.stderr) == (0, ID + "\n", "")
    assert server.calls == [("create", "/data"), ("close", None)]
    assert server.created == {
        "m_type": "Persistent",
        "e_types": ["All"],
        "p_mode": "Follow",
        "whitelist": (),
        "blacklist": (),
        "timeout": 0.0,
        "block_size": 0,
        "ignore_sys_files": True,
        "ignore_dir_events": False,
        "platform_check": False,
        "queue": None,
    }


def test_create_takes_every_parameter_of_the_contract(server: FakeMonitorServer):
    """In the contract's spelling, in any case; lists by commas or by repetition."""
    result = fsherald(
        *("monitor", "create", "/data", "--type", "inactivity", "--events", "Creation,deletion"),
        *("--mode", "FLAT", "--whitelist", ".tif", "--whitelist", "a,b", "--blacklist", "tmp"),
        *("--timeout", "2.5", "--block-size", "10", "--no-ignore-sys-files", "--ignore-dir-events"),
        *("--platform-check", "--queue", "images", "--start"),
    )
    assert result.exit_code == 0, result.output
    assert server.calls == [("create", "/data"), ("start", ID), ("close", None)]
    assert server.created == {
        "m_type": "Inactivity",
        "e_types": ["Creation", "Deletion"],
        "p_mode": "Flat",
        "whitelist": [".tif", "a,b"],
        "blacklist": ["tmp"],
        "timeout": 2.5,
        "block_size": 10,
        "ignore_sys_files": False,
        "ignore_dir_events": True,
        "platform_check": True,
        "queue": "images",
    }


def test_a_relative_path_is_taken_from_here(server: FakeMonitorServer, tmp_path: Path):
    """The contract wants absolute paths; a person at a shell should not need to."""
    fsherald("monitor", "create", "dropbox")
    assert server.calls[0] == ("create", str(tmp_path / "dropbox"))


@pytest.mark.parametrize("operation", ["start", "stop", "destroy"])
def test_monitors_are_named_by_the_beginning_of_their_id(server: FakeMonitorServer, operation: str):
    """Nobody types 36 characters; a whole id is not looked up."""
    server.add(ID)
    server.add(OTHER)
    result = fsherald("monitor", operation, "0d7c0", OTHER)
    assert result.exit_code == 0, result.output
    assert server.calls == [("list", None), (operation, ID), (operation, OTHER), ("close", None)]


def test_a_beginning_that_fits_several_monitors_is_refused(server: FakeMonitorServer):
    """Better no monitor destroyed than the wrong one."""
    server.add(ID)
    server.add(OTHER)
    line = refused(fsherald("monitor", "destroy", "0d7c"), 2)
    assert ID in line
    assert OTHER in line


def test_a_beginning_that_fits_no_monitor_is_refused(server: FakeMonitorServer):
    """The empty beginning fits none either."""
    server.add(ID)
    assert "'ffff'" in refused(fsherald("monitor", "stop", "ffff"), 3)
    refused(fsherald("monitor", "stop", ""), 3)


def test_state_prints_the_state(server: FakeMonitorServer):
    """As a word, or as JSON."""
    assert fsherald("monitor", "state", ID).stdout == "Started\n"
    assert json.loads(fsherald("monitor", "state", ID, "--json").stdout) == {"id": ID, "state": "Started"}


def test_list_prints_a_row_for_each_monitor(server: FakeMonitorServer):
    """In a pipe nothing is cut, however long."""
    path = "/data/" + "long/" * 100
    server.add(ID, path)
    result = fsherald("monitor", "list")
    assert ID in result.stdout
    assert path in result.stdout


def test_list_of_nothing_prints_nothing(server: FakeMonitorServer):
    """How to make the first one is said beside the results."""
    result = fsherald("monitor", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "monitor create" in result.stderr
    assert fsherald("monitor", "list", "--json").stdout == "[]\n"


def test_json_has_the_names_of_the_wire(server: FakeMonitorServer):
    """What `--json` prints is what the server replied, names that are not UTF-8 included."""
    server.add(ID, "/data/\udcff")
    (listed,) = json.loads(fsherald("monitor", "list", "--json").stdout)
    shown = json.loads(fsherald("monitor", "show", ID, "--json").stdout)
    assert listed == shown
    assert shown["spec"]["pathString"] == "/data/\udcff"
    assert shown["counters"]["events"] == 0


def test_show_is_for_people(server: FakeMonitorServer):
    """Everything about the monitor, hostile paths escaped."""
    server.add(ID, "/data/\x1b[31m")
    result = fsherald("monitor", "show", ID)
    assert "/data/\\x1b[31m" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("failure", "code", "sentence"),
    [
        (BrokerUnreachableError("no connection to localhost:5672: Connection refused"), 1, "refused"),
        (NoServerError("fsherald.control"), 1, "no fsherald server answers on fsherald.control"),
        (ReplyTimeoutError("listMonitors", 30), 1, "no reply to listMonitors within 30 seconds"),
        (PathNotAllowedError("'/etc' is outside the roots"), 3, "'/etc' is outside the roots"),
        (RequestError.internal_error(), 3, ""),
        (ZeroDivisionError("a bug"), 1, "ZeroDivisionError: a bug"),
        (PathNotAllowedError("'\x1b[31m' and\nmore"), 3, "'\\x1b[31m' and more"),
    ],
)
def test_a_failure_is_one_sentence_and_a_code(
    server: FakeMonitorServer, failure: Exception, code: int, sentence: str
):
    """Never a traceback, whatever it is."""
    server.failure = failure
    assert sentence in refused(fsherald("monitor", "list"), code)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["monitor", "create"],
        ["monitor", "create", "/data", "--type", "Sometimes"],
        ["monitor", "create", "/data", "--events", "Creation,Nothing"],
        ["monitor", "create", "/data", "--mode", "Deep"],
        ["monitor", "create", "/data", "--timeout", "soon"],
        ["monitor", "create", "/data", "--block-size", "-1"],
        ["monitor", "list", "--nonsense"],
        ["monitor", "list", "--amqp-url", "http://localhost"],
        ["monitor", "list", "--namespace", "amq.x"],
        ["monitor", "list", "--reply-timeout", "0"],
        ["tail", "--amqp-url", "nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_sentence_and_code_2(server: FakeMonitorServer, arguments: list[str]):
    """Nothing is sent, and the sentence says what is wrong."""
    refused(fsherald(*arguments), 2)
    assert not server.calls


def test_a_wrong_choice_names_the_right_ones(server: FakeMonitorServer):
    """The contract's spellings."""
    line = refused(fsherald("monitor", "create", "/data", "--type", "Sometimes"), 2)
    assert "Persistent, OneShot, Inactivity" in line


def test_options_say_where_the_server_is(server: FakeMonitorServer, monkeypatch: pytest.MonkeyPatch):
    """The option wins over the environment, which wins over the default."""
    monkeypatch.setenv("FSHERALD_AMQP_URL", "amqp://environment/")
    monkeypatch.setenv("FSHERALD_NAMESPACE", "environment")
    fsherald("monitor", "list", "--namespace", "option", "--reply-timeout", "2.5")
    assert server.at is not None
    assert (server.at.url, server.at.namespace) == ("amqp://environment/", "option")
    assert server.at.timeout_seconds == 2.5


def test_a_wrong_environment_names_the_variable(server: FakeMonitorServer, monkeypatch: pytest.MonkeyPatch):
    """The sentence says where to look."""
    monkeypatch.setenv("FSHERALD_AMQP_URL", "http://localhost/")
    assert "FSHERALD_AMQP_URL" in refused(fsherald("monitor", "list"), 2)


def test_a_command_needs_no_roots(server: FakeMonitorServer, monkeypatch: pytest.MonkeyPatch):
    """What only the server needs may be wrong or missing where only a client runs."""
    monkeypatch.setenv("FSHERALD_ROOTS", "relative")
    assert fsherald("monitor", "list").exit_code == 0


def test_serve_without_roots_is_refused(server: FakeMonitorServer):
    """Nothing is watched or read that nobody allowed."""
    assert "FSHERALD_ROOTS" in refused(fsherald("serve"), 2)


def test_exists_ends_with_a_code_that_says_so(server: FakeMonitorServer):
    """0 for yes, 4 for no; a failure is neither."""
    yes, no = fsherald("file", "exists", "/data/a"), fsherald("file", "exists", "/data/b")
    assert (yes.exit_code, yes.stdout) == (0, "true\n")
    assert (no.exit_code, no.stdout, no.stderr) == (4, "false\n", "")


def test_ls_shows_names_escaped(server: FakeMonitorServer):
    """One a line; with --long as stat would."""
    assert fsherald("file", "ls", "/data").stdout == "a\nb\\x1b[31m/\n"
    long = fsherald("file", "ls", "-l", "/data").stdout.splitlines()
    assert [line.split()[-1] for line in long] == ["a", "\\xff"]
    assert json.loads(fsherald("file", "ls", "--json", "/data").stdout) == ["a", "b\x1b[31m/"]


def test_stat_and_sha1_name_the_file(server: FakeMonitorServer):
    """As their namesakes do."""
    assert "1970-01-01 00:00:00Z" in fsherald("file", "stat", "/data/a").stdout
    assert json.loads(fsherald("file", "stat", "/data/a", "--json").stdout)["size"] == 5
    assert fsherald("file", "sha1", "/data/a").stdout == f"{'0' * 40}  /data/a\n"
    assert "does not exist" in refused(fsherald("file", "stat", "/data/b"), 3)


def test_read_writes_the_bytes_as_they_are(server: FakeMonitorServer):
    """stdout is the file."""
    assert fsherald("file", "read", "/data/a").stdout_bytes == b"\xff\x00end"


def test_the_terminal_is_told_how_to_go_on(server: FakeMonitorServer, monkeypatch: pytest.MonkeyPatch):
    """In a pipe the id is alone, at a terminal a hint follows on stderr."""
    monkeypatch.setattr("control.cli_create.is_terminal", lambda: True)
    result = fsherald("monitor", "create", "/data")
    assert result.stdout == ID + "\n"
    assert "fsherald monitor start 0d7c0000" in result.stderr
    assert "fsherald tail 0d7c0000" in result.stderr
