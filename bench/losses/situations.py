"""The situations in which watchers lose events: each is prepared, then brought about, and its loss counted.

Every wait ends when nothing is missing any more, or when nothing new has come for a while.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.losses import findings
from bench.losses.ear import CREATED, DELETED, MODIFIED, OTHER
from bench.losses.findings import Difference, Finding, Told
from bench.losses.watcher import Watcher
from bench.losses.writing import append, create, make_directories, names, remove

BURST = 30_000
WATCHES = 60
DIRECTORIES = 200
CHAINS = 300
TREE_FILES = 50
RETURNED_FILES = 20
ROUNDS = 7
EACH_CHANGED = 100

_BEFORE: Final = ("modified", "deleted", "kept")
_SCRIPT: Final = """
for number in $(seq 0 $(($1 - 1))); do
    mkdir -p $number/a/b/c
    : > $number/a/file; : > $number/a/b/file; : > $number/a/b/c/file
done
"""

QUIET_SECONDS = 3.0
# For what should not come: a second report, a file that has not changed.
AFTERWARDS_SECONDS = 1.0
# What has no watch can only be found by comparing it now and then.
QUIET_SECONDS_WITHOUT_WATCHES = 6.0


@dataclass(frozen=True)
class Scene:
    """A directory to watch, and one beside it on the same file system that nobody watches."""

    root: Path
    beside: Path


@dataclass(frozen=True)
class Situation:
    """One row.

    Attributes:
        what: The row's text.
        goal: What fsherald is to do.
        observe: Brings it about and counts; the watcher is ready.
        prepare: What is there before the watcher starts.
        watches: How many inotify watches the watcher may have; None for what the machine allows.
    """

    what: str
    goal: str
    observe: Callable[[Watcher, Scene], Finding]
    prepare: Callable[[Scene], None] = lambda _: None
    watches: int | None = None


def reader_stopped(watcher: Watcher, scene: Scene) -> Finding:
    made = names(scene.root, "file", BURST)
    watcher.hold()
    create(made)
    since = time.monotonic()
    watcher.release()
    watcher.ear.wait_for(made, quiet_seconds=QUIET_SECONDS)
    return findings.lost(made, watcher.ear.heard, since, watcher.told())


def more_directories_than_watches(watcher: Watcher, scene: Scene) -> Finding:
    return _one_file_in_each(watcher, scene)


def watches_run_out_later(watcher: Watcher, scene: Scene) -> Finding:
    directories = _directories(scene)
    make_directories(directories)
    watcher.ear.wait_for(directories, quiet_seconds=1)
    return _one_file_in_each(watcher, scene)


def chains_by_a_script(watcher: Watcher, scene: Scene) -> Finding:
    """One process for each `mkdir`, as people write it: the watcher is about as fast as the script."""
    subprocess.run(["sh", "-c", _SCRIPT, "sh", str(CHAINS)], cwd=scene.root, check=True)
    return _chains_heard(watcher, scene)


def chains_at_full_speed(watcher: Watcher, scene: Scene) -> Finding:
    """The same without the processes: the script is done before the watcher looks."""
    for number in range(CHAINS):
        (scene.root / f"{number}/a/b/c").mkdir(parents=True)
        create(_files_of_chain(scene, number))
    return _chains_heard(watcher, scene)


def tree_moved_in(watcher: Watcher, scene: Scene) -> Finding:
    tree = scene.beside / "tree"
    make_directories([str(tree), *(f"{tree}/{number}" for number in range(5))])
    parts = [f"{number % 5}/file{number}" for number in range(TREE_FILES)]
    create([f"{tree}/{part}" for part in parts])
    tree.rename(scene.root / "tree")
    made = [f"{scene.root}/tree/{part}" for part in parts]
    ear = watcher.ear
    ear.wait_for(made, quiet_seconds=QUIET_SECONDS)
    files = findings.count(made, ear.heard, CREATED, MODIFIED, OTHER)
    before = len(ear.heard)
    append(made)
    ear.wait(
        lambda: findings.count(made, ear.heard[before:], MODIFIED) == TREE_FILES, quiet_seconds=QUIET_SECONDS
    )
    return findings.MovedIn(files, findings.count(made, ear.heard[before:], MODIFIED))


def root_made_again(watcher: Watcher, scene: Scene) -> Finding:
    ear = watcher.ear
    shutil.rmtree(scene.root)
    ear.wait(lambda: bool(watcher.told().sentences), quiet_seconds=1, seconds=5)
    scene.root.mkdir()
    made = names(scene.root, "again", RETURNED_FILES)
    for path in made:
        create([path])
        ear.wait_for([path], quiet_seconds=0.25)
    ear.wait_for(made, quiet_seconds=QUIET_SECONDS)
    told = watcher.told()
    if any(event.kind == DELETED and event.path == str(scene.root) for event in ear.heard):
        told = Told((*told.sentences, "an event: the root is deleted"), told.ended)
    return findings.delivered(made, ear.heard, told)


def move_out(watcher: Watcher, scene: Scene) -> Finding:
    after, otherwise = [], []
    for number in range(ROUNDS):
        leaving = scene.root / f"leaving{number}"
        otherwise.append(_latency(watcher, str(leaving)))
        leaving.rename(scene.beside / leaving.name)
        after.append(_latency(watcher, f"{scene.root}/after{number}"))
    return findings.Stall(_median_ms(after), _median_ms(otherwise))


def changed_while_down(watcher: Watcher, scene: Scene) -> Finding:
    created = names(scene.root, "created", EACH_CHANGED)
    modified, deleted, kept = (names(scene.root, stem, EACH_CHANGED) for stem in _BEFORE)
    ear = watcher.ear
    before = len(ear.heard)

    def meanwhile() -> None:
        create(created)
        append(modified)
        remove(deleted)

    def found() -> Difference:
        return findings.difference(created, modified, deleted, kept, ear.heard[before:])

    watcher.restart(meanwhile)
    watcher.wait_until_ready()
    everything = Difference(EACH_CHANGED, EACH_CHANGED, EACH_CHANGED, 0)
    ear.wait(lambda: found() == everything, quiet_seconds=QUIET_SECONDS)
    ear.wait(lambda: False, quiet_seconds=AFTERWARDS_SECONDS, seconds=5)
    return found()


def _directories(scene: Scene) -> list[str]:
    return [f"{scene.root}/directory{number:03d}" for number in range(DIRECTORIES)]


def _files_of_chain(scene: Scene, number: int) -> list[str]:
    return [f"{scene.root}/{number}/{level}/file" for level in ("a", "a/b", "a/b/c")]


def _chains_heard(watcher: Watcher, scene: Scene) -> Finding:
    made = [path for number in range(CHAINS) for path in _files_of_chain(scene, number)]
    watcher.ear.wait_for(made, quiet_seconds=QUIET_SECONDS)
    watcher.ear.wait(lambda: False, quiet_seconds=AFTERWARDS_SECONDS, seconds=5)
    return findings.exactness(made, watcher.ear.heard)


def _one_file_in_each(watcher: Watcher, scene: Scene) -> Finding:
    made = [f"{directory}/file" for directory in _directories(scene)]
    create(made)
    # A process that gave up prints nothing more.
    quiet = 0.5 if watcher.has_ended else QUIET_SECONDS_WITHOUT_WATCHES
    watcher.ear.wait_for(made, quiet_seconds=quiet)
    return findings.delivered(made, watcher.ear.heard, watcher.told())


def _latency(watcher: Watcher, path: str) -> float | None:
    """Seconds from the moment before the file is made to its first event; None when there is none."""
    ear = watcher.ear
    before, began = len(ear.heard), time.monotonic()
    create([path])
    ear.wait_for([path], quiet_seconds=2)
    return next((event.at - began for event in ear.heard[before:] if event.path == path), None)


def _median_ms(values: list[float | None]) -> float | None:
    times = [value for value in values if value is not None]
    return statistics.median(times) * 1e3 if len(times) == len(values) else None


SITUATIONS = (
    Situation(
        f"reader stopped while {BURST:,} files are made",
        "0 lost, told, < 2 s",
        reader_stopped,
    ),
    Situation(
        f"{DIRECTORIES} directories, {WATCHES} watches: one file in each",
        f"{DIRECTORIES} of {DIRECTORIES}, told",
        more_directories_than_watches,
        prepare=lambda scene: make_directories(_directories(scene)),
        watches=WATCHES,
    ),
    Situation(
        f"{WATCHES} watches run out later: one file in each of {DIRECTORIES} new directories",
        f"{DIRECTORIES} of {DIRECTORIES}, told",
        watches_run_out_later,
        watches=WATCHES,
    ),
    Situation(
        f"{CHAINS} x `mkdir -p a/b/c`, {3 * CHAINS} files at once, by a script: missing / twice",
        "0 / 0",
        chains_by_a_script,
    ),
    Situation(
        "the same at full speed: missing / twice",
        "0 / 0",
        chains_at_full_speed,
    ),
    Situation(
        f"tree of {TREE_FILES} files moved in: its files / later changes in it",
        f"{TREE_FILES} / {TREE_FILES}",
        tree_moved_in,
    ),
    Situation(
        "root removed and made again: files made in it then",
        f"{RETURNED_FILES} of {RETURNED_FILES}, told",
        root_made_again,
    ),
    Situation("event right after a move out", "no stall", move_out),
    Situation(
        f"restart after {EACH_CHANGED} files were created / modified / deleted",
        f"{EACH_CHANGED} / {EACH_CHANGED} / {EACH_CHANGED}",
        changed_while_down,
        prepare=lambda scene: create(
            path for stem in _BEFORE for path in names(scene.root, stem, EACH_CHANGED)
        ),
    ),
)
