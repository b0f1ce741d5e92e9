"""Opens through no link: openat2(2) where the kernel has it, else a walk with O_NOFOLLOW; tells whose mount it is."""

from __future__ import annotations

import ctypes
import errno
import os

_SYS_OPENAT2 = 437
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_RESOLVE_NO_SYMLINKS_BENEATH = 0x04 | 0x08
_RESOLVE_NO_SYMLINKS_CACHED = 0x04 | 0x20
_LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_OPENAT2 = {errno.ENOSYS, errno.EPERM, errno.ENAMETOOLONG}
"""The kernel is older than 5.6, a sandbox forbids the call, or the path is longer than one call takes."""
TAKES_A_WALK = {*_NO_OPENAT2, errno.ELOOP, errno.EXDEV, errno.EAGAIN}
_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_CACHED = _OpenHow(os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, 0, _RESOLVE_NO_SYMLINKS_CACHED)


class _FileHandle(ctypes.Structure):
    _fields_ = (("handle_bytes", ctypes.c_uint), ("handle_type", ctypes.c_int))


def openat2(directory_fd: int, relative: str, flags: int) -> int:
    """Opens beneath `directory_fd` and through no link; raises ELOOP for a link, EXDEV for a way out."""
    return _openat2(directory_fd, relative, _OpenHow(flags, 0, _RESOLVE_NO_SYMLINKS_BENEATH))


def open_cached(path: str) -> int:
    """Opens (O_PATH) an absolute path that leads through no link, asking no file system.

    Raises:
        OSError: EAGAIN if the kernel does not have all of it in its cache of names, valid without asking
            (RESOLVE_CACHED), or would have to mount something; EINVAL from kernels older than 5.12.
    """
    return _openat2(_AT_FDCWD, path, _CACHED)


def mount_number(fd: int) -> int | None:
    """The number in mountinfo (proc_pid_mountinfo(5)) of the mount that `fd` is on; None if it cannot be told.

    Does no I/O whatever the file system: there is no room for a handle, so none is made.
    """
    handle, number = _FileHandle(0, 0), ctypes.c_int(-1)
    _libc.name_to_handle_at(fd, b"", ctypes.byref(handle), ctypes.byref(number), _AT_EMPTY_PATH)
    return None if number.value < 0 else number.value


def _openat2(directory_fd: int, path: str, how: _OpenHow) -> int:
    fd: int = _libc.syscall(
        _SYS_OPENAT2, directory_fd, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd


def open_directory_beneath(directory_fd: int, relative: str) -> int:
    """Opens a directory for listing, below another and through no link at all; the caller closes it.

    One openat2(2) where the kernel has it and the path is short enough, else a walk with O_NOFOLLOW.

    Raises:
        OSError: ELOOP for a link on the way, else as open(2).
    """
    try:
        return openat2(directory_fd, relative or ".", _LISTING)
    except OSError as exc:
        if exc.errno not in _NO_OPENAT2:
            raise
    return _walk_beneath(directory_fd, relative)


def _walk_beneath(directory_fd: int, relative: str) -> int:
    fd = os.open(".", _LISTING, dir_fd=directory_fd)
    for name in components(relative):
        try:
            below = os.open(name, _LISTING | os.O_NOFOLLOW, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def components(path: str) -> list[str]:
    """The names that a path leads through, `..` among them."""
    return [part for part in path.split("/") if part not in {"", "."}]
