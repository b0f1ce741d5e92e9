"""The watchers that one would run instead: how each is started, what its words mean, how it is installed."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.losses import processes
from bench.losses.ear import CREATED, DELETED, MODIFIED, OTHER
from bench.losses.findings import Told
from bench.losses.watcher import Watcher


@dataclass(frozen=True)
class Peer:
    """One of them.

    Attributes:
        name: Of its column.
        install: The command that installs it.
        version: Of what is installed here; None for nothing.
        command: What is run before the root.
        words: Its words for the kinds of events; others are OTHER.
        chatter: Beginnings of lines on its standard error that say nothing of a loss.
    """

    name: str
    install: str
    version: Callable[[], str | None]
    command: Sequence[str]
    words: Mapping[str, str]
    chatter: tuple[str, ...] = ()

    def kind_of(self, word: str) -> str:
        """The kind of an event; inotifywait joins several words with commas."""
        return next((self.words[each] for each in word.split(",") if each in self.words), OTHER)


class PeerWatcher(Watcher):
    """A peer at work: what it tells is what it prints on the standard error, or that it ends."""

    def __init__(self, peer: Peer, root: Path, errors: Path, watches: int | None = None) -> None:
        """Starts it.

        Args:
            peer: Which one.
            root: What it watches.
            errors: The file for its standard error.
            watches: How many inotify watches it may have; None for what the machine allows.
        """
        self._peer = peer
        self._errors = errors
        self._watches = watches
        super().__init__(root, peer.kind_of)

    def told(self) -> Told:
        lines = said(self._errors.read_text(errors="replace").splitlines(), self._peer.chatter)
        return Told(tuple(lines), self.has_ended)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [*processes.limit(self._watches), *self._peer.command, str(self.root)]
        process, pipe = processes.start(command, self._errors)
        self.ear.listen(pipe)
        return process


def said(lines: Sequence[str], chatter: tuple[str, ...] = ()) -> list[str]:
    """The sentences among lines of a log: of a traceback, its last line alone."""
    sentences: list[str] = []
    in_traceback = False
    for line in filter(str.strip, lines):
        if line.startswith("Traceback "):
            in_traceback = True
        elif in_traceback and line.startswith(" "):
            continue
        elif not line.startswith(chatter or ("\0",)):
            sentences.append(line.strip())
            in_traceback = False
    return sentences


def _distribution(name: str) -> Callable[[], str | None]:
    def version() -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    return version


def _inotifywait() -> str | None:
    if shutil.which("inotifywait") is None:
        return None
    # It has no option for its version; its help begins with the name and the version.
    text = subprocess.run(["inotifywait", "--help"], capture_output=True, text=True, check=False).stdout
    return text.partition("\n")[0].removeprefix("inotifywait").strip() or "?"


PEERS = (
    Peer(
        "watchdog",
        "pip install watchdog",
        _distribution("watchdog"),
        (sys.executable, "-m", "bench.losses.watchdog_child"),
        {
            "created": CREATED,
            "moved_to": CREATED,
            "modified": MODIFIED,
            "deleted": DELETED,
            "moved_from": DELETED,
        },
    ),
    Peer(
        "watchfiles",
        "pip install watchfiles",
        _distribution("watchfiles"),
        (sys.executable, "-m", "bench.losses.watchfiles_child"),
        {"added": CREATED, "modified": MODIFIED, "deleted": DELETED},
    ),
    Peer(
        "inotifywait",
        "apt-get install inotify-tools",
        _inotifywait,
        ("inotifywait", "-m", "-r", "--format", "%e\t%w%f"),
        {
            "CREATE": CREATED,
            "MOVED_TO": CREATED,
            "MODIFY": MODIFIED,
            "DELETE": DELETED,
            "DELETE_SELF": DELETED,
            "MOVED_FROM": DELETED,
        },
        chatter=("Setting up watches", "Watches established"),
    ),
)
