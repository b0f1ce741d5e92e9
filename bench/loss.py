"""What file watchers lose, side by side: watchdog, watchfiles, inotifywait and fsherald in the same situations.

Each is a child process on a root of its own on tmpfs, as its documentation shows it, and prints one line per event.
What was made is compared with what was heard; "told" is whatever a watcher says about a loss: on its standard
error, by ending, or, of fsherald, in a System event.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pika

from bench.losses import processes
from bench.losses.findings import Delivered, Lost
from bench.losses.peers import PEERS, Peer, PeerWatcher
from bench.losses.service import ServiceWatcher
from bench.losses.situations import SITUATIONS, Scene, Situation
from bench.losses.watcher import Watcher
from bench.site import Site, site
from bench.table import markdown
from control.logs import configure_logs
from schemas.version import __version__

LONGEST_SECONDS = 300
_LONGEST_SENTENCE = 160
_MOST_SENTENCES = 2


@dataclass(frozen=True)
class Column:
    """A watcher: its name, its version (None: not installed), how it is started on a root."""

    name: str
    version: str | None
    install: str
    start: Callable[[Path, Path, int | None], Watcher]


def main() -> str:
    """Runs every situation with every watcher and returns the table, with what was told and where it ran."""
    configure_logs("warning")  # the standard output is the table's
    until = time.monotonic() + LONGEST_SECONDS
    with site() as place:
        columns = [*(_of_peer(peer) for peer in PEERS), _of_service(place)]
        can_limit = processes.can_limit()
        rows, notes = [], []
        for situation in SITUATIONS:
            cells = []
            for column in columns:
                if reason := _not_run(column, situation, can_limit=can_limit, until=until):
                    cells.append(reason)
                    continue
                cell, told = observe(place, column, situation)
                cells.append(cell)
                notes += [
                    f"- {column.name}, {situation.what}: {sentence}" for sentence in told[:_MOST_SENTENCES]
                ]
                if len(told) > _MOST_SENTENCES:
                    notes[-1] += f" (and {len(told) - _MOST_SENTENCES} more)"
            rows.append([situation.what, *cells, situation.goal])
        where = _where(columns, place.url)
    table = markdown(["what", *(column.name for column in columns), "goal"], rows)
    return "\n".join([table, "", where, "", "Told:", "", *(notes or ["- nothing"])])


def observe(place: Site, column: Column, situation: Situation) -> tuple[str, list[str]]:
    """One cell, and what was told; a watcher that could not be run says why in its cell."""
    base = place.root / f"{column.name}-{situation.observe.__name__}"
    scene = Scene(base / "root", base / "beside")
    scene.root.mkdir(parents=True)
    scene.beside.mkdir()
    situation.prepare(scene)
    try:
        with closing(column.start(scene.root, base / "errors", situation.watches)) as watcher:
            watcher.wait_until_ready()
            finding = situation.observe(watcher, scene)
    except Exception as exc:  # noqa: BLE001 - one cell that fails is told, and does not take the others along
        return f"failed: {_shortened(str(exc), scene)}", []
    finally:
        shutil.rmtree(base, ignore_errors=True)
    told = finding.told.sentences if isinstance(finding, Delivered | Lost) else ()
    return str(finding), [_shortened(sentence, scene) for sentence in told]


def _of_peer(peer: Peer) -> Column:
    return Column(peer.name, peer.version(), peer.install, partial(PeerWatcher, peer))


def _of_service(place: Site) -> Column:
    return Column("fsherald", __version__, "", partial(ServiceWatcher, place))


def _not_run(column: Column, situation: Situation, *, can_limit: bool, until: float) -> str | None:
    if column.version is None:
        return "not installed"
    if situation.watches is not None and not can_limit:
        return "no user namespaces here"
    return f"not run, {LONGEST_SECONDS} s are over" if time.monotonic() > until else None


def _where(columns: list[Column], url: str) -> str:
    """The line that says what was compared, and on what machine."""
    return "; ".join(_versions(columns, url))


def _versions(columns: list[Column], url: str) -> Iterator[str]:
    for column in columns:
        yield f"{column.name} {column.version or f'not installed (`{column.install}`)'}"
    connection = pika.BlockingConnection(pika.URLParameters(url))
    broker = connection._impl.server_properties or {}  # noqa: SLF001 - the one way to it in a blocking connection
    connection.close()
    yield f"{broker.get('product', 'broker')} {broker.get('version', '?')}"
    yield f"Python {platform.python_version()}"
    yield f"Linux {platform.release()}"
    yield f"{os.cpu_count()} cores"


def _shortened(text: str, scene: Scene) -> str:
    line = " ".join(text.split()).replace(str(scene.root), "ROOT").replace("|", "\\|")
    return line if len(line) <= _LONGEST_SENTENCE else f"{line[:_LONGEST_SENTENCE]}…"
