"""The reader thread's present turn, as all parts of a watcher see it."""

from __future__ import annotations


class Turn:
    """When the present turn began, in monotonic seconds. The reader thread's."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0
