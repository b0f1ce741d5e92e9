"""`python -m bench.polling_child WHO BASE SECONDS`: polls BASE/root each second, prints the share of one core."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from unittest.mock import patch

from watchdog.events import FileSystemEventHandler
from watchdog.observers.polling import PollingObserver

from bench.monitored import Monitored
from publisher.ledger import Ledger

INTERVAL_SECONDS = 1.0


def ours(base: Path) -> None:
    """A monitor on a tree of which the kernel is said to report nothing."""
    with patch("publisher.admission.unreported", lambda _: "NFS"):
        Monitored(base, Ledger, poll_interval_seconds=INTERVAL_SECONDS).monitor.start()


def theirs(base: Path) -> None:
    """Watchdog's polling observer, as documented."""
    observer = PollingObserver(timeout=INTERVAL_SECONDS)
    observer.daemon = True
    observer.schedule(FileSystemEventHandler(), str(base / "root"), recursive=True)
    observer.start()


def main(who: str, base: str, seconds: str) -> None:
    {"fsherald": ours, "watchdog": theirs}[who](Path(base))
    never = threading.Event()
    never.wait(3 * INTERVAL_SECONDS)
    began, used = time.monotonic(), time.process_time()
    never.wait(float(seconds))
    print((time.process_time() - used) / (time.monotonic() - began), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # the threads may be in the middle of a listing
