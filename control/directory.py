"""Directories as getDirectory and getBulkDirectory list them: filtered as by `ls`, sorted, in pages."""

from __future__ import annotations

import fnmatch
import heapq
import itertools
import os
import re
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from control.file_look import file_stats, file_type, unknown_stats
from publisher.roots import translate
from schemas.errors import LimitExceededError, NotADirectoryFSError, OmeroFSError
from schemas.files import FileStats, FileType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from control.deadline import Deadline
    from publisher.roots import Roots

NAMES_LIMIT = 250_000
STATS_LIMIT = 50_000
"""What one reply lists at most: it has to fit into a message, and into memory."""
_CHECK_EVERY = 1024
FILTER_LIMIT = 4096
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def selects(pattern: str) -> Callable[[str], bool]:
    """Whether a name is listed: as the shell expands a pattern, so dot files only if it begins with a dot.

    Raises:
        LimitExceededError: The pattern is too long.
    """
    if len(pattern) > FILTER_LIMIT:
        raise LimitExceededError(f"the filter has {len(pattern)} characters, the limit is {FILTER_LIMIT}")
    matches = re.compile(fnmatch.translate(pattern or "*")).match
    shows_dots = pattern.startswith(".")
    return lambda name: (shows_dots or not name.startswith(".")) and matches(name) is not None


def list_names(
    roots: Roots, path: str, pattern: str, limit: int | None, after: str | None, deadline: Deadline
) -> list[str]:
    """The names in a directory, a directory's own with a slash at the end.

    Args:
        roots: What may be listed.
        path: The directory.
        pattern: See `selects`.
        limit: Names at most.
        after: The last name of the page before.
        deadline: When to give up.

    Raises:
        OmeroFSError: The directory cannot be listed, or has too many names for one reply.
    """
    with _opened(roots, path) as fd:
        entries = _entries(fd, pattern, after, deadline, path)
        page = _page(entries, limit, NAMES_LIMIT, path)
    return [name + "/" if is_dir else name for name, is_dir in page]


def list_stats(
    roots: Roots, path: str, pattern: str, limit: int | None, after: str | None, deadline: Deadline
) -> list[FileStats]:
    """The same selection with the stats of each entry; one that goes meanwhile is left out."""
    limit = None if limit is None else min(limit, STATS_LIMIT)
    with _opened(roots, path) as fd:
        entries = _entries(fd, pattern, after, deadline, path)
        # Twice as many names as asked for: some may be gone when they are looked at, and a page is to be full.
        page = _page(entries, None if limit is None else 2 * limit, STATS_LIMIT, path)
        found: list[FileStats] = []
        for index, (name, _) in enumerate(page):
            if index % _CHECK_EVERY == 0:
                deadline.check(f"the listing of {path!r}")
            stats = _stats_of(roots, path, fd, name)
            if stats is not None:
                found.append(stats)
            if len(found) == limit:
                break
    return found


@contextmanager
def _opened(roots: Roots, path: str) -> Iterator[int]:
    with roots.open(path) as directory:
        if not stat.S_ISDIR(directory.stat().st_mode):
            raise NotADirectoryFSError(f"{path!r} is not a directory")
        fd = directory.reopen(os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    except OSError as exc:
        raise translate(exc, path) from exc
    finally:
        os.close(fd)


def _entries(
    fd: int, pattern: str, after: str | None, deadline: Deadline, path: str
) -> Iterator[tuple[str, bool]]:
    selected = selects(pattern)
    last = None if after is None else after.removesuffix("/")
    with os.scandir(fd) as entries:
        for index, entry in enumerate(entries):
            if index % _CHECK_EVERY == 0:
                deadline.check(f"the listing of {path!r}")
            if selected(entry.name) and (last is None or entry.name > last):
                yield entry.name, entry.is_dir(follow_symlinks=False)


def _page(
    entries: Iterator[tuple[str, bool]], limit: int | None, most: int, path: str
) -> list[tuple[str, bool]]:
    """The first `limit` entries in order, or all of them if there are not more than `most`."""
    if limit is not None:
        return heapq.nsmallest(min(limit, 2 * most), entries)
    names = list(itertools.islice(entries, most + 1))
    if len(names) > most:
        raise _too_many(path, most)
    return sorted(names)


def _too_many(path: str, most: int) -> LimitExceededError:
    return LimitExceededError(f"{path!r} has more than {most} entries; ask for pages with limit and after")


def _stats_of(roots: Roots, path: str, directory_fd: int, name: str) -> FileStats | None:
    try:
        status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return _directory_stats(directory_fd, name)
    except FileNotFoundError:
        return None
    except OSError:
        return unknown_stats(name)
    kind = file_type(directory_fd, status)
    if kind is FileType.LINK:
        try:
            status = roots.stat(f"{path.rstrip('/')}/{name}", follow=True)
        except OmeroFSError:
            pass  # it leads nowhere, or where nobody may look: then it is the link that is described
    return file_stats(name, kind, status)


def _directory_stats(parent_fd: int, name: str) -> FileStats:
    fd = os.open(name, _ENTRY, dir_fd=parent_fd)
    try:
        status = os.fstat(fd)
        return file_stats(name, file_type(fd, status), status)
    finally:
        os.close(fd)
