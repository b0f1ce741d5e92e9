"""`fsherald monitor create`: every parameter of the contract's createMonitor as an option."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from control import rendering
from control.cli_options import AmqpUrl, Namespace, ReplyTimeout, endpoint, examples, is_terminal
from schemas.monitors import MonitorType, PathMode, WatchEventType

if TYPE_CHECKING:
    from enum import StrEnum

E = TypeVar("E", bound="StrEnum")

EXAMPLES = examples(
    ("fsherald monitor create /data/run7 --start", "everything in it and below"),
    (
        "fsherald monitor create /data --events Creation --whitelist .ome.tif --queue images --start",
        "finished images alone, kept in a queue until somebody takes them",
    ),
    (
        "fsherald monitor create /data/run7 --type Inactivity --timeout 600 --start",
        "one that says when the instrument has been silent for ten minutes",
    ),
)


def _member(kind: type[E], text: str) -> E:
    for member in kind:
        if member.lower() == text.strip().lower():
            return member
    raise typer.BadParameter(f"{text!r} is none of {', '.join(kind)}")


def _monitor_type(text: str) -> MonitorType:
    return _member(MonitorType, text)


def _path_mode(text: str) -> PathMode:
    return _member(PathMode, text)


def _event_types(texts: list[str]) -> list[str]:
    return [str(_member(WatchEventType, part)) for text in texts for part in text.split(",")]


def create(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="The directory to watch, on the server's machine and inside its roots. "
            "A relative path is taken from here.",
        ),
    ],
    *,
    kind: Annotated[
        MonitorType,
        typer.Option(
            "--type",
            parser=_monitor_type,
            metavar="TYPE",
            help="Persistent: watches until stopped. OneShot: stops after its first block of events, or after "
            "--timeout. Inactivity: stops when --timeout seconds pass without an event.",
        ),
    ] = MonitorType.PERSISTENT,
    events: Annotated[
        list[str],
        typer.Option(
            "--events",
            callback=_event_types,
            metavar="TYPE,...",
            help="What to report: Creation, Modification, Deletion, or All; several joined by commas.",
        ),
    ] = ["All"],  # noqa: B006 - typer copies it
    mode: Annotated[
        PathMode,
        typer.Option(
            "--mode",
            parser=_path_mode,
            metavar="MODE",
            help="Flat: the directory itself. Recurse: and the subdirectories that exist at start. "
            "Follow: and those that appear later.",
        ),
    ] = PathMode.FOLLOW,
    whitelist: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Report only these files: a name, an extension (.tif), an absolute path or a shell pattern. "
            "Repeatable.",
        ),
    ] = None,
    blacklist: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Leave these files and directories out; wins over --whitelist. Repeatable."
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="For OneShot (0 waits for ever) and Inactivity (required)."
        ),
    ] = 0.0,
    block_size: Annotated[
        int,
        typer.Option(metavar="EVENTS", min=0, help="At most so many events in one message; 0 sets no limit."),
    ] = 0,
    ignore_sys_files: Annotated[
        bool,
        typer.Option(
            "--ignore-sys-files/--no-ignore-sys-files",
            help="Leave out dot files, desktop leftovers, editors' swap and lock files.",
        ),
    ] = True,
    ignore_dir_events: Annotated[
        bool, typer.Option("--ignore-dir-events/--no-ignore-dir-events", help="Report files only.")
    ] = False,
    platform_check: Annotated[
        bool,
        typer.Option(
            "--platform-check/--no-platform-check",
            help="Refuse a file system whose changes the kernel does not report, instead of polling it.",
        ),
    ] = False,
    queue: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A durable queue to bind to the monitor's events, declared if it does not exist.",
        ),
    ] = None,
    start: Annotated[bool, typer.Option("--start", help="Start it as well.")] = False,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 30.0,
) -> None:
    """Create a monitor and print its id.

    It is stored by the server and survives its restarts. It watches from `monitor start` on, or at once with
    --start.
    """
    absolute = path if path.startswith("/") else str(Path(path).absolute())
    with endpoint(amqp_url, namespace, reply_timeout).monitors() as server:
        monitor_id = server.create_monitor(
            absolute,
            m_type=kind,
            e_types=events,
            p_mode=mode,
            whitelist=whitelist or (),
            blacklist=blacklist or (),
            timeout=timeout,
            block_size=block_size,
            ignore_sys_files=ignore_sys_files,
            ignore_dir_events=ignore_dir_events,
            platform_check=platform_check,
            queue=queue,
        )
        typer.echo(monitor_id)
        if start:
            server.start_monitor(monitor_id)
    if is_terminal():
        _say_how_to_go_on(monitor_id, started=start)


def _say_how_to_go_on(monitor_id: str, *, started: bool) -> None:
    beginning = rendering.short_id(monitor_id)
    if not started:
        typer.echo(f"It is stopped; start it with: fsherald monitor start {beginning}", err=True)
    typer.echo(f"See its events with: fsherald tail {beginning}", err=True)
