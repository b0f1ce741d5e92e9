"""What a monitor wants to hear of: its specification compiled once to the cheapest predicate. Pure."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

from schemas.events import EventType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from schemas.monitors import MonitorSpec

SYSTEM_PATTERNS = (
    ".*",
    "untitled folder*",
    "New Folder*",
    "Thumbs.db",
    "desktop.ini",
    "*.swo",
    "*.swp",
    "*.swx",
    "*~",
    "~$*",
    "#*#",
)
"""Dot files (`.DS_Store` and `.nfs*` among them) and what desktops and editors leave behind."""

_GLOB = re.compile(r"[*?\[]")


class Filter:
    """The compiled filter of one monitor; a predicate is true for what is kept.

    Attributes:
        types: The event types that are wanted, without System.
        directory_events: Whether events about directories are wanted.
        by_path: Whether a decision can depend on where a name stands, not on the name alone.
    """

    __slots__ = ("_black", "_black_names", "_system", "_white", "by_path", "directory_events", "types")

    def __init__(self, spec: MonitorSpec) -> None:
        self.types = frozenset(event_type.value for event_type in spec.watched)
        self.directory_events = not spec.ignore_dir_events
        self._system = _names(SYSTEM_PATTERNS) if spec.ignore_sys_files else None
        self._white = _Matcher(spec.whitelist) if spec.whitelist else None
        self._black = _Matcher(spec.blacklist) if spec.blacklist else None
        self.by_path = any(matcher is not None and matcher.by_path for matcher in (self._white, self._black))

    def wants_file(self, directory: str, name: str) -> bool:
        """Whether events about the file (or link, or special file) `name` in `directory` are kept."""
        if self._system is not None and self._system(name):
            return False
        if self._black is not None and self._black.matches(directory, name):
            return False
        return self._white is None or self._white.matches(directory, name)

    def wants_directory(self, directory: str, name: str) -> bool:
        """Whether the directory `name` in `directory` is reported and entered; the whitelist is for files only."""
        if self._system is not None and self._system(name):
            return False
        return self._black is None or not self._black.matches(directory, name)

    def wants_event(self, event_type: str, *, is_dir: bool) -> bool:
        """Whether an event of this type is kept, its name being wanted."""
        return event_type in self.types and (self.directory_events or not is_dir)

    @property
    def wants_modify(self) -> bool:
        """Whether modifications matter: if not, the kernel need not report writes."""
        return EventType.MODIFY.value in self.types


class _Matcher:
    """One list of exact names, extensions, absolute paths and shell patterns."""

    __slots__ = ("_exact", "_extensions", "_name_pattern", "_path_pattern", "_paths", "by_path")

    def __init__(self, entries: Iterable[str]) -> None:
        exact: set[str] = set()
        extensions: list[str] = []
        paths: list[str] = []
        name_patterns: list[str] = []
        path_patterns: list[str] = []
        for entry in entries:
            globbed = _GLOB.search(entry) is not None
            if "/" in entry:
                anchored = entry if entry.startswith("/") else f"*/{entry}"
                (path_patterns if globbed or anchored is not entry else paths).append(anchored.rstrip("/"))
            elif globbed:
                name_patterns.append(entry)
            elif entry.startswith("."):
                extensions.append(entry)
            else:
                exact.add(entry)
        self._exact = frozenset(exact)
        self._extensions = tuple(extensions)
        self._paths = tuple(paths)
        self._name_pattern = _names(name_patterns) if name_patterns else None
        self._path_pattern = _names(path_patterns) if path_patterns else None
        self.by_path = bool(paths or path_patterns)

    def matches(self, directory: str, name: str) -> bool:
        if name in self._exact or (self._extensions and name.endswith(self._extensions)):
            return True
        if self._name_pattern is not None and self._name_pattern(name):
            return True
        return self.by_path and self._matches_path(f"{directory.rstrip('/')}/{name}")

    def _matches_path(self, path: str) -> bool:
        if any(path == entry or path.startswith(f"{entry}/") for entry in self._paths):
            return True
        return self._path_pattern is not None and self._path_pattern(path)


def _names(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Patterns that only say how a name begins or ends need no regular expression, which takes five times as long."""
    beginnings: list[str] = []
    endings: list[str] = []
    others: list[str] = []
    for pattern in patterns:
        before, star, after = pattern.partition("*")
        if not star or _GLOB.search(before + after) or (before and after):
            others.append(pattern)
        elif after:
            endings.append(after)
        else:
            beginnings.append(before)
    match = re.compile("|".join(map(fnmatch.translate, others))).match if others else _nothing
    begins, ends = tuple(beginnings), tuple(endings)
    return lambda name: name.startswith(begins) or name.endswith(ends) or match(name) is not None


def _nothing(_name: str) -> None:
    """Matches no name."""
