"""Drains the outbox: reads entries, publishes them with a window in flight, forgets what was confirmed.

One connection and one thread for all monitors, each with its lane (`publisher.lanes`), so that one whose
blocks nobody takes holds up no other. The outbox is read in portions as the window has room: a backlog stays
on disk. What is published how stands in `publisher.delivery`; here is what other threads see of it.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from publisher.amqp import AmqpConnection, AmqpSettings, Refusal
from publisher.declarations import MonitorDeclaration, delete_exchange, name_problem
from publisher.delivery import Delivery
from publisher.monitor_requests import MonitorRequests
from publisher.relay_status import RelayStatus
from publisher.window import Window
from schemas.errors import MonitorFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from publisher.backlog import Backlog
    from publisher.declarations import Outcome
    from publisher.lanes import Lane
    from schemas.topology import Topology

__all__ = ["Relay", "RelayStatus"]

REQUEST_SECONDS = 10.0


class Relay:
    """The thread between outbox and broker. Public methods may be called from any thread.

    `wake` is to be subscribed to the outbox by whoever puts the two together.
    """

    def __init__(
        self,
        settings: AmqpSettings,
        topology: Topology,
        outbox: Backlog,
        *,
        window_entries: int = 1024,
        window_bytes: int = 8 << 20,
        on_died: Callable[[BaseException], None],
    ) -> None:
        """Connects to nothing yet.

        Args:
            settings: The broker.
            topology: The names on it.
            outbox: What is to be published.
            window_entries: Blocks in flight at most, over all monitors.
            window_bytes: Their bodies together.
            on_died: The thread ended by an unexpected exception: nothing is published any more.

        Raises:
            ValueError: The broker's URL cannot be used; one sentence, without the password.
        """
        self._topology = topology
        self._outbox = outbox
        self._report_death = on_died
        self._connection = AmqpConnection(
            settings,
            on_open=self._on_open,
            on_lost=self._on_lost,
            on_died=self._on_died,
            on_blocked=self._on_blocked,
        )
        self._requests = MonitorRequests(self._connection, seconds=REQUEST_SECONDS)
        window = Window(window_entries, window_bytes)
        self._delivery = Delivery(self._connection, topology, outbox, window, on_round=self._on_round)
        self._lock = threading.Lock()  # guards the next two
        self._woken: set[str] = set()
        self._started = False
        # Only the connection's thread touches these.
        self._waiters: dict[str, list[Future[bool]]] = {}
        self._deletions: dict[Lane, Outcome] = {}
        self._stopping = False

    # For any thread.

    def start(self) -> None:
        """Starts connecting, and publishing what an earlier run left, in the background; returns at once."""
        with self._lock:
            self._started = True
        for monitor_id in self._outbox.waiting():
            self.wake(monitor_id)
        self._connection.start()

    def stop(self, drain_seconds: float = 0.0) -> None:
        """Publishes what can be published within `drain_seconds`, then closes; returns at once.

        Held monitors are not waited for, nor is a broker that is not there; what is left stays in the outbox.
        Idempotent; a second call can only shorten the wait.
        """
        with self._lock:
            started = self._started
        if not started or not self._connection.call(partial(self._begin_stop, drain_seconds)):
            self._connection.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Blocks until the thread has ended, at most `timeout` seconds; whether it has."""
        return self._connection.join(timeout)

    def wake(self, monitor_id: str) -> None:
        """Blocks of this monitor were recorded. Never blocks; many calls cost one wake-up of the thread."""
        with self._lock:
            first = not self._woken
            self._woken.add(monitor_id)
        if first:
            self._connection.call(self._take_woken)

    def adopt(self, monitor_id: str) -> None:
        """There is such a monitor; if held, it tries again now. Its exchange is declared before a block."""
        self._connection.call(partial(self._delivery.try_now, monitor_id))

    def declare_monitor(self, monitor_id: str, queue: str | None = None) -> Future[None]:
        """Declares the monitor's exchange, its binding to the exchange of all monitors, and a queue if named.

        A queue that exists is bound as it is; one that does not is declared as a durable quorum queue.

        Returns:
            Fails with MonitorFailedError, whose reason names the thing and the remedy, when the broker
            refuses or has not answered after ten seconds; with ShuttingDownError when the relay stops.
        """
        if queue is not None and (problem := name_problem(queue)):
            refused: Future[None] = Future()
            refused.set_exception(MonitorFailedError(f"queue {queue!r} {problem}"))
            return refused
        what = f"exchange {self._topology.monitor_exchange(monitor_id)!r}"
        return self._requests.submit(what, partial(self._declare_for_request, monitor_id, queue))

    def delete_monitor(self, monitor_id: str) -> Future[None]:
        """Forgets the monitor, publishes none of its blocks any more, deletes its exchange if there is one.

        Returns:
            Fails as that of `declare_monitor` does; the monitor is forgotten all the same.
        """
        what = f"exchange {self._topology.monitor_exchange(monitor_id)!r}"
        self._connection.call(lambda: self._delivery.lane(monitor_id).retire())
        future = self._requests.submit(what, partial(self._delete_for_request, monitor_id))
        future.add_done_callback(lambda _: self._connection.call(partial(self._delivery.drop, monitor_id)))
        return future

    def drained(self, monitor_id: str, timeout_seconds: float) -> bool:
        """Blocks until nothing of a monitor is unconfirmed.

        Returns:
            False when the time is up, or at once when its blocks come back because no queue takes them.
        """
        future: Future[bool] = Future()
        future.set_running_or_notify_cancel()
        if not self._connection.call(partial(self._await_drained, monitor_id, future)):
            return self._outbox.size(monitor_id)[0] == 0
        try:
            return future.result(timeout_seconds)
        except TimeoutError:
            self._connection.call(partial(self._forget_waiter, monitor_id, future))
            return False

    def status(self) -> RelayStatus:
        """How it is doing; never blocks."""
        connection, delivery = self._connection, self._delivery
        settlements = delivery.settlements
        return RelayStatus(
            connected=connection.is_open,
            blocked=connection.is_blocked,
            last_error=connection.last_error or delivery.problem or delivery.store_problem,
            confirmed=settlements.settled - settlements.returned - settlements.nacked,
            returned=settlements.returned,
            nacked=settlements.nacked,
            reconnects=connection.reconnects,
            held=delivery.held,
            store_problem=delivery.store_problem,
        )

    # For the connection's thread.

    def _on_open(self, _connection: AmqpConnection) -> None:
        self._delivery.opened()
        self._requests.retry()

    def _on_lost(self, _reason: str) -> None:
        self._close_if_drained()

    def _on_blocked(self, blocked: bool) -> None:
        if not blocked:
            self._delivery.resume()

    def _on_died(self, exc: BaseException) -> None:
        self._answer_all()
        self._requests.close()
        self._report_death(exc)

    def _take_woken(self) -> None:
        with self._lock:
            woken, self._woken = self._woken, set()
        self._delivery.offer(woken)

    def _on_round(self, lanes: Iterable[Lane]) -> None:
        for lane in lanes:
            if lane.monitor_id in self._waiters:
                self._answer_waiters(lane)
            if lane in self._deletions and lane.idle:
                self._delete_exchange(lane, self._deletions.pop(lane))
        self._close_if_drained()

    # Requests.

    def _declare_for_request(self, monitor_id: str, queue: str | None, on_done: Outcome) -> None:
        def declared(refusal: Refusal | None) -> None:
            if refusal is None:
                self._delivery.declared(monitor_id)
            on_done(refusal)

        MonitorDeclaration(self._connection, self._topology, monitor_id, queue, declared).start()

    def _delete_for_request(self, monitor_id: str, on_done: Outcome) -> None:
        # On its own channel the deletion would overtake blocks in flight, and the broker refuse those (404).
        lane = self._delivery.lane(monitor_id)
        lane.retire()
        if lane.idle:
            self._delete_exchange(lane, on_done)
        else:
            self._deletions[lane] = on_done

    def _delete_exchange(self, lane: Lane, on_done: Outcome) -> None:
        delete_exchange(self._connection, lane.exchange, on_done)

    # Waiting callers.

    def _await_drained(self, monitor_id: str, future: Future[bool]) -> None:
        if self._outbox.size(monitor_id)[0] == 0:
            future.set_result(True)
        elif self._stopping:
            future.set_result(False)
        else:
            self._waiters.setdefault(monitor_id, []).append(future)
            self._delivery.try_now(monitor_id)

    def _answer_waiters(self, lane: Lane) -> None:
        empty = self._outbox.size(lane.monitor_id)[0] == 0
        if empty or lane.held:
            for future in self._waiters.pop(lane.monitor_id):
                future.set_result(empty)

    def _forget_waiter(self, monitor_id: str, future: Future[bool]) -> None:
        waiters = self._waiters.get(monitor_id, [])
        if future in waiters:
            waiters.remove(future)
        if not waiters:
            self._waiters.pop(monitor_id, None)

    def _answer_all(self) -> None:
        for futures in self._waiters.values():
            for future in futures:
                future.set_result(False)
        self._waiters.clear()

    # The end.

    def _begin_stop(self, drain_seconds: float) -> None:
        self._stopping = True
        self._requests.close()
        self._connection.call_later(drain_seconds, self._close)
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        if not self._stopping:
            return
        # Before the first attempt has failed, the broker may still turn out to be there.
        hopeless = not self._connection.is_open and self._connection.last_error is not None
        if hopeless or not self._delivery.busy:
            self._close()

    def _close(self) -> None:
        self._answer_all()
        self._delivery.shut()
        self._connection.stop()
