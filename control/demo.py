"""`fsherald demo`, which `make run` calls: a broker, a server and a monitor on one directory, its events live.

The server is a child process with a session of its own, so Ctrl-C reaches this process alone, which then ends
what it started in reverse; should this process be killed, the kernel ends its children.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from control import rendering
from control.child_server import ChildServer, ChildServerError, short_path
from control.cli_options import Endpoint, ExitCode, configured_endpoint, results
from control.client import EventSubscriber, MonitorServerClient, NoServerError
from control.embedded import EmbeddedBroker
from control.following import follow, say_connected, silence_stdout
from publisher.amqp_settings import parse_url
from schemas.errors import FsheraldError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_REPLY_SECONDS = 30.0


class DemoError(FsheraldError):
    """The demonstration could not be set up."""


class Signals:
    """Makes SIGINT, SIGTERM and SIGHUP one KeyboardInterrupt; what comes after the first disturbs no clean-up."""

    def __init__(self) -> None:
        self._ending = False

    def end(self) -> None:
        """From now on no signal interrupts."""
        self._ending = True

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """The handler."""
        if not self._ending:
            self._ending = True
            raise KeyboardInterrupt

    @contextmanager
    def installed(self) -> Iterator[Signals]:
        """While this lasts, the handler is in place. Main thread only."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(directory: Path, state_dir: Path) -> int:
    """Sets everything up, shows events until a signal comes, ends everything. Blocks; main thread only.

    Args:
        directory: what to watch; made if it does not exist.
        state_dir: where broker and server keep their state and logs; made if it does not exist.

    Returns:
        The exit code: 0 after Ctrl-C.

    Raises:
        FsheraldError: something could not be set up; all that was started has been ended.
    """
    with Signals().installed() as signals:
        try:
            with ExitStack() as started:
                try:
                    _set_up_and_follow(started, directory, state_dir)
                finally:
                    signals.end()
                    say("ending what was started here")
        except KeyboardInterrupt:
            say(
                f"nothing is left running; {short_path(state_dir)} keeps the state, delete it to start afresh"
            )
    return ExitCode.OK


def _set_up_and_follow(started: ExitStack, directory: Path, state_dir: Path) -> None:
    _make_directories(directory, state_dir)
    at, broker_options = _broker(started, state_dir)
    server = ChildServer(state_dir / "server.log")
    started.callback(server.stop)
    say(f"starting the server, its log is {short_path(server.log)}")
    options = [
        "--namespace",
        at.namespace,
        "--roots",
        str(directory),
        "--state-dir",
        str(state_dir / "server"),
    ]
    server.start([*options, *broker_options])
    client = started.enter_context(at.monitors())
    server.wait_until_it_answers(client)
    monitor_id = _find_or_create_monitor(client, directory)
    subscriber = started.enter_context(
        EventSubscriber(at.url, at.namespace, monitor_id, password=at.password, on_connected=say_connected)
    )
    client.start_monitor(monitor_id)
    _write_environment(at, state_dir)
    _say_how_to_go_on(monitor_id, directory, state_dir)
    try:
        follow(subscriber, as_json=False, with_monitor=False, is_over=server.has_ended)
    except BrokenPipeError:
        silence_stdout()
        return
    if server.has_ended():
        raise ChildServerError(f"the server has ended; {server.last_words()}")


def _make_directories(directory: Path, state_dir: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        state_dir.mkdir(parents=True, exist_ok=True)
        state_dir.chmod(0o700)
    except OSError as exc:
        raise DemoError(f"{exc.filename} cannot be made: {exc.strerror}") from exc


def _broker(started: ExitStack, state_dir: Path) -> tuple[Endpoint, list[str]]:
    """Where the broker is, and the options that tell `serve` so; none where it reads that for itself."""
    configured, is_given = configured_endpoint(_REPLY_SECONDS)
    if is_given:
        say("using the broker that FSHERALD_AMQP_URL names")
        _refuse_a_second_server(configured)
        return configured, []
    broker = EmbeddedBroker(state_dir, say=say)
    started.callback(broker.stop)
    broker.start()
    say(f"RabbitMQ is ready, its log is {short_path(broker.log_path)}")
    # `ps` shows a command's options to everybody: the password goes into a file.
    address = parse_url(broker.url)
    password_file = state_dir / "broker-password"
    _write_private(password_file, address.password)
    options = ["--amqp-url", str(address), "--amqp-password-file", str(password_file)]
    return Endpoint(broker.url, None, configured.namespace, _REPLY_SECONDS), options


def _refuse_a_second_server(at: Endpoint) -> None:
    try:
        with at.monitors() as client:
            client.list_monitors()
    except NoServerError:
        return
    raise DemoError(
        f"a fsherald server already answers on {at.namespace}.control of that broker; "
        "name another namespace in FSHERALD_NAMESPACE"
    )


def _find_or_create_monitor(client: MonitorServerClient, directory: Path) -> str:
    name = rendering.printable(str(directory))
    for monitor in client.list_monitors():
        if monitor.spec.path_string == str(directory):
            say(f"monitor {rendering.short_id(monitor.id)} of the last run watches {name}")
            return monitor.id
    monitor_id = client.create_monitor(str(directory))
    say(f"created monitor {rendering.short_id(monitor_id)} on {name}")
    return monitor_id


def _write_environment(at: Endpoint, state_dir: Path) -> None:
    """`.fsherald/env`: what another terminal needs to reach this server; readable by its owner alone."""
    variables = {"FSHERALD_AMQP_URL": at.url, "FSHERALD_NAMESPACE": at.namespace}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    if at.password is None:
        lines.append("unset FSHERALD_AMQP_PASSWORD_FILE")  # it would replace the password in the URL
    # Before the rest of PATH, so that the command is this one, installed or not.
    lines.append(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')
    _write_private(state_dir / "env", "".join(f"{line}\n" for line in lines))


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _say_how_to_go_on(monitor_id: str, directory: Path, state_dir: Path) -> None:
    beginning = rendering.short_id(monitor_id)
    here = shlex.quote(short_path(directory))
    lines = (
        "",
        "Ready. Drop a file in, and it shows up below:",
        f"    cp README.md {here}/",
        "In another terminal, here:",
        f"    . {shlex.quote(short_path(state_dir / 'env'))}",
        "    fsherald monitor list",
        f"    fsherald monitor show {beginning}",
        f"    fsherald tail {beginning} --json",
        f"    fsherald file ls --long {shlex.quote(str(directory))}",
        "Ctrl-C ends everything that was started here.",
        "",
    )
    for line in lines:
        results().print(Text(rendering.printable(line)))


def say(text: str) -> None:
    """One line of progress."""
    results().print(Text.assemble(("· ", "dim"), (rendering.sentence(text), "dim")))
