"""The load: seeded changes of a tree, each counted, so that what was reported can be held against them.

The same seed does the same to an empty directory, however fast it goes. What exists in the end is not taken from
here but from the disk; this knows what the disk forgets: what was there once, how often it was put there or
changed, and when something was last put at a path.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

_ODD_NAMES = (
    "mit Leerzeichen",
    "gr\u00f6\u00dfe",
    "\u65e5\u672c",
    "new\nline",
    "quote\"'",
    "not-\udcff\udc80-utf8",
    "a*b?[c]",
)
_MOST_DIRECTORIES = 60
_MOST_FILES = 1500

Identity = tuple[int, int, int]
"""What tells one file at a path from another, or from itself before a change: (inode, size, mtime in nanoseconds)."""


class Load:
    """Random changes below `root`, from a generator of their own; one thread at a time.

    Attributes:
        done: How many steps were made; readable from any thread.
        changes: How often something was put or changed at each path that ever was.
    """

    def __init__(
        self, root: Path, seed: object, *, outside: Path | None = None, counts_closes: bool = False
    ) -> None:
        """Takes an empty directory, and another on the same file system for what is moved in and out.

        With `counts_closes` the close of a file that was written for long is a change: for who cannot know of it.
        """
        self.root = root
        self.done = 0
        self.changes: Counter[str] = Counter()
        self._counts_closes = counts_closes
        self._stood: dict[tuple[str, Identity], float] = {}
        self._random = random.Random(f"load {seed}")
        self._outside = outside or root.parent / f"{root.name}-outside"
        self._outside.mkdir(exist_ok=True)
        self._directories = [str(root)]
        self._files: list[str] = []
        self._former: list[str] = []
        self._open: dict[str, BinaryIO] = {}
        # A test that fails leaves them open, of which the next one would be accused.
        weakref.finalize(self, _close_all, self._open)
        self._numbers = 0
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._steps: dict[Callable[[], None], int] = {
            self._create: 30,
            self._append: 14,
            self._overwrite: 5,
            self._replace: 6,
            self._rename: 8,
            self._delete: 12,
            self._link: 2,
            self._open_one: 4,
            self._close_one: 4,
            self._make_directory: 5,
            self._make_deep_tree: 2,
            self._remove_tree: 2,
            self._move_tree: 3,
            self._move_in: 2,
            self._move_out: 1,
        }

    # Running.

    def only_inside(self) -> None:
        """Move nothing in or out: the tree is on a file system of its own."""
        del self._steps[self._move_in], self._steps[self._move_out]

    def run(self, steps: int) -> None:
        """Make so many changes on this thread."""
        choices, weights = list(self._steps), list(self._steps.values())
        for _ in range(steps):
            self._random.choices(choices, weights)[0]()
            self.done += 1

    def start(self, steps: int) -> None:
        """Make so many changes on a thread of their own, until `join`."""

        def run() -> None:
            try:
                self.run(steps)
            except BaseException as exc:  # noqa: BLE001 - raised again by join, on the thread of the test
                self._failure = exc

        assert self._thread is None
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the changes of `start` are made, or could not be."""
        return self._thread is None or not self._thread.is_alive()

    def join(self, *, seconds: float = 60.0) -> None:
        """Wait until the changes of `start` are made; no effect if there are none."""
        if self._thread is not None:
            self._thread.join(seconds)
            assert not self._thread.is_alive(), f"the load made {self.done} steps in {seconds:g} s"
            self._thread = None
        if self._failure is not None:
            raise self._failure

    @property
    def touched(self) -> dict[str, float]:
        """When what is at each path now was first there, seconds since the epoch, not after it happened.

        A file that was renamed away and back is the same as ever: nobody who compares can tell.
        """
        now = {path: _identity(path) for path, _ in self._stood if os.path.lexists(path)}
        return {
            path: self._stood[path, identity]
            for path, identity in now.items()
            if (path, identity) in self._stood
        }

    def finish(self) -> None:
        """Close what is still open: every file is complete from now on."""
        self.join()
        for path in list(self._open):
            self._close(path)

    def clear(self) -> None:
        """Remove all that is there."""
        self.finish()
        for name in sorted(os.listdir(self.root)):
            path = f"{self.root}/{name}"
            if os.path.isdir(path) and not os.path.islink(path):
                self._forget_below(path)
                shutil.rmtree(path)
            else:
                os.unlink(path)
        self._files.clear()

    # Files.

    def _create(self) -> None:
        path = self._free_path()
        if path is not None:
            with self._putting(path):
                Path(path).write_bytes(self._content())
            self._files.append(path)

    def _append(self) -> None:
        path = self._some_file()
        if path is not None:
            with self._putting(path), open(path, "ab") as file:
                for _ in range(self._random.randint(1, 3)):
                    file.write(self._content() or b"x")
                    file.flush()

    def _overwrite(self) -> None:
        path = self._some_file()
        if path is not None:
            with self._putting(path):
                Path(path).write_bytes(self._content() + b"over")

    def _replace(self) -> None:
        path = self._some_file()
        if path is not None:
            aside = f"{path}.{self._number()}.part"
            with self._putting(aside):
                Path(aside).write_bytes(self._content())
            with self._putting(path):
                os.rename(aside, path)

    def _rename(self) -> None:
        old, new = self._some_file(), self._free_path()
        if old is not None and new is not None:
            with self._putting(new):
                os.rename(old, new)
            self._files.remove(old)
            self._former.append(old)
            self._files.append(new)

    def _delete(self) -> None:
        path = self._some_file()
        if path is not None:
            os.unlink(path)
            self._files.remove(path)
            self._former.append(path)

    def _link(self) -> None:
        path = self._free_path()
        if path is not None:
            with self._putting(path):
                os.symlink("target", path)

    def _open_one(self) -> None:
        path = self._free_path()
        if path is not None and len(self._open) < 5:
            with self._putting(path):
                self._open[path] = open(path, "wb")  # noqa: SIM115 - closed by a later step
                self._open[path].write(b"begun")
                self._open[path].flush()

    def _close_one(self) -> None:
        if self._open:
            self._close(self._random.choice(list(self._open)))

    def _close(self, path: str) -> None:
        began = time.time()
        with self._open.pop(path) as file:
            file.write(self._content())
        self._stood[path, _identity(path)] = began
        self.changes[path] += self._counts_closes
        self._files.append(path)

    # Directories.

    def _make_directory(self) -> None:
        path = self._free_path()
        if path is not None and len(self._directories) < _MOST_DIRECTORIES:
            with self._putting(path):
                os.mkdir(path)
            self._directories.append(path)

    def _make_deep_tree(self) -> None:
        path = self._free_path()
        if path is not None and len(self._directories) < _MOST_DIRECTORIES:
            self._grow(path, put=True)

    def _grow(self, top: str, *, put: bool) -> None:
        """A directory with two below it and files in each; counted when it grows in the watched tree."""
        for path in (top, f"{top}/b", f"{top}/b/c"):
            with self._putting(path) if put else nullcontext():
                os.mkdir(path)
            files = [f"{path}/x", f"{path}/y"]
            for file in files:
                with self._putting(file) if put else nullcontext():
                    Path(file).write_bytes(self._content())
            self._directories += [path] if put else []
            self._files += files if put else []

    def _remove_tree(self) -> None:
        path = self._some_directory()
        if path is not None:
            self._forget_below(path)
            shutil.rmtree(path)

    def _move_tree(self) -> None:
        old, parent = self._some_directory(), self._random.choice(self._directories)
        if old is None or f"{parent}/".startswith(f"{old}/"):
            return
        new = f"{parent}/moved{self._number()}"
        self._move(old, new)
        self._directories = [_moved(path, old, new) for path in self._directories]
        self._files = [_moved(path, old, new) for path in self._files]
        for path in list(self._open):
            self._open[_moved(path, old, new)] = self._open.pop(path)

    def _move_in(self) -> None:
        path = self._free_path()
        if path is None or len(self._directories) >= _MOST_DIRECTORIES:
            return
        outside = str(self._outside / f"tree{self._number()}")
        self._grow(outside, put=False)
        self._move(outside, path)
        for top, directories, files in os.walk(path):
            self._directories += [top] if top == path else []
            directories.sort()  # the disk's own order is another each time
            self._directories += [f"{top}/{name}" for name in directories]
            self._files += [f"{top}/{name}" for name in sorted(files)]

    def _move_out(self) -> None:
        path = self._some_directory()
        if path is not None:
            self._forget_below(path)
            os.rename(path, self._outside / f"out{self._number()}")

    # Bookkeeping.

    @contextmanager
    def _putting(self, path: str) -> Iterator[None]:
        """Something is put or changed at the path meanwhile."""
        began = time.time()
        yield
        self._put(path, began)

    def _put(self, path: str, began: float) -> None:
        self.changes[path] += 1
        self._stood.setdefault((path, _identity(path)), began)

    def _move(self, old: str, new: str) -> None:
        """Rename a directory: all that is in it is put at another path."""
        began = time.time()
        os.rename(old, new)
        self._put(new, began)
        for top, directories, files in os.walk(new):
            for name in (*directories, *files):
                self._put(f"{top}/{name}", began)

    def _forget_below(self, top: str) -> None:
        below = f"{top}/"
        for path in [path for path in self._open if path.startswith(below)]:
            self._open.pop(path).close()
        self._directories = [path for path in self._directories if not f"{path}/".startswith(below)]
        self._files = [path for path in self._files if not path.startswith(below)]
        self._former.append(top)

    def _some_file(self) -> str | None:
        return self._random.choice(self._files) if self._files else None

    def _some_directory(self) -> str | None:
        return self._random.choice(self._directories[1:]) if len(self._directories) > 1 else None

    def _free_path(self) -> str | None:
        """A path where nothing is: a new name, or one where something was before."""
        if len(self._files) >= _MOST_FILES:
            return None
        if self._former and self._random.random() < 0.25:
            path = self._former.pop(self._random.randrange(len(self._former)))
            if os.path.dirname(path) in self._directories and not os.path.lexists(path):
                return path
        odd = f" {self._random.choice(_ODD_NAMES)}" if self._random.random() < 0.05 else ""
        return f"{self._random.choice(self._directories)}/n{self._number()}{odd}"

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _content(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 100, 5000)))


def _identity(path: str) -> Identity:
    found = os.lstat(path)
    if stat.S_ISDIR(found.st_mode):
        return (found.st_ino, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _moved(path: str, old: str, new: str) -> str:
    return new + path[len(old) :] if path == old or path.startswith(f"{old}/") else path


def _close_all(files: dict[str, BinaryIO]) -> None:
    for file in files.values():
        file.close()
