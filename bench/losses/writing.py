"""The writers: files made, changed and removed as fast as one thread can. Bounded by what they are given."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def names(directory: Path, stem: str, count: int) -> list[str]:
    """Paths of so many files to be."""
    return [f"{directory}/{stem}{number:05d}" for number in range(count)]


def create(paths: Iterable[str]) -> None:
    """Makes empty files."""
    for path in paths:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def append(paths: Iterable[str]) -> None:
    """Makes each file a few bytes longer."""
    for path in paths:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, b"more\n")
        os.close(descriptor)


def remove(paths: Iterable[str]) -> None:
    """Deletes files."""
    for path in paths:
        Path(path).unlink()


def make_directories(paths: Iterable[str]) -> None:
    """Makes directories whose parents are there."""
    for path in paths:
        Path(path).mkdir()
