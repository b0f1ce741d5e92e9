"""What is true: the tree as the disk has it when nobody changes it any more."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory that exists.

    Attributes:
        is_dir: Whether it is a directory; a link to one is not.
        since: Seconds since the epoch; a report recorded before that second is not of this state.
    """

    is_dir: bool
    since: float = 0.0


Truth = dict[str, Entry]
"""Everything below a root, by absolute path."""


def on_disk(root: object, touched: Mapping[str, float] | None = None) -> Truth:
    """The tree below `root`, which nobody may change meanwhile; no link is followed.

    Args:
        root: The directory.
        touched: When something was last put at a path, where its maker knows better than the time of its content:
            what was moved there is older than its being there.
    """
    found: Truth = {}
    todo = [os.fspath(root)]  # type: ignore[call-overload]  # a Path or a text
    times = touched or {}
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                is_dir = entry.is_dir(follow_symlinks=False)
                # A directory's own time changes with what is in it, of which no report of it speaks.
                changed = 0.0 if is_dir else entry.stat(follow_symlinks=False).st_mtime
                found[entry.path] = Entry(is_dir, max(changed, times.get(entry.path, 0.0)))
                if is_dir:
                    todo.append(entry.path)
    return found
