"""MonitorServer and the registry on a real store, with a relay and monitors that a test scripts."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

from control.dispatcher import Caller
from control.monitor_server import MonitorServer
from control.registry import Registry
from publisher.errors import StoreError
from publisher.outbox import Outbox
from publisher.relay import Relay
from publisher.roots import Roots
from publisher.storing.outbox_table import Entry
from publisher.storing.store import Store
from schemas.errors import (
    IOFSError,
    MonitorFailedError,
    NoSuchMonitorError,
    NotFoundError,
    OmeroFSError,
    PathNotAllowedError,
)
from schemas.methods import methods_of
from schemas.monitors import Coverage, MonitorCounters, MonitorSpec, MonitorState
from schemas.topology import Topology


class ScriptedRelay:
    """Declares what it is told to; `refusal` makes it fail."""

    def __init__(self) -> None:
        self.declared: list[tuple[str, str | None]] = []
        self.deleted: list[str] = []
        self.awaited: list[tuple[str, float]] = []
        self.refusal: OmeroFSError | None = None

    def declare_monitor(self, monitor_id: str, queue: str | None = None) -> Future[None]:
        self.declared.append((monitor_id, queue))
        return self._future()

    def delete_monitor(self, monitor_id: str) -> Future[None]:
        self.deleted.append(monitor_id)
        return self._future()

    def drained(self, monitor_id: str, timeout_seconds: float) -> bool:
        self.awaited.append((monitor_id, timeout_seconds))
        return True

    def _future(self) -> Future[None]:
        future: Future[None] = Future()
        if self.refusal is None:
            future.set_result(None)
        else:
            future.set_exception(self.refusal)
        return future


class ScriptedMonitor:
    """A monitor's outside; `refusal` keeps it from starting."""

    refusals: dict[str, OmeroFSError] = {}  # noqa: RUF012 - one script for all, reset by the fixture

    def __init__(self, monitor_id: str, spec: MonitorSpec, sequence: int, store: Store) -> None:
        self.id, self.spec, self.sequence = monitor_id, spec, sequence
        self.state = MonitorState.STOPPED
        self.counters, self.coverage = MonitorCounters(), Coverage()
        self.last_error: str | None = None
        self.suspended = self.paused = False
        self._store = store

    def start(self) -> None:
        if (refusal := self.refusals.get(self.spec.path_string)) is not None:
            self.last_error = refusal.reason
            raise refusal
        self._change(MonitorState.STARTED)

    def stop(self) -> None:
        if self.state is MonitorState.STARTED:
            self._change(MonitorState.STOPPED)

    def suspend(self) -> None:
        self.suspended = True
        self.state = MonitorState.STOPPED

    def _change(self, state: MonitorState) -> None:
        self.state = state
        self._store.set_state(self.id, state)


class Site:
    """One run of a service's monitors over a state that stays."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.relay = ScriptedRelay()
        self.boot()

    def boot(self) -> None:
        self.store = Store(self.directory / "store")
        self.outbox = Outbox(self.store)
        self.registry = Registry(
            self.store, lambda *about: cast("Any", ScriptedMonitor(*about, store=self.store))
        )
        self.server = MonitorServer(
            self.registry,
            store=self.store,
            outbox=self.outbox,
            relay=cast("Relay", self.relay),
            roots=Roots([str(self.directory)]),
            topology=Topology(),
        )
        self.registry.restore(threading.Event())

    def reboot(self) -> None:
        self.registry.suspend()
        self.store.close()
        self.boot()

    def ask(self, name: str, message_id: str | None = None, **params: object) -> Any:
        parsed = methods_of("control")[name].parse_params(params)
        return self.server.handlers()[name](parsed, Caller(message_id))

    def create(self, message_id: str | None = None, **more: object) -> str:
        params: dict[str, object] = {
            "mType": "Persistent",
            "eTypes": ["All"],
            "pMode": "Follow",
            "pathString": str(self.directory),
        }
        return str(self.ask("createMonitor", message_id, **{**params, **more}))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.store.close()
    ScriptedMonitor.refusals.clear()


def test_every_command_has_a_handler(site: Site) -> None:
    """All seven; rpc.discover is the service's."""
    assert site.server.handlers().keys() == methods_of("control").keys() - {"rpc.discover"}


def test_a_new_monitor_is_stopped_stored_and_declared(site: Site) -> None:
    """Its id is a uuid1, and the exchange was there before the reply."""
    monitor_id = site.create(queue="mine")
    assert uuid.UUID(monitor_id).version == 1
    assert site.relay.declared == [(monitor_id, "mine")]
    assert [stored.id for stored in site.store.monitors()] == [monitor_id]
    assert site.ask("getMonitorState", id=monitor_id) is MonitorState.STOPPED


def test_a_repeated_request_gets_the_same_monitor(site: Site) -> None:
    """By message_id, also after a restart; its exchange and queue are made sure of again."""
    first = site.create("m1", queue="q")
    assert site.create("m1", queue="q") == first
    site.reboot()
    assert site.create("m1", queue="q") == first
    assert site.relay.declared == [(first, "q")] * 3
    assert len(site.store.monitors()) == 1


def test_a_request_repeated_after_the_end_makes_nothing(site: Site) -> None:
    """A late redelivery does not bring a destroyed monitor back; it gets the first answer."""
    first = site.create("m1")
    site.ask("destroyMonitor", id=first)
    assert site.create("m1") == first
    assert site.store.monitors() == []


def test_another_request_under_the_same_message_id_is_another(site: Site) -> None:
    """A client that counts its messages from 1 at every start gets what it asks for."""
    assert site.create("1") != site.create("1", blockSize=5)
    assert site.create() != site.create()


def test_a_monitor_that_cannot_be_declared_is_not_there(site: Site) -> None:
    """All is undone, and the same request may be tried again."""
    site.relay.refusal = MonitorFailedError("queue 'q' is exclusive")
    with pytest.raises(MonitorFailedError):
        site.create("m1", queue="q")
    assert site.store.monitors() == []
    assert site.ask("listMonitors") == []
    site.relay.refusal = None
    assert site.create("m1", queue="q") == site.store.monitors()[0].id


@pytest.mark.parametrize(
    ("path", "refusal"),
    [("/", PathNotAllowedError), ("relative", PathNotAllowedError), ("gone", NotFoundError)],
)
def test_a_bad_path_is_refused_at_once(site: Site, path: str, refusal: type[OmeroFSError]) -> None:
    """Nothing is stored or declared for it."""
    with pytest.raises(refusal):
        site.create(pathString=str(site.directory / path) if path == "gone" else path)
    assert site.store.monitors() == []
    assert site.relay.declared == []


@pytest.mark.parametrize(
    "name", ["startMonitor", "stopMonitor", "destroyMonitor", "getMonitorState", "describeMonitor"]
)
def test_an_unknown_id_is_no_such_monitor(site: Site, name: str) -> None:
    """Whatever the operation, whatever the id."""
    for monitor_id in ("", "x", str(uuid.uuid1()), "\udcff" * 100_000):
        with pytest.raises(NoSuchMonitorError):
            site.ask(name, id=monitor_id)


def test_start_and_stop_may_be_repeated(site: Site) -> None:
    """No error and no effect the second time; a stopped one starts again."""
    monitor_id = site.create()
    for _ in range(2):
        for name, state in (("startMonitor", MonitorState.STARTED), ("stopMonitor", MonitorState.STOPPED)):
            assert site.ask(name, id=monitor_id) is None
            assert site.ask(name, id=monitor_id) is None
            assert site.ask("getMonitorState", id=monitor_id) is state


def test_destroying_stops_waits_and_forgets(site: Site) -> None:
    """What is unpublished has its time; the exchange, the monitor and its entries are gone."""
    monitor_id = site.create()
    site.ask("startMonitor", id=monitor_id)
    site.outbox.record([Entry(monitor_id, 1, "key", b"{}", 1, 0)])
    site.ask("destroyMonitor", id=monitor_id)
    assert site.relay.awaited == [(monitor_id, 5.0)]
    assert site.relay.deleted == [monitor_id]
    assert site.store.monitors() == []
    assert site.outbox.size() == (0, 0)
    with pytest.raises(NoSuchMonitorError):
        site.ask("destroyMonitor", id=monitor_id)


def test_a_monitor_is_forgotten_even_if_its_exchange_stays(site: Site) -> None:
    """The broker may be away; the log names what is left on it."""
    monitor_id = site.create()
    site.relay.refusal = MonitorFailedError("not connected")
    site.ask("destroyMonitor", id=monitor_id)
    assert site.ask("listMonitors") == []


def test_monitors_are_described(site: Site) -> None:
    """Specification, state, exchange, counters, coverage, and what waits in the outbox."""
    monitor_id = site.create(blockSize=7)
    site.outbox.record([Entry(monitor_id, 1, "key", b"{}", 1, 0)])
    info = site.ask("describeMonitor", id=monitor_id)
    assert info.spec.block_size == 7
    assert (info.id, info.state, info.outbox) == (monitor_id, MonitorState.STOPPED, 1)
    assert info.exchange == f"fsherald.monitor.{monitor_id}"
    assert site.ask("listMonitors") == [info]


def test_monitors_survive_a_restart(site: Site) -> None:
    """Same ids, same states, in the same order; the sequence goes on."""
    started, stopped = site.create(), site.create()
    site.ask("startMonitor", id=started)
    site.outbox.record([Entry(started, 1, "key", b"{}", 1, 0)])
    before = site.registry.all()
    site.reboot()
    assert all(cast("Any", monitor).suspended for monitor in before)
    assert [(m.id, m.state) for m in site.registry.all()] == [
        (started, MonitorState.STARTED),
        (stopped, MonitorState.STOPPED),
    ]
    assert cast("Any", site.registry.get(started)).sequence == 1


def test_a_monitor_that_cannot_be_restored_stops_nobody(site: Site) -> None:
    """It is Stopped and says why, stays Started in the store, and is started as soon as that is possible."""
    (site.directory / "share").mkdir()
    broken, sound = site.create(pathString=str(site.directory / "share")), site.create()
    for monitor_id in (broken, sound):
        site.ask("startMonitor", id=monitor_id)
    path = str(site.directory / "share")
    ScriptedMonitor.refusals[path] = NotFoundError("not mounted")
    site.reboot()
    assert site.ask("getMonitorState", id=sound) is MonitorState.STARTED
    info = site.ask("describeMonitor", id=broken)
    assert (info.state, info.last_error) == (MonitorState.STOPPED, "not mounted")
    assert [stored.state for stored in site.store.monitors()] == [MonitorState.STARTED] * 2
    site.registry.retry()
    assert site.ask("getMonitorState", id=broken) is MonitorState.STOPPED
    ScriptedMonitor.refusals.clear()
    site.registry.retry()
    assert site.ask("getMonitorState", id=broken) is MonitorState.STARTED


def test_a_stop_ends_the_attempts_to_start(site: Site) -> None:
    """Also for the time after the next restart."""
    monitor_id = site.create()
    site.ask("startMonitor", id=monitor_id)
    ScriptedMonitor.refusals[str(site.directory)] = NotFoundError("not mounted")
    site.reboot()
    site.ask("stopMonitor", id=monitor_id)
    ScriptedMonitor.refusals.clear()
    site.registry.retry()
    site.reboot()
    assert site.ask("getMonitorState", id=monitor_id) is MonitorState.STOPPED


def test_a_disk_that_refuses_is_an_io_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no bug of ours, and the client may try again."""

    def full(*_args: object, **_more: object) -> None:
        raise StoreError("the monitor could not be stored: database or disk is full")

    monkeypatch.setattr(site.store, "add_monitor", full)
    with pytest.raises(IOFSError, match="full"):
        site.create()


def refuse(*_args: object, **_more: object) -> None:
    raise StoreError("database or disk is full")


def test_a_monitor_that_cannot_be_destroyed_is_still_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exchange too; the same request succeeds later."""
    monitor_id = site.create()
    with monkeypatch.context() as patched:
        patched.setattr(site.store, "remove_monitor", refuse)
        with pytest.raises(IOFSError, match="full"):
            site.ask("destroyMonitor", id=monitor_id)
    assert [info.id for info in site.ask("listMonitors")] == [monitor_id]
    assert site.relay.deleted == []
    site.ask("destroyMonitor", id=monitor_id)
    assert site.relay.deleted == [monitor_id]
    assert site.ask("listMonitors") == []


def test_a_monitor_that_cannot_be_taken_back_is_known(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker refused it and the disk would not forget it: it is there as after a restart, for who asks again."""
    site.relay.refusal = MonitorFailedError("the broker refused")
    with monkeypatch.context() as patched:
        patched.setattr(site.store, "remove_monitor", refuse)
        with pytest.raises(MonitorFailedError, match="the broker refused"):
            site.create("request")
    [left] = site.ask("listMonitors")
    site.relay.refusal = None
    assert site.create("request") == left.id
    assert site.relay.declared[-1] == (left.id, None)
