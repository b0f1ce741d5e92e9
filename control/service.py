"""The service put together: what starts when, what watches over it, and what stops when."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from control.dispatcher import Dispatcher, Handler
from control.file_server import FileServer
from control.health import HealthServer
from control.intake import Intake, IntakeSettings
from control.local_mounts import LocalMounts
from control.logs import configure_logs
from control.metrics import Metrics
from control.monitor_server import MonitorServer
from control.registry import Registry
from control.signals import ending_signals
from control.state_dir import StateDir
from publisher.arming import Arming, MonitorSettings
from publisher.errors import DamagedStoreError, StoreError
from publisher.ledger import Ledger
from publisher.monitor import Monitor
from publisher.outbox import Outbox
from publisher.relay import Relay
from publisher.roots import Roots
from publisher.storing.recovery import open_store
from publisher.watching.polling import Poller
from publisher.watching.reader import Reader
from schemas.documents import openrpc
from schemas.topology import Topology

if TYPE_CHECKING:
    from control.config import Config
    from control.registry import MakeMonitor
    from schemas.methods import Queue
    from schemas.monitors import MonitorSpec

RETRY_SECONDS = 1.0
"""How often monitors that pause, or could not be started after a restart, are tried again."""
PURGE_SECONDS = 0.2
"""How long the ledgers' leavings are deleted at a time."""

SWITCH_SECONDS = 0.0005
"""How long a thread may compute while another waits; Python's 5 ms would show in every hop of every request."""

_GRACE_SECONDS = 3.0
"""What a thread may take to end after it was asked to."""

_log = structlog.get_logger()


def build(config: Config) -> Service:
    """The service, not started. It holds the state directory from now on: `stop` it even if it is never started.

    Raises:
        ConfigError: The state directory or the port for metrics cannot be had, or the broker's URL not used.
        StoreError: The store cannot be read.
    """
    return Service(config)


class Service:
    """Everything that runs. `start` and `stop` block; both are for one thread, `run` for the main thread."""

    def __init__(self, config: Config) -> None:
        """See `build`."""
        self._config = config
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        with ExitStack() as undo:
            self._build(config, undo)
            self._resources = undo.pop_all()

    def _build(self, config: Config, undo: ExitStack) -> None:
        amqp, topology, roots = config.amqp, Topology(config.namespace), Roots(config.roots)
        state_dir = undo.enter_context(StateDir(config.state_dir))
        self.metrics = Metrics()
        self._store = undo.enter_context(
            open_store(state_dir.store_path, durability=config.durability, on_damaged=self._on_damaged)
        )
        self._outbox = Outbox(self._store, limit_bytes=config.outbox_limit_bytes)
        events = replace(amqp, connection_name=f"{config.namespace} events")
        self._relay = Relay(events, topology, self._outbox, on_died=self._on_died)
        self._outbox.subscribe(self._relay.wake)
        self._reader = Reader(on_died=self._on_died)
        self._poller = Poller(config.poll_interval_seconds, on_died=self._on_died)
        self._registry = Registry(self._store, self._monitor_maker(config, roots))
        monitor_server = MonitorServer(
            self._registry,
            store=self._store,
            outbox=self._outbox,
            relay=self._relay,
            roots=roots,
            topology=topology,
        )
        file_server = FileServer(
            roots,
            mounts=undo.enter_context(LocalMounts()),
            stopping=self._stopping,
            read_limit_bytes=config.read_limit_bytes,
            query_seconds=config.query_seconds,
        )
        self._intake = Intake(
            amqp,
            topology,
            control=self._dispatcher("control", monitor_server.handlers()),
            files=self._dispatcher("files", file_server.handlers(), file_server.at_once()),
            settings=IntakeSettings(
                config.query_workers,
                config.files_queue_type,
                reply_budget_bytes=config.query_workers * config.read_limit_bytes,
            ),
            on_died=self._on_died,
            on_expired=self.metrics.observe_expired,
        )
        self.metrics.observe_service(self._registry, self._outbox, self._relay, self._intake)
        self._health = (
            HealthServer(config.http, metrics=self.metrics.text, healthy=self.unhealthy, ready=self.unready)
            if config.http
            else None
        )

    def _dispatcher(
        self, queue: Queue, handlers: dict[str, Handler], at_once: dict[str, Handler] | None = None
    ) -> Dispatcher:
        handlers["rpc.discover"] = lambda _params, _caller: openrpc(queue)
        return Dispatcher(queue, handlers, at_once=at_once, observe=self.metrics.observe_request)

    def _monitor_maker(self, config: Config, roots: Roots) -> MakeMonitor:
        settings = MonitorSettings(
            block_interval_seconds=config.block_interval_seconds,
            modify_interval_seconds=config.modify_interval_seconds,
            settle_seconds=config.settle_seconds,
        )
        arming = Arming(roots, self._reader, self._poller, settings)

        def make(monitor_id: str, spec: MonitorSpec, sequence: int) -> Monitor:
            return Monitor(
                monitor_id,
                spec,
                arming=arming,
                ledger=Ledger(monitor_id, self._store.ledgers),
                outbox=self._outbox,
                sequence=sequence,
            )

        return make

    def start(self) -> None:
        """Starts everything; requests last, for nobody is to be asked before we can answer.

        Blocks until the monitors that were started are awake again; the broker need not be there.
        """
        sys.setswitchinterval(SWITCH_SECONDS)
        if self._health is not None:
            self._health.start()
        self._relay.start()
        self._reader.start()
        self._poller.start()
        self._registry.restore(self._ended)
        for monitor in self._registry.all():
            self._relay.declare_monitor(
                monitor.id
            )  # for who binds before the next event, on a broker that was reset
        if not self._ended.is_set():
            self._intake.start()
        _log.info("service started", namespace=self._config.namespace, roots=list(self._config.roots))

    def stop(self) -> None:
        """Stops in reverse: requests, monitors with their partial blocks, the relay when it has published them.

        Blocks, at most about `stop_seconds`; what is not published by then stays in the outbox. Idempotent.
        """
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._ended.set()
        deadline = time.monotonic() + self._config.stop_seconds

        def remaining() -> float:
            return max(0.0, deadline - time.monotonic())

        self._intake.stop(remaining() / 2)
        self._suspend(remaining() + _GRACE_SECONDS)
        self._relay.stop(remaining())
        self._poller.stop()
        self._reader.stop()
        self._join(remaining() + _GRACE_SECONDS)
        if self._health is not None:
            self._health.stop()
        self._resources.close()
        _log.info("service stopped", unpublished_blocks=self._outbox.size()[0])

    def _suspend(self, seconds: float) -> None:
        # Aside: a reader that has died, or hangs in the kernel, answers nobody, and the stop goes on without it.
        suspending = threading.Thread(target=self._registry.suspend, name="suspend", daemon=True)
        if self._reader.is_alive():
            suspending.start()
            suspending.join(seconds)
            if suspending.is_alive():
                _log.error(
                    "the monitors did not stop in time; their last events are found again at the start"
                )

    def _join(self, seconds: float) -> None:
        self._relay.join(seconds)
        self._intake.join(seconds)
        self._poller.join(_GRACE_SECONDS)
        if self._reader.is_alive():
            self._reader.join(_GRACE_SECONDS)
        if not self._reader.is_alive():
            self._reader.close()

    def hurry(self) -> None:
        """Ends the waiting of a `stop` that is under way; from another thread."""
        self._intake.hurry()
        self._relay.stop(0.0)

    def run(self) -> int:
        """Runs until SIGTERM or SIGINT, or until one of the threads dies; main thread only.

        Returns:
            The exit code: 0, or 1 when something died or the store turned out to be damaged. A second signal
            ends the waiting of the stop.
        """
        configure_logs(self._config.log_level, self._config.log_format)
        with ending_signals(self._ended.set, self.hurry):
            try:
                self.start()
                while not self._ended.wait(RETRY_SECONDS):
                    self._intake.submit_command(self._registry.retry)
                    self._purge()
            finally:
                self.stop()
        return 0 if self._failure is None else 1

    def _purge(self) -> None:
        end = time.monotonic() + PURGE_SECONDS
        try:
            while self._store.ledgers.purge() and time.monotonic() < end:
                pass
        except StoreError as exc:
            _log.warning("the store cannot be cleaned", reason=str(exc))

    def unhealthy(self) -> str | None:
        """What is broken beyond repair; None if nothing is. Any thread."""
        if isinstance(self._failure, DamagedStoreError):
            return "the store is damaged"
        if self._failure is not None:
            return f"a thread died: {type(self._failure).__name__}"
        return None if self._reader.is_alive() else "the reader does not run"

    def unready(self) -> str | None:
        """Why requests are not served or events not published right now; None if they are. Any thread."""
        if self._stopping.is_set():
            return "stopping"
        status = self._relay.status()
        if not status.connected:
            return status.last_error or "connecting to the broker"
        if status.store_problem is not None:
            return f"the state directory cannot be used: {status.store_problem}"
        return None if self._intake.is_ready else self._intake.last_error or "starting"

    def _on_damaged(self, exc: BaseException) -> None:
        # Nothing can be stored any more; the next start saves what can be read (publisher.storing.recovery).
        self._failure = self._failure or exc
        self._ended.set()

    def _on_died(self, exc: BaseException) -> None:
        _log.critical("a thread died, the service ends", error=repr(exc), exc_info=exc)
        self._failure = self._failure or exc
        self._ended.set()
