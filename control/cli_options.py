"""What the commands share: the options that say where the server is, the consoles, and how an error is said.

Results go to stdout, everything else to stderr, so that a pipe carries results alone.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from control import client, rendering
from control.config import ConfigError, load_config
from schemas.errors import FsheraldError, OmeroFSError, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTION = "Where the server is"
_WIDE = 10_000

AmqpUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The broker, amqp:// or amqps://. Default: FSHERALD_AMQP_URL, else amqp://guest:guest@localhost:5672/%2F.",
        rich_help_panel=CONNECTION,
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The server's namespace on that broker. Default: FSHERALD_NAMESPACE, else fsherald.",
        rich_help_panel=CONNECTION,
    ),
]
ReplyTimeout = Annotated[
    float,
    typer.Option(
        "--reply-timeout",
        metavar="SECONDS",
        min=0.1,
        help="How long to wait for a reply, connecting included.",
        rich_help_panel=CONNECTION,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on one line.")]


def examples(*lines: tuple[str, str]) -> str:
    """The examples of a command's help, each with what it is for, as Markdown."""
    return "\n\n".join(["Examples:", *(f"- {purpose}: `{command}`" for command, purpose in lines)])


class ExitCode(IntEnum):
    """How a command ends; documented in `fsherald --help`."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    REFUSED = 3
    NO = 4
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server is, and how long its reply may take."""

    url: str
    password: str | None
    namespace: str
    timeout_seconds: float

    def monitors(self) -> client.MonitorServerClient:
        """A client of the MonitorServer there; not a URL: UsageError."""
        return client.MonitorServerClient(
            self.url, self.namespace, self.timeout_seconds, password=self.password
        )

    def files(self) -> client.FileServerClient:
        """A client of the FileServer there."""
        return client.FileServerClient(self.url, self.namespace, self.timeout_seconds, password=self.password)


def endpoint(amqp_url: str | None, namespace: str | None, reply_timeout: float) -> Endpoint:
    """Where options, environment and `.env` say that the server is.

    Raises:
        ConfigError: something in them cannot be used; one sentence that names it.
    """
    return _endpoint(reply_timeout, amqp_url=amqp_url, namespace=namespace)[0]


def configured_endpoint(reply_timeout: float) -> tuple[Endpoint, bool]:
    """As `endpoint` without options, and whether the broker was named anywhere or is the default."""
    return _endpoint(reply_timeout)


def _endpoint(reply_timeout: float, **given: str | None) -> tuple[Endpoint, bool]:
    # A client has no roots; those of the environment, right or wrong, are the server's.
    config = load_config(roots="/", **given)
    amqp = config.amqp
    at = Endpoint(amqp.url, amqp.password, config.namespace, reply_timeout)
    return at, "amqp_url" in config.model_fields_set


class _Results(Console):
    def on_broken_pipe(self) -> None:
        """Leaves the exception, which is being handled, to the command: rich would end the process with 1."""
        raise  # noqa: PLE0704 - rich calls this in its `except BrokenPipeError`


def results() -> Console:
    """stdout: coloured and as wide as the terminal if it is one; plain and never cut if it is a pipe."""
    plain = partial(_Results, highlight=False, markup=False, emoji=False)
    console = plain(soft_wrap=True)
    return console if console.is_terminal else plain(width=_WIDE)


def notices() -> Console:
    """stderr: what is said beside the results."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def silence_logs() -> None:
    """A command is no server: what its client would log is either said in a sentence or not worth one."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


class Commands(TyperGroup):
    """The command line as a whole: every failure ends as one sentence on stderr and an exit code."""

    def main(  # type: ignore[override]  # typer narrows what its own base declares
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        **extra: Any,
    ) -> Any:
        """Runs a command and exits with its code."""
        extra.pop("standalone_mode", None)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        sys.exit(self._run(args, prog_name, complete_var, **extra))

    def _run(
        self, args: Sequence[str] | None, prog_name: str | None, complete_var: str | None, **extra: Any
    ) -> int:
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except typer.TyperException as exc:
            return _misused(exc)
        except ConfigError as exc:
            return complain(str(exc), ExitCode.USAGE)
        except (OmeroFSError, RequestError) as exc:
            return complain(str(exc), ExitCode.REFUSED)
        except FsheraldError as exc:
            return complain(str(exc), ExitCode.FAILURE)
        except Exception as exc:  # noqa: BLE001 - the edge towards the user, who is to see a sentence and no traceback
            return complain(f"this should not have happened: {type(exc).__name__}: {exc}", ExitCode.FAILURE)
        return code if isinstance(code, int) else ExitCode.OK


def _misused(exc: typer.TyperException) -> int:
    context = getattr(exc, "ctx", None)
    if type(exc).__name__ == "NoArgsIsHelpError":
        return ExitCode.USAGE  # the help has been shown
    message = exc.format_message() if hasattr(exc, "format_message") else str(exc)
    hint = f" (see `{context.command_path} --help`)" if context is not None else ""
    return complain(message.rstrip(".") + hint, ExitCode.USAGE)


def complain(message: str, code: ExitCode) -> ExitCode:
    """Says what went wrong, in one sentence, and returns `code`."""
    notices().print(Text.assemble(("fsherald: ", "bold red"), rendering.sentence(message)))
    return code
