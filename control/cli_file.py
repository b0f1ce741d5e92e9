"""`fsherald file ...`: queries of FileServer as commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from control import rendering
from control.cli_options import (
    AmqpUrl,
    AsJson,
    ExitCode,
    Namespace,
    ReplyTimeout,
    endpoint,
    notices,
    results,
)
from control.copying import BLOCK_BYTES, IN_FLIGHT, SMALLEST_BLOCK_BYTES, CopyError, FileCopy
from schemas import rpc

app = typer.Typer(no_args_is_help=True, help="Ask a server about files below its roots, and read them.")

FilePath = Annotated[
    str, typer.Argument(metavar="PATH", help="Absolute path on the server's machine, inside its roots.")
]


@app.command()
def stat(
    path: FilePath,
    *,
    as_json: AsJson = False,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 30.0,
) -> None:
    """Show type, owner, size, time of the last change (UTC) and name."""
    with endpoint(amqp_url, namespace, reply_timeout).files() as server:
        stats = server.get_stats(path)
    if as_json:
        typer.echo(rendering.as_json(json.loads(rpc.dumps(stats))))
    else:
        results().print(rendering.stats_table([stats]))


@app.command()
def ls(
    path: FilePath,
    *,
    pattern: Annotated[
        str, typer.Option("--filter", metavar="PATTERN", help="Shell pattern; default: all but dot files.")
    ] = "",
    long: Annotated[bool, typer.Option("-l", "--long", help="As `file stat` for each entry.")] = False,
    as_json: AsJson = False,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 30.0,
) -> None:
    """List a directory; the name of a directory in it ends in `/`."""
    with endpoint(amqp_url, namespace, reply_timeout).files() as server:
        if long:
            entries = list(server.entries(path, pattern))
            if as_json:
                typer.echo(rendering.as_json(json.loads(rpc.dumps(entries))))
            else:
                results().print(rendering.stats_table(entries))
            return
        names = list(server.names(path, pattern))
    if as_json:
        typer.echo(rendering.as_json(names))
    else:
        for name in names:
            typer.echo(rendering.printable(name))


@app.command()
def sha1(
    path: FilePath,
    *,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 600.0,
) -> None:
    """Print the SHA-1 of a file, computed by the server."""
    with endpoint(amqp_url, namespace, reply_timeout).files() as server:
        digest = server.get_sha1(path)
    typer.echo(f"{digest.sha1}  {rendering.printable(path)}")


@app.command()
def read(
    path: FilePath,
    *,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 30.0,
) -> None:
    """Write the bytes of a file to stdout, all of one version."""
    with endpoint(amqp_url, namespace, reply_timeout).files() as server:
        for block in server.read(path):
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()


@app.command()
def cp(
    path: FilePath,
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="Where to, here: a file, or a directory to put it in.")
    ] = Path(),
    *,
    block_bytes: Annotated[
        int, typer.Option(min=SMALLEST_BLOCK_BYTES, metavar="BYTES", help="How much to ask for at a time.")
    ] = BLOCK_BYTES,
    in_flight: Annotated[
        int, typer.Option(min=1, max=64, metavar="N", help="How many blocks to ask for at once.")
    ] = IN_FLIGHT,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 600.0,
) -> None:
    """Copy a file from the server to here: one version of it, checked by SHA-1; run again, it goes on where it was."""
    with endpoint(amqp_url, namespace, reply_timeout).files() as server, copy_progress(path) as progress:
        copy = FileCopy(server, path, target, block_bytes=block_bytes, in_flight=in_flight, progress=progress)
        try:
            written = copy.run()
        except OSError as exc:
            message = f"{rendering.printable(str(exc.filename or target))} cannot be written: {exc.strerror}"
            raise CopyError(message) from exc
    typer.echo(rendering.printable(str(written)))


@app.command()
def exists(
    path: FilePath,
    *,
    amqp_url: AmqpUrl = None,
    namespace: Namespace = None,
    reply_timeout: ReplyTimeout = 30.0,
) -> None:
    """Print true and end with 0 if there is anything of that name; else print false and end with 4."""
    with endpoint(amqp_url, namespace, reply_timeout).files() as server:
        there = server.file_exists(path)
    typer.echo("true" if there else "false")
    if not there:
        raise typer.Exit(ExitCode.NO)


@contextmanager
def copy_progress(path: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while a copy runs, nothing if stderr is not a terminal."""
    console = notices()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(rendering.printable(path.rpartition("/")[2]), total=None)
        yield lambda done, size: bar.update(task, completed=done, total=size)
