"""One AMQP connection on an I/O thread: connects, reconnects for ever, takes work from other threads.

What every part that speaks AMQP stands on: the relay, the request queues, the replies, the clients. The owner
says what to do on a fresh connection (`on_open`); everything else about staying connected is settled here.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pika
import structlog
from pika import exceptions
from pika.channel import Channel
from tenacity import (
    DoAttempt,
    DoSleep,
    RetryCallState,
    Retrying,
    retry_if_result,
    stop_when_event_set,
    wait_exponential_jitter,
)

from publisher.amqp_errors import Refusal, describe
from publisher.amqp_settings import AmqpSettings, parameters, parse_url
from publisher.io_thread import IoThread
from publisher.joining import JoiningConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = ["AmqpConnection", "AmqpSettings", "Channel", "Refusal", "parameters"]

_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 15.0
_RECONNECT_PAUSE_SECONDS = 0.05
"""Before a lost connection is tried again: a broker that accepts and closes at once is not hammered."""
_CLOSE_SECONDS = 2.0
"""How long a polite close may take; a broker in alarm does not even read it."""

_log = structlog.get_logger()

# pika logs each attempt and each close as an error of its own; what matters is said here, once.
logging.getLogger("pika").setLevel(logging.CRITICAL)


class AmqpConnection:
    """A connection that is there again whenever the broker is.

    Hooks run on the connection's thread, as does what is handed to `call`. An exception that leaves any
    of them ends the thread and is reported through `on_died`. Callbacks that an owner gives to a channel
    itself go through `guard`, for pika takes what they raise for a network failure and would reconnect for
    ever.
    """

    def __init__(
        self,
        settings: AmqpSettings,
        *,
        on_open: Callable[[AmqpConnection], None],
        on_lost: Callable[[str], None],
        on_died: Callable[[BaseException], None],
        on_blocked: Callable[[bool], None] | None = None,
        beside: AmqpConnection | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            settings: Where and how.
            on_open: A fresh connection is open; nothing of an earlier one is left.
            on_lost: An open connection is gone, closed by `stop` included; with the reason. All its channels
            were
                reported closed before.
            on_died: The thread ended by an unexpected exception.
            on_blocked: The broker stopped (true) or resumed (false) reading what this connection publishes.
            beside: Not started yet; this connection lives on its thread, which then ends when both have. None
                for a thread of its own.

        Raises:
            ValueError: The URL cannot be used; one sentence, without the password.
        """
        self.address = parse_url(settings.url, settings.password)
        self._parameters = parameters(settings, self.address)
        self._name = settings.connection_name
        self._on_open = on_open
        self._on_lost = on_lost
        self._on_blocked = on_blocked
        self._stopping = threading.Event()
        self._io: IoThread = IoThread(settings.connection_name) if beside is None else beside._io  # noqa: SLF001 - of its own class
        self._io.admit(self, on_died=on_died)
        # Written by the connection's thread alone.
        self._connection: JoiningConnection | None = None
        self._complaints: set[str] = set()
        self._opened_times = 0
        self.is_open = False
        self.is_blocked = False
        self.last_error: str | None = None

    @property
    def reconnects(self) -> int:
        """How often the connection was opened again after the first time."""
        return max(0, self._opened_times - 1)

    def start(self) -> None:
        """Starts connecting in the background and returns at once. After `stop` it does nothing."""
        self._io.begin(self)

    def stop(self) -> None:
        """Closes, or stops trying to connect, and returns at once; idempotent, from any thread, at any time.

        An owner with something left to say to the broker says it before. A close that is not answered within
        two seconds is not waited for.
        """
        self._stopping.set()
        self._io.forgo(self)
        self._io.call(self._close)

    def join(self, timeout: float | None = None) -> bool:
        """Blocks until the thread has ended, at most `timeout` seconds; whether it has, or never ran."""
        return self._io.join(timeout)

    def call(self, work: Callable[[], None]) -> bool:
        """Hands `work` over to the connection's thread, connected or not; from any thread, in order.

        Handed over before `start`, it runs then. Any number of calls cost one wake-up until the thread takes
        them.

        Returns:
            False if the thread has ended, and `work` will never run.
        """
        return self._io.call(work)

    def perform(self, work: Callable[[], None]) -> None:
        """Runs `work` at once if this is the connection's thread, and hands it over if it is not."""
        self._io.perform(work)

    # What follows is for the connection's thread only.

    def call_later(self, seconds: float, work: Callable[[], None]) -> Any:
        """Runs `work` on this thread after `seconds`, connected or not; returns a handle for `cancel`."""
        return self._io.loop.call_later(seconds, work)

    def cancel(self, timer: Any) -> None:
        """Takes back what `call_later` scheduled; harmless if it has run."""
        self._io.loop.remove_timeout(timer)

    def guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """`callback` for pika: what it raises ends this thread instead of passing for a lost connection."""
        return self._io.guard(callback)

    def answer_on(self, channel: Channel, callback: Callable[..., None]) -> Callable[..., None]:
        """`callback` for what the broker answers to a request on `channel`: guarded, and not called once it closes.

        An answer may be on its way while a channel begins to close, of which its `on_closed` is told; nothing can be
        done on the channel any more.
        """
        return self._io.guard(lambda *args: callback(*args) if channel.is_open else None)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is sent within goes out in as few system calls as make sense, at the end if not before."""
        connection = self._connection
        if connection is None:
            yield
            return
        connection.keep()
        try:
            yield
        finally:
            connection.release()

    def open_channel(
        self, on_open: Callable[[Channel], None], on_closed: Callable[[Channel, Refusal], None]
    ) -> bool:
        """Opens a channel on the open connection; `on_closed` is told once when it is gone, whoever closed.

        Returns:
            False, and neither is ever called, if the connection is not open.
        """
        connection = self._connection
        if connection is None or not connection.is_open:
            return False

        def closed(channel: Channel, reason: Exception) -> None:
            on_closed(channel, Refusal.of(reason))

        channel = connection.channel(on_open_callback=self.guard(on_open))
        channel.add_on_close_callback(self.guard(closed))
        return True

    def live(self) -> Iterator[None]:
        """For the thread: connects until it is stopped."""
        while not self._stopping.is_set():
            yield from self._connect_until_open()
            yield from self._rest(_RECONNECT_PAUSE_SECONDS)

    def is_over(self) -> bool:
        """For the thread: whether there is no connection, nor an attempt at one."""
        return self._connection is None

    def forgives(self, _exc: AssertionError) -> bool:
        """For the thread: pika 1.4.4 trips over an assertion of its own when a handshake is given up."""
        return self._stopping.is_set() and self.is_over()

    def _connect_until_open(self) -> Iterator[None]:
        # Each connection that opened starts the waiting over. tenacity says what is next, and others may use
        # the thread meanwhile.
        retrying = Retrying(
            retry=retry_if_result(lambda opened: not opened),
            wait=wait_exponential_jitter(
                multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS, jitter=0.25
            ),
            stop=stop_when_event_set(self._stopping),
            retry_error_callback=_give_up,
        )
        retrying.begin()
        state = RetryCallState(retrying, None, (), {})
        while isinstance(step := retrying.iter(state), DoAttempt | DoSleep):
            if isinstance(step, DoAttempt):
                opened = yield from self._connect()
                state.set_result(opened)
            else:
                state.prepare_for_next_attempt()
                yield from self._rest(step)

    def _rest(self, seconds: float) -> Iterator[None]:
        deadline = time.monotonic() + seconds
        timer = self.call_later(seconds, self._io.interrupt)
        while not self._stopping.is_set() and time.monotonic() < deadline:
            yield
        self.cancel(timer)

    def _connect(self) -> Generator[None, None, bool]:
        """One connection from the attempt to its end; whether it was ever open."""
        if self._stopping.is_set():  # tenacity looks before it sleeps, not after
            return False
        opened_before = self._opened_times
        self._connection = connection = JoiningConnection(
            self._parameters,
            on_open_callback=self.guard(self._opened),
            on_open_error_callback=self.guard(self._refused),
            on_close_callback=self.guard(self._lost),
            custom_ioloop=self._io.loop,
        )
        connection.add_on_connection_blocked_callback(self.guard(lambda *_: self._set_blocked(True)))
        connection.add_on_connection_unblocked_callback(self.guard(lambda *_: self._set_blocked(False)))
        while not self.is_over():
            yield
        return self._opened_times > opened_before

    def _opened(self, _connection: pika.SelectConnection) -> None:
        self.is_open = True
        self._opened_times += 1
        self.last_error = None
        self._complaints.clear()
        _log.info("connected to the broker", broker=str(self.address), connection=self._name)
        self._on_open(self)

    def _refused(self, _connection: pika.SelectConnection, reason: Exception) -> None:
        self._gone()
        if not self._stopping.is_set():
            self._complain("the broker cannot be reached", describe(reason, self.address))

    def _lost(self, _connection: pika.SelectConnection, reason: Exception) -> None:
        self._gone()
        text = describe(reason, self.address)
        if not self._stopping.is_set():
            self._complain("the connection to the broker was lost", text)
        self._on_lost(text)

    def _gone(self) -> None:
        self._connection = None
        self.is_open = self.is_blocked = False
        self._io.interrupt()

    def _complain(self, event: str, reason: str) -> None:
        """Says each reason once until the connection is there again."""
        self.last_error = reason
        log = _log.debug if reason in self._complaints else _log.warning
        self._complaints.add(reason)
        log(event, broker=str(self.address), connection=self._name, reason=reason)

    def _set_blocked(self, blocked: bool) -> None:
        self.is_blocked = blocked
        if blocked:
            _log.warning(
                "the broker takes no messages, it is short of memory or disk", broker=str(self.address)
            )
        else:
            _log.info("the broker takes messages again", broker=str(self.address))
        if self._on_blocked is not None:
            self._on_blocked(blocked)

    def _close(self) -> None:
        self._io.interrupt()
        connection = self._connection
        if connection is not None and not connection.is_closing and not connection.is_closed:
            connection.close()
            self.call_later(_CLOSE_SECONDS, self._cut)

    def _cut(self) -> None:
        if self._connection is not None:
            lost = exceptions.StreamLostError("it was not closed in time")
            self._connection._terminate_stream(lost)  # noqa: SLF001 - pika has no public way to cut

    def abandon(self) -> None:
        """For the thread, after a failure: closes the socket if that can still be done, and calls nobody."""
        self._stopping.set()
        self._on_lost = lambda _reason: None
        self._cut()


def _give_up(state: RetryCallState) -> None:
    """Told to stop while waiting: no error."""
