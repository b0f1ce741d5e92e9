"""fsherald as a watcher: the service as a process, a monitor made over its requests, its events consumed with pika."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import pika

from bench.losses import processes
from bench.losses.ear import CREATED, DELETED, MODIFIED, OTHER, TOLD
from bench.losses.findings import Told, told_events
from bench.losses.watcher import Watcher
from bench.site import Site
from control.client import MonitorServerClient
from schemas.topology import Topology

_KINDS = {"Create": CREATED, "Modify": MODIFIED, "Delete": DELETED, "System": TOLD}
_STOP_SECONDS = 15

_numbers = count()


class ServiceWatcher(Watcher):
    """The service with one monitor, as it is created by default, and a consumer that stays while it restarts.

    What it tells are its System events; its log does not count.
    """

    def __init__(self, site: Site, root: Path, errors: Path, watches: int | None = None) -> None:
        """Starts service, monitor and consumer, in the order in which nothing is missed.

        Args:
            site: Where it runs.
            root: What its monitor watches.
            errors: The file for what the consumer says on its standard error.
            watches: How many inotify watches the service may have; None for what the machine allows.
        """
        self._site = site
        self._watches = watches
        self._names = Topology(f"fsherald-loss-{os.getpid()}-{next(_numbers)}")
        self._consumer: subprocess.Popen[bytes] | None = None
        self._exchange = ""
        super().__init__(root, lambda word: _KINDS.get(word, OTHER))
        try:
            self._watch(errors)
        except BaseException:
            self.close()
            raise

    def told(self) -> Told:
        return Told(told_events(self.ear.heard), self.has_ended)

    def close(self) -> None:
        processes.end(self._process, seconds=_STOP_SECONDS)
        if self._consumer is not None:
            processes.end(self._consumer)
        self._forget()

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            return self._site.serve(self._names.namespace, prefix=processes.limit(self._watches))
        except BaseException:
            self._forget()  # it may have declared its queues before it failed or we were interrupted
            raise

    def _watch(self, errors: Path) -> None:
        with MonitorServerClient(self._site.url, self._names.namespace) as server:
            monitor = server.create_monitor(str(self.root))
            self._exchange = self._names.monitor_exchange(monitor)
            command = [sys.executable, "-m", "bench.losses.subscriber", self._site.url, self._exchange]
            self._consumer, pipe = processes.start(command, errors)
            self.ear.listen(pipe)
            if not self.ear.wait_for([self._exchange], quiet_seconds=20):
                raise RuntimeError("the consumer is not bound")
            server.start_monitor(monitor)

    def _forget(self) -> None:
        # A broker that was given to us keeps what is durable; deleting what is not there is no error.
        connection = pika.BlockingConnection(pika.URLParameters(self._site.url))
        channel = connection.channel()
        for exchange in filter(None, (self._exchange, self._names.events)):
            channel.exchange_delete(exchange)
        for queue in (self._names.control, self._names.files, self._names.dead_letter):
            channel.queue_delete(queue)
        connection.close()
