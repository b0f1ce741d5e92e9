"""MonitorServer: the five operations of the contract, and the two that list and describe monitors.

All of them run on the command thread, one at a time.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any

import structlog

from control.registry import describe
from publisher.admission import check_spec
from publisher.errors import StoreError
from schemas.errors import IOFSError, NoSuchMonitorError, OmeroFSError
from schemas.rpc import dumps

if TYPE_CHECKING:
    from control.dispatcher import Caller, Handler
    from control.registry import Registry
    from publisher.outbox import Outbox
    from publisher.relay import Relay
    from publisher.roots import Roots
    from publisher.storing.store import Store
    from schemas.methods import CreateMonitorParams, MonitorParams, NoParams
    from schemas.monitors import MonitorInfo, MonitorSpec, MonitorState
    from schemas.topology import Topology

DRAIN_SECONDS = 5.0
"""How long destroyMonitor waits for the broker to take what the monitor has recorded."""

_log = structlog.get_logger()


class MonitorServer:
    """Serves the commands. Each blocks until it is done; what it raises is the contract's error."""

    def __init__(
        self,
        registry: Registry,
        *,
        store: Store,
        outbox: Outbox,
        relay: Relay,
        roots: Roots,
        topology: Topology,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        """Puts the parts together."""
        self._registry = registry
        self._store = store
        self._outbox = outbox
        self._relay = relay
        self._roots = roots
        self._topology = topology
        self._drain_seconds = drain_seconds

    def handlers(self) -> dict[str, Handler]:
        """The methods by name."""
        plain: dict[str, Handler] = {
            "createMonitor": self.create_monitor,
            "startMonitor": self.start_monitor,
            "stopMonitor": self.stop_monitor,
            "destroyMonitor": self.destroy_monitor,
            "getMonitorState": self.get_monitor_state,
            "listMonitors": self.list_monitors,
            "describeMonitor": self.describe_monitor,
        }
        return {name: _translated(handler) for name, handler in plain.items()}

    def create_monitor(self, params: CreateMonitorParams, caller: Caller) -> str:
        """A new monitor: Stopped, stored, its exchange declared; or the one that this very request made before."""
        key = None if caller.message_id is None else _request_key(caller.message_id, params)
        known = None if key is None else self._store.find_request(key)
        if known is not None:
            return self._made_before(known, params.queue)
        spec = check_spec(params.spec(), self._roots)
        monitor_id = str(uuid.uuid1())
        self._store.add_monitor(monitor_id, spec, request_key=key)
        try:
            self._relay.declare_monitor(monitor_id, params.queue).result()
        except OmeroFSError:
            self._take_back(monitor_id, spec)
            raise
        self._registry.add(monitor_id, spec)
        _log.info("monitor created", monitor=monitor_id, path=spec.path_string)
        return monitor_id

    def _take_back(self, monitor_id: str, spec: MonitorSpec) -> None:
        try:
            self._store.remove_monitor(monitor_id, forget_request=True)
        except StoreError as exc:
            # It would be there after a restart: so it is there now, for whoever asks again or destroys it.
            self._registry.add(monitor_id, spec)
            _log.error("a monitor without exchange is left", monitor=monitor_id, reason=str(exc))
        else:
            self._relay.delete_monitor(monitor_id)

    def _made_before(self, monitor_id: str, queue: str | None) -> str:
        # The service may have ended between storing the monitor and declaring its exchange.
        try:
            self._registry.get(monitor_id)
        except NoSuchMonitorError:
            return monitor_id
        self._relay.declare_monitor(monitor_id, queue).result()
        return monitor_id

    def start_monitor(self, params: MonitorParams, _caller: Caller) -> None:
        """Watches from now on."""
        self._registry.start(params.id)

    def stop_monitor(self, params: MonitorParams, _caller: Caller) -> None:
        """Records what happened before, and nothing after."""
        self._registry.stop(params.id)

    def destroy_monitor(self, params: MonitorParams, _caller: Caller) -> None:
        """Stops, gives the broker a while to take what was recorded, deletes the exchange, forgets."""
        self._registry.stop(params.id)
        self._relay.drained(params.id, self._drain_seconds)
        self._store.remove_monitor(params.id)  # first, for a disk may refuse, and then nothing is destroyed
        self._registry.remove(params.id)
        unpublished = self._outbox.drop(params.id)
        try:
            self._relay.delete_monitor(params.id).result()
        except OmeroFSError as exc:
            exchange = self._topology.monitor_exchange(params.id)
            _log.warning("the exchange is left on the broker", exchange=exchange, reason=exc.reason)
        if unpublished:
            _log.warning("blocks went with their monitor", monitor=params.id, blocks=unpublished)
        _log.info("monitor destroyed", monitor=params.id)

    def get_monitor_state(self, params: MonitorParams, _caller: Caller) -> MonitorState:
        """Whether it watches."""
        return self._registry.get(params.id).state

    def list_monitors(self, _params: NoParams, _caller: Caller) -> list[MonitorInfo]:
        """Every monitor, oldest first."""
        return [describe(monitor, self._outbox, self._topology) for monitor in self._registry.all()]

    def describe_monitor(self, params: MonitorParams, _caller: Caller) -> MonitorInfo:
        """One monitor."""
        return describe(self._registry.get(params.id), self._outbox, self._topology)


def _translated(handler: Handler) -> Handler:
    """The handler with a failure of the disk told as the contract has it."""

    def handle(params: Any, caller: Caller) -> object:
        try:
            return handler(params, caller)
        except StoreError as exc:
            raise IOFSError(str(exc)) from exc

    return handle


def _request_key(message_id: str, params: CreateMonitorParams) -> str:
    """What a repeated createMonitor shares with the first one: its identity, and what it asks for.

    A client that numbers its messages from 1 after each start thus gets no monitor that it did not ask for.
    """
    asked = dumps(params.model_dump(mode="python", by_alias=True))
    return hashlib.sha256(message_id.encode("utf-8", "surrogatepass") + b"\0" + asked).hexdigest()
