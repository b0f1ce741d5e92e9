"""The allowed roots: opens a path beneath them with no gap between the check and the use.

A path without links is opened in one openat2(2), which cannot leave the root. Any other is walked one component
at a time with directory descriptors and O_NOFOLLOW; links are read and resolved here, never by the kernel, so
nothing outside the roots is touched, not even to see if it exists.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from typing import TYPE_CHECKING

from publisher.beneath import TAKES_A_WALK, components, open_cached, openat2
from schemas.errors import (
    IOFSError,
    NotADirectoryFSError,
    NotFoundError,
    OmeroFSError,
    PathNotAllowedError,
    PermissionDeniedError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

LINK_LIMIT = 40
"""How many links one path may lead through: the kernel's own limit (path_resolution(7))."""

_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def translate(exc: OSError, path: str) -> OmeroFSError:
    """The contract's error for an operating system error about `path`."""
    if exc.errno in {errno.ENOENT, errno.ENAMETOOLONG}:
        return NotFoundError(f"{path!r} does not exist")
    if exc.errno in {errno.EACCES, errno.EPERM}:
        return PermissionDeniedError(f"{path!r} may not be read by this server")
    if exc.errno == errno.ENOTDIR:
        return NotADirectoryFSError(f"{path!r} leads through something that is not a directory")
    return IOFSError(f"{path!r} could not be accessed: {exc.strerror}")


class Opened:
    """One thing beneath the roots, held by an O_PATH descriptor: whatever happens to its name, this is it.

    A context manager; closing it twice is harmless. Belongs to the thread that opened it.
    """

    __slots__ = ("fd", "path")

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the descriptor back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def stat(self) -> os.stat_result:
        """Fstat of the thing itself."""
        return os.fstat(self.fd)

    def reopen(self, flags: int) -> int:
        """A new descriptor for the same thing, with `flags` (say O_RDONLY); the caller closes it.

        Raises:
            OmeroFSError: The right is missing, or the kernel refuses.
        """
        try:
            return os.open(f"/proc/self/fd/{self.fd}", flags | os.O_CLOEXEC)
        except OSError as exc:
            raise translate(exc, self.path) from exc


class Roots:
    """The directories that may be watched and read, and nothing outside them.

    Thread-safe: holds no state but the configuration.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        """Takes absolute directories; one that is a link itself counts under both of its names."""
        self.paths = tuple(os.path.normpath(path) for path in paths)
        forms = {form for path in self.paths for form in (path, os.path.realpath(path))}
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def open(self, path: str, *, follow: bool = True) -> Opened:
        """Opens `path` (O_PATH); with `follow` false a link in last place is opened itself.

        Raises:
            PathNotAllowedError: Relative, or outside the roots at any step, whether or not it exists.
            NotFoundError: Absent.
            PermissionDeniedError: A directory on the way may not be searched.
            NotADirectoryFSError: Something on the way is not a directory.
        """
        if not path.startswith("/") or "\0" in path:
            raise PathNotAllowedError(f"{path!r} is not an absolute path beneath the allowed roots")
        try:
            fd = self._open_plain(path, follow=follow)
            return Opened(_Walk(self, path, follow=follow).run() if fd is None else fd, path)
        except OSError as exc:
            raise translate(exc, path) from exc

    def check(self, path: str) -> None:
        """Whether the path itself is beneath the roots, wherever its links lead.

        Raises:
            PathNotAllowedError: It is not.
        """
        if self._root_of(path) is None:
            raise PathNotAllowedError(f"{path!r} is not beneath the allowed roots")

    def stat(self, path: str, *, follow: bool = False) -> os.stat_result:
        """The stat of `path`, of a link itself unless `follow`; errors as for `open`."""
        with self.open(path, follow=follow) as opened:
            return opened.stat()

    def open_at_once(self, path: str) -> Opened | None:
        """As `open` without following, but never waits, not even for a server that does not answer.

        Returns:
            None if it takes `open` to tell, be it by an error.
        """
        if self._root_of(path) is None or "\0" in path or "/.." in path:
            return None
        try:
            return Opened(open_cached(path), path)
        except OSError:
            return None

    def _open_plain(self, path: str, *, follow: bool) -> int | None:
        """Opens a path that leads through no link in one openat2(2); None if it takes a walk to tell."""
        root = self._root_of(path)
        if root is None:
            raise PathNotAllowedError(f"{path!r} is not beneath the allowed roots")
        root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
            return openat2(root_fd, path[len(root) :].strip("/") or ".", flags)
        except OSError as exc:
            if exc.errno in TAKES_A_WALK:
                return None
            raise
        finally:
            os.close(root_fd)

    def _root_of(self, path: str) -> str | None:
        for form in self._forms:
            if path == form or path.startswith(form if form == "/" else f"{form}/"):
                return form
        return None


class _Walk:
    """One resolution: a stack of directory descriptors from the root down, and the components still to come."""

    def __init__(self, roots: Roots, path: str, *, follow: bool) -> None:
        self._roots = roots
        self._asked = path
        self._follow = follow
        self._links = 0
        self._stack: list[int] = []
        self._names: list[str] = []
        self._root = ""
        self._todo: deque[str] = deque()
        self._next_path = path

    def run(self) -> int:
        try:
            self._enter(self._next_path)
            while self._todo:
                self._step(self._todo.popleft())
            return self._stack.pop()
        finally:
            self._leave()

    def _leave(self) -> None:
        while self._stack:
            os.close(self._stack.pop())

    def _enter(self, path: str) -> None:
        """Starts over at the root that holds the absolute `path`."""
        root = self._roots._root_of(path)  # noqa: SLF001 - one concept in two classes
        if root is None:
            raise PathNotAllowedError(f"{self._asked!r} is not beneath the allowed roots")
        self._leave()
        self._root = root
        self._names = []
        self._todo = deque(components(path[len(root) :]))
        self._stack = [os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]

    def _step(self, name: str) -> None:
        if name == "..":
            self._ascend()
            return
        fd = os.open(name, _PATH_ONLY, dir_fd=self._stack[-1])
        self._stack.append(fd)
        mode = os.fstat(fd).st_mode
        if stat.S_ISLNK(mode) and (self._todo or self._follow):
            target = os.readlink("", dir_fd=fd)
            os.close(self._stack.pop())
            self._follow_link(target)
            return
        self._names.append(name)
        if self._todo and not stat.S_ISDIR(mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def _follow_link(self, target: str) -> None:
        self._links += 1
        if self._links > LINK_LIMIT:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.startswith("/"):
            rest = "/".join(self._todo)
            self._enter(f"{target}/{rest}" if rest else target)
        else:
            self._todo.extendleft(reversed(components(target)))

    def _ascend(self) -> None:
        if self._names:
            self._names.pop()
            os.close(self._stack.pop())
            return
        above = os.path.dirname(os.path.realpath(self._root))
        self._enter("/".join([above.rstrip("/"), *self._todo]) or "/")
