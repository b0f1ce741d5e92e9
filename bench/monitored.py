"""One monitor in a process of its own, without a broker: what watching, ledger and outbox cost by themselves.

`python -m bench.monitored WHAT FILES DIRECTORIES LEDGER BASE` prints one JSON object; `bench/ledger.py` runs it.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from pathlib import Path

from publisher.arming import Arming, MonitorSettings
from publisher.ledger import Ledger
from publisher.monitor import Monitor
from publisher.outbox import Outbox
from publisher.roots import Roots
from publisher.sighting import Signature
from publisher.storing.ledger_tables import DirectoryRow, LedgerChanges
from publisher.storing.store import Store
from publisher.watching.polling import Poller
from publisher.watching.reader import Reader
from schemas.monitors import MonitorSpec, MonitorType, PathMode, WatchEventType
from tests.waiting import eventually

BLOCK_SIZE = 100


class NoLedger(Ledger):
    """Keeps nothing: what is left is watching, blocks and outbox."""

    def put_file(self, directory: int, name: str, signature: Signature) -> None:
        """Nothing."""

    def drop_file(self, directory: int, name: str) -> None:
        """Nothing."""

    def put_directory(self, row: DirectoryRow) -> None:
        """Nothing."""

    def take(self, position: int) -> LedgerChanges:  # noqa: ARG002 - as the ledger's
        """Nothing."""
        return LedgerChanges()


class Monitored:
    """A monitor on `base`/root with its store beside that."""

    def __init__(self, base: Path, ledger: type[Ledger], *, poll_interval_seconds: float = 2.0) -> None:
        self.root = base / "root"
        self.root.mkdir(exist_ok=True)
        self.state = base / "state"
        self.state.mkdir(exist_ok=True)
        self.store = Store(self.state / "store.db")
        self.outbox = Outbox(self.store)
        self.reader, self.poller = Reader(), Poller(poll_interval_seconds)
        self.reader.start()
        self.poller.start()
        known = self.store.monitors()
        spec = MonitorSpec(
            m_type=MonitorType.PERSISTENT,
            e_types=(WatchEventType.ALL,),
            p_mode=PathMode.FOLLOW,
            path_string=str(self.root),
            block_size=BLOCK_SIZE,
        )
        monitor_id = known[0].id if known else str(uuid.uuid4())
        if not known:
            self.store.add_monitor(monitor_id, spec)
        self.monitor = Monitor(
            monitor_id,
            spec,
            arming=Arming(Roots([str(self.root)]), self.reader, self.poller, MonitorSettings()),
            ledger=ledger(monitor_id, self.store.ledgers),
            outbox=self.outbox,
            sequence=known[0].sequence if known else 0,
        )

    def close(self) -> None:
        """Ends it as the end of the service does."""
        self.monitor.suspend()
        self.poller.stop()
        self.reader.stop()
        self.reader.join(10)
        self.store.close()


def make_files(root: Path, files: int, directories: int) -> None:
    """Empty files, evenly over the directories."""
    for directory in range(directories):
        path = f"{root}/directory{directory:06}"
        Path(path).mkdir()
        for file in range(files // directories):
            os.close(os.open(f"{path}/image_{file:07}.ome.tif", os.O_CREAT | os.O_WRONLY))


def burst(monitored: Monitored, files: int) -> dict[str, float]:
    """New files in one directory: processor time per file of this process, which does not write them."""
    monitored.monitor.start()
    writer = os.fork()
    if not writer:
        make_files(monitored.root, files, 1)
        os._exit(0)
    began = time.process_time()
    eventually(lambda: monitored.monitor.counters.events > files, seconds=120, every_seconds=0.2)
    os.waitpid(writer, 0)
    return {"us": (time.process_time() - began) * 1e6 / files}


def begin(monitored: Monitored) -> dict[str, float]:
    """The first start on a tree."""
    return _started(monitored)


def restart(monitored: Monitored) -> dict[str, float]:
    """A start with a ledger of it, until all is compared."""
    return _started(monitored)


def _started(monitored: Monitored) -> dict[str, float]:
    before, began = _resident_bytes(), time.monotonic()
    monitored.monitor.start()
    eventually(lambda: not monitored.monitor.comparing, seconds=300, every_seconds=0.01)
    took = time.monotonic() - began
    disk = sum(file.stat().st_size for file in monitored.state.iterdir())
    return {"seconds": took, "bytes": _resident_bytes() - before, "disk": disk}


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(what: str, files: str, directories: str, ledger: str, base: str) -> None:
    monitored = Monitored(Path(base), NoLedger if ledger == "none" else Ledger)
    if what == "begin":
        make_files(monitored.root, int(files), int(directories))
    found = {"burst": lambda: burst(monitored, int(files)), "begin": lambda: begin(monitored)}.get(
        what, lambda: restart(monitored)
    )()
    monitored.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
