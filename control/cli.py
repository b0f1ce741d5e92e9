"""The command `fsherald`: runs a server, controls one, and shows what it reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from control import cli_file, cli_monitor, demo
from control.cli_options import (
    CONNECTION,
    AmqpUrl,
    Commands,
    ExitCode,
    Namespace,
    ReplyTimeout,
    endpoint,
    examples,
    notices,
    silence_logs,
)
from control.client import EventSubscriber
from control.config import load_config
from control.following import follow, say_connected, silence_stdout
from control.logs import configure_logs
from schemas.version import __version__

_EXIT_CODES = (
    "Exit codes: 0 done; 1 failed (no broker, no server, no reply in time); 2 wrong usage or configuration; "
    "3 refused by the server; 4 the answer is no (`file exists`); 130 interrupted."
)
_EXAMPLES = examples(
    ("fsherald demo", "a first look, with a broker of its own"),
    ("fsherald serve --roots /data", "for real, the server in one terminal"),
    ("fsherald monitor create /data/run7 --start", "in another, what it is to watch"),
    ("fsherald tail", "and what happens there"),
)

app = typer.Typer(
    cls=Commands,
    name="fsherald",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Watches directories and reports what happens in them, every completed file, over RabbitMQ.",
    rich_markup_mode="markdown",
    epilog=f"{_EXAMPLES}\n\n{_EXIT_CODES}",
)
app.add_typer(cli_monitor.app, name="monitor")
app.add_typer(cli_file.app, name="file")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fsherald {__version__}")
        raise typer.Exit


@app.callback()
def every_command(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Watches directories and reports what happens in them, every completed file, over RabbitMQ."""
    silence_logs()


@app.command(
    epilog=examples(
        ("fsherald serve --roots /data:/scratch/out", "with a broker on this machine"),
        (
            "fsherald serve --roots /data --amqp-url amqps://instrument@broker/ --amqp-password-file secret",
            "with one elsewhere, over TLS",
        ),
    )
)
def serve(
    *,
    amqp_url: AmqpUrl = None,
    amqp_password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file that holds the broker's password, which then need not stand in the URL.",
            rich_help_panel=CONNECTION,
        ),
    ] = None,
    namespace: Namespace = None,
    roots: Annotated[
        str | None,
        typer.Option(
            metavar="DIR:DIR:...",
            help="Absolute directories, joined by colons: nothing outside them can be watched or read. Required.",
        ),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where monitors and events not yet delivered are kept."),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error. Default: info.")
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="console (for people) or json (for machines).")
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve /metrics, /healthz and /readyz there. Default: off."),
    ] = None,
) -> None:
    """Run a server until SIGTERM or Ctrl-C.

    Each option stands for an environment variable (--state-dir: FSHERALD_STATE_DIR), which may also stand in a
    file `.env`; the option wins. A broker that is not up yet is waited for.
    """
    config = load_config(
        amqp_url=amqp_url,
        amqp_password_file=amqp_password_file,
        namespace=namespace,
        roots=roots,
        state_dir=state_dir,
        log_level=log_level,
        log_format=log_format,
        http=http,
    )
    configure_logs(config.log_level, config.log_format)
    from control import service  # noqa: PLC0415 - a client command starts twice as fast without it

    raise typer.Exit(service.build(config).run())


@app.command(
    epilog=examples(
        ("fsherald tail", "all monitors of the server"),
        ("fsherald tail 0d7c --json | jq -r '.events[].fileId'", "the paths alone, of one monitor"),
        ("fsherald tail 0d7c --queue work --json | ./process", "one that misses nothing between two runs"),
    )
)
def tail(
    id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID", help="The monitor to follow, by its id or its beginning. Default: all monitors."
        ),
    ] = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one EventList per line, as it is on the wire.")
    ] = False,
    queue: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Consume from this durable queue, which keeps events while nobody is there. It is declared and "
            "bound if it does not exist. Default: a queue of its own, that sees what happens from now on.",
        ),
    ] = None,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 30.0,
) -> None:
    """Show events live, until Ctrl-C; connects again when the connection is lost."""
    at = endpoint(amqp_url, namespace, reply_timeout)
    monitor_id = id and cli_monitor.resolve(at, id)
    subscriber = EventSubscriber(
        at.url,
        at.namespace,
        monitor_id,
        queue=queue,
        password=at.password,
        timeout_seconds=at.timeout_seconds,
        on_connected=say_connected,
    )
    try:
        with subscriber:
            if notices().is_terminal:
                what = f"monitor {monitor_id}" if monitor_id else "all monitors"
                notices().print(Text(f"events of {what}; Ctrl-C ends", style="dim"))
            follow(subscriber, as_json=as_json, with_monitor=monitor_id is None)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.OK) from None
    except BrokenPipeError:
        silence_stdout()


@app.command("demo")
def demo_(
    *,
    directory: Annotated[
        Path, typer.Option(metavar="DIR", help="The directory to watch; made if it does not exist.")
    ] = Path("dropbox"),
    state_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Where everything that this leaves behind is kept.")
    ] = Path(".fsherald"),
) -> None:
    """Watch ./dropbox and show its events live: a broker, a server and a monitor, all ended by Ctrl-C.

    The broker is the one that FSHERALD_AMQP_URL names, if it is set; else a private RabbitMQ node.
    """
    raise typer.Exit(demo.run(directory.absolute(), state_dir.absolute()))


def main() -> None:
    """The entry point."""
    app(prog_name="fsherald")
