"""inotify read in the plainest way: `python -m bench.capturing.plain ROOT MODE`.

One directory, one read, struct over the buffer: what any watcher in Python costs at least that asks the kernel which
names exist. It does not follow directories, and does not notice that records were lost.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

from watchdog.observers.inotify_c import InotifyConstants

from bench.capturing.tally import Tally

IN = InotifyConstants
MASK = IN.IN_CREATE | IN.IN_CLOSE_WRITE | IN.IN_MOVED_FROM | IN.IN_MOVED_TO | IN.IN_DELETE
DONE = IN.IN_CLOSE_WRITE | IN.IN_MOVED_TO

_BUFFER_BYTES = 64 * 1024
_HEADER = struct.Struct("iIII")


def main(root: str, mode: str) -> None:
    tally = Tally(mode)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    if libc.inotify_add_watch(descriptor, os.fsencode(root), MASK) < 0:
        raise OSError(ctypes.get_errno(), "cannot be watched", root)
    while True:
        buffer = os.read(descriptor, _BUFFER_BYTES)
        offset = 0
        while offset < len(buffer):
            _, mask, _, length = _HEADER.unpack_from(buffer, offset)
            begin = offset + _HEADER.size
            offset = begin + length
            if mask & DONE:
                tally.note(f"{root}/{os.fsdecode(buffer[begin:offset].rstrip(bytes(1)))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
