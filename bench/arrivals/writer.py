"""Makes files of one byte: `python -m bench.arrivals.writer DIRECTORY FILES RATE`; RATE 0 is as fast as it can.

The name of each is the time just before it is made (CLOCK_MONOTONIC in ns, which all processes share). At the end it
prints that time of the first one and of the end.
"""

from __future__ import annotations

import os
import sys
import time

CANARY = "canary"
"""The end of names of files that are made to see whether somebody watches, and not counted."""


def make(path: str) -> None:
    """One file, complete when this returns."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.write(descriptor, b"x")
    os.close(descriptor)


def main(directory: str, files: str, rate: str) -> None:
    pace = float(rate)
    began = time.monotonic_ns()
    for number in range(int(files)):
        if pace:
            time.sleep(max(0.0, number / pace - (time.monotonic_ns() - began) / 1e9))
        make(f"{directory}/{time.monotonic_ns()}")
    print(began, time.monotonic_ns(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
