"""`fsherald monitor ...`: the operations of MonitorServer as commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from control import cli_create, rendering
from control.cli_options import (
    AmqpUrl,
    AsJson,
    Endpoint,
    ExitCode,
    Namespace,
    ReplyTimeout,
    complain,
    endpoint,
    is_terminal,
    results,
)
from schemas import rpc
from schemas.errors import NoSuchMonitorError

if TYPE_CHECKING:
    from control.client import MonitorServerClient

app = typer.Typer(
    no_args_is_help=True, help="Create, control and list monitors: the directories that a server watches."
)

_ID_LENGTH = 36

MonitorId = Annotated[str, typer.Argument(metavar="ID", help="A monitor's id, or its beginning.")]
MonitorIds = Annotated[
    list[str], typer.Argument(metavar="ID...", help="Ids of monitors, or their beginnings.")
]


app.command(epilog=cli_create.EXAMPLES)(cli_create.create)


@app.command()
def start(
    ids: MonitorIds,
    *,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 30.0,
) -> None:
    """Start monitors: they report what happens from now on. No effect on those that are started."""
    with endpoint(amqp_url, namespace, reply_timeout).monitors() as server:
        for each in ids:
            server.start_monitor(full_id(server, each))


@app.command()
def stop(
    ids: MonitorIds,
    *,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 30.0,
) -> None:
    """Stop monitors: what happened before is still published. They can be started again."""
    with endpoint(amqp_url, namespace, reply_timeout).monitors() as server:
        for each in ids:
            server.stop_monitor(full_id(server, each))


@app.command()
def destroy(
    ids: MonitorIds,
    *,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 30.0,
) -> None:
    """Stop monitors and delete them, with their exchanges. The files that they watched are not touched."""
    with endpoint(amqp_url, namespace, reply_timeout).monitors() as server:
        for each in ids:
            server.destroy_monitor(full_id(server, each))


@app.command()
def state(
    id: MonitorId,
    *,
    as_json: AsJson = False,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 30.0,
) -> None:
    """Print whether a monitor is Started or Stopped."""
    with endpoint(amqp_url, namespace, reply_timeout).monitors() as server:
        monitor_id = full_id(server, id)
        current = server.get_monitor_state(monitor_id)
    typer.echo(rendering.as_json({"id": monitor_id, "state": current}) if as_json else current)


@app.command("list")
def list_(
    *,
    as_json: AsJson = False,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 30.0,
) -> None:
    """List the monitors of a server; ids are whole in a pipe, shortened at a terminal.

    UNSENT counts blocks of events that the broker has not taken yet.
    """
    with endpoint(amqp_url, namespace, reply_timeout).monitors() as server:
        monitors = server.list_monitors()
    if as_json:
        typer.echo(rendering.as_json([json.loads(rpc.dumps(each)) for each in monitors]))
    elif monitors:
        results().print(rendering.monitor_table(monitors, whole_ids=not is_terminal()))
    else:
        typer.echo("No monitors yet; make one with: fsherald monitor create PATH --start", err=True)


@app.command()
def show(
    id: MonitorId,
    *,
    as_json: AsJson = False,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 30.0,
) -> None:
    """Show everything about one monitor: specification, state, counters, coverage, last error."""
    with endpoint(amqp_url, namespace, reply_timeout).monitors() as server:
        monitor = server.describe_monitor(full_id(server, id))
    if as_json:
        typer.echo(rendering.as_json(json.loads(rpc.dumps(monitor))))
    else:
        results().print(rendering.monitor_details(monitor))


def resolve(at: Endpoint, beginning: str) -> str:
    """As `full_id`, without a client at hand."""
    if len(beginning) >= _ID_LENGTH:
        return beginning
    with at.monitors() as server:
        return full_id(server, beginning)


def full_id(server: MonitorServerClient, beginning: str) -> str:
    """The id of the one monitor that begins so; asks the server only if `beginning` is not a whole id.

    Raises:
        NoSuchMonitorError: no monitor begins so.
        typer.Exit: several do; they have been named.
    """
    if len(beginning) >= _ID_LENGTH:
        return beginning
    found = [each.id for each in server.list_monitors() if beginning and each.id.startswith(beginning)]
    if not found:
        raise NoSuchMonitorError(f"no monitor's id begins with {beginning!r}")
    if len(found) > 1:
        complain(f"{beginning!r} may be any of {', '.join(found)}", ExitCode.USAGE)
        raise typer.Exit(ExitCode.USAGE)
    return found[0]
