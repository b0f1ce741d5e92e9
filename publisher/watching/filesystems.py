"""Whether the kernel reports changes on a file system: not where others change it behind the kernel's back."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

UNREPORTED = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x65735546: "FUSE",
    0x01021997: "9P",
    0x00C36400: "CephFS",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x7461636F: "OCFS2",
    0x01161970: "GFS2",
    0x19830326: "BeeGFS",
    0x786F4256: "VirtualBox shared folder",
    0xBACBACBC: "VMware shared folder",
    0x9FA0: "proc",
    0x62656572: "sysfs",
}
"""File systems by the magic number of statfs(2) whose changes inotify does not (all) report."""


def unreported(directory_fd: int) -> str | None:
    """The name of the file system if the kernel does not report its changes, else None.

    Raises:
        OSError: The file system could not be asked.
    """
    buffer = ctypes.create_string_buffer(256)  # struct statfs is 120 bytes on 64-bit Linux
    if _libc.fstatfs(directory_fd, buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    magic = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_long)).contents.value & 0xFFFFFFFF
    return UNREPORTED.get(magic)
