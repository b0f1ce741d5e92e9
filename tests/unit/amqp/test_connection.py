"""The thread of a connection without a broker: starting, stopping, handing over, dying."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

import pytest
from structlog.testing import capture_logs

from publisher.amqp import AmqpConnection, AmqpSettings
from tests.waiting import eventually

PROMPTLY_SECONDS = 2.0


class Owner:
    """Keeps what a connection tells its owner."""

    def __init__(self, url: str, beside: Owner | None = None, **settings: float) -> None:
        self.opened = 0
        self.lost: list[str] = []
        self.died: SimpleQueue[BaseException] = SimpleQueue()
        self.connection = AmqpConnection(
            AmqpSettings(url=url, connection_name="test", **settings),  # type: ignore[arg-type]  # seconds
            on_open=self.on_open,
            on_lost=self.lost.append,
            on_died=self.died.put,
            beside=beside and beside.connection,
        )

    def on_open(self, connection: AmqpConnection) -> None:
        self.opened += 1


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and nobody else will."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_stop_before_start_ends_it():
    """It never starts, and nothing is waited for."""
    connection = Owner("amqp://localhost/").connection
    connection.stop()
    connection.start()
    assert connection.join(0)
    assert not connection.call(lambda: None)


def test_stop_twice_is_as_good_as_once(closed_port: int):
    """Idempotent, from any thread."""
    connection = Owner(f"amqp://127.0.0.1:{closed_port}/").connection
    connection.start()
    connection.stop()
    connection.stop()
    assert connection.join(PROMPTLY_SECONDS)
    connection.stop()


def test_stop_interrupts_the_wait_between_attempts(closed_port: int):
    """A broker that is away for long makes waits of 15 seconds."""
    owner = Owner(f"amqp://127.0.0.1:{closed_port}/")
    owner.connection.start()
    eventually(lambda: owner.connection.last_error)
    owner.connection.stop()
    assert owner.connection.join(PROMPTLY_SECONDS)
    assert owner.lost == []
    assert owner.died.empty()


def test_stop_interrupts_a_handshake_that_nobody_answers(silent_port: int):
    """The port may belong to something else altogether."""
    owner = Owner(f"amqp://127.0.0.1:{silent_port}/")
    owner.connection.start()
    time_to_connect = threading.Event()
    owner.connection.call(lambda: owner.connection.call_later(0.2, time_to_connect.set))
    assert time_to_connect.wait(5)
    owner.connection.stop()
    assert owner.connection.join(PROMPTLY_SECONDS)
    assert owner.died.empty()


def test_a_handshake_that_nobody_answers_is_given_up_in_time(silent_port: int):
    """Else a broker that hangs is never replaced."""
    owner = Owner(f"amqp://127.0.0.1:{silent_port}/", connect_timeout_seconds=0.2)
    owner.connection.start()
    eventually(lambda: "did not answer" in (owner.connection.last_error or ""))
    owner.connection.stop()
    assert owner.connection.join(PROMPTLY_SECONDS)
    assert owner.died.empty()


def test_something_else_on_the_port_is_said_so():
    """A wrong port is a common mistake."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=answer_once, args=(server, b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        answering.start()
        owner = Owner(f"amqp://127.0.0.1:{server.getsockname()[1]}/")
        owner.connection.start()
        eventually(lambda: owner.connection.last_error)
        owner.connection.stop()
        assert owner.connection.join(PROMPTLY_SECONDS)
        answering.join()
    assert owner.died.empty()


def answer_once(server: socket.socket, answer: bytes) -> None:
    with contextlib.suppress(OSError):
        client, _ = server.accept()
        with client:
            client.recv(100)
            client.sendall(answer)


def test_an_unknown_host_is_said_so():
    """The name is in the sentence."""
    owner = Owner("amqp://no-such-host.invalid/")
    owner.connection.start()
    eventually(lambda: "no-such-host.invalid" in (owner.connection.last_error or ""))
    owner.connection.stop()
    assert owner.connection.join(PROMPTLY_SECONDS)


def test_the_first_failure_is_logged_once(closed_port: int):
    """Not once per attempt: an outage of a night is one line."""
    with capture_logs() as logs:
        owner = Owner(f"amqp://:hush@127.0.0.1:{closed_port}/")
        owner.connection.start()
        eventually(lambda: len(logs) >= 3)
        owner.connection.stop()
        assert owner.connection.join(PROMPTLY_SECONDS)
    assert [line["log_level"] for line in logs[:3]] == ["warning", "debug", "debug"]
    assert "hush" not in str(logs)


def test_work_is_done_in_order_while_there_is_no_broker(closed_port: int):
    """Requests must be able to time out while nothing is connected."""
    owner = Owner(f"amqp://127.0.0.1:{closed_port}/")
    done: list[object] = []
    owner.connection.call(lambda: done.append("before start"))
    owner.connection.start()
    eventually(lambda: owner.connection.last_error)
    for number in range(100):
        owner.connection.call(lambda number=number: done.append(number))  # type: ignore[misc]  # binds it now
    later = threading.Event()
    owner.connection.call(lambda: owner.connection.call_later(0.01, later.set))
    assert later.wait(5)
    assert done == ["before start", *range(100)]
    owner.connection.stop()
    assert owner.connection.join(PROMPTLY_SECONDS)


def test_work_that_was_handed_over_before_the_end_is_done(closed_port: int):
    """Somebody may be waiting for its answer."""
    owner = Owner(f"amqp://127.0.0.1:{closed_port}/")
    owner.connection.start()
    done: list[int] = []
    accepted = 0

    def hand_over() -> None:
        nonlocal accepted
        while owner.connection.call(lambda: done.append(1)):
            accepted += 1

    handing_over = threading.Thread(target=hand_over)
    handing_over.start()
    eventually(lambda: accepted > 100)
    owner.connection.stop()
    assert owner.connection.join(PROMPTLY_SECONDS)
    handing_over.join(PROMPTLY_SECONDS)
    assert len(done) == accepted


def test_an_exception_in_handed_over_work_ends_the_thread(closed_port: int):
    """Nothing limps: the service ends, and its supervisor starts it again."""
    owner = Owner(f"amqp://127.0.0.1:{closed_port}/")
    owner.connection.start()
    failure = RuntimeError("a bug")

    def fail() -> None:
        raise failure

    owner.connection.call(fail)
    assert owner.died.get(timeout=PROMPTLY_SECONDS) is failure
    assert owner.connection.join(PROMPTLY_SECONDS)
    assert not owner.connection.call(lambda: None)


def test_join_from_its_own_thread_does_not_block(closed_port: int):
    """An owner may stop and join in a hook by mistake."""
    owner = Owner(f"amqp://127.0.0.1:{closed_port}/")
    answered: SimpleQueue[bool] = SimpleQueue()
    owner.connection.start()
    owner.connection.call(lambda: answered.put(owner.connection.join()))
    assert answered.get(timeout=PROMPTLY_SECONDS) is False
    owner.connection.stop()
    assert owner.connection.join(PROMPTLY_SECONDS)


def test_starting_takes_no_time(silent_port: int):
    """The service starts while the broker is away."""
    owner = Owner(f"amqp://127.0.0.1:{silent_port}/")
    before = time.monotonic()
    owner.connection.start()
    assert time.monotonic() - before < 0.5
    owner.connection.stop()
    assert owner.connection.join(PROMPTLY_SECONDS)


@pytest.fixture
def pair(closed_port: int) -> tuple[Owner, Owner]:
    """Two connections on one thread."""
    first = Owner(f"amqp://127.0.0.1:{closed_port}/")
    return first, Owner(f"amqp://127.0.0.1:{closed_port}/", beside=first)


def test_two_connections_live_on_one_thread(pair: tuple[Owner, Owner]):
    """It ends when both have, and each of them tries on its own."""
    first, second = pair
    threads: SimpleQueue[threading.Thread] = SimpleQueue()
    for owner in (second, first):
        owner.connection.start()
        owner.connection.call(lambda: threads.put(threading.current_thread()))
    assert threads.get(timeout=5) is threads.get(timeout=5)
    eventually(lambda: first.connection.last_error and second.connection.last_error)
    first.connection.stop()
    assert not first.connection.join(0.1)
    assert second.connection.call(lambda: threads.put(threading.current_thread()))
    assert threads.get(timeout=5).is_alive()
    second.connection.stop()
    assert first.connection.join(PROMPTLY_SECONDS)
    assert second.connection.join(PROMPTLY_SECONDS)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_that_never_starts_keeps_no_thread(pair: tuple[Owner, Owner], order: tuple[int, int]):
    """Whether it is stopped before the other one or after."""
    pair[0].connection.start()
    for number in order:
        pair[number].connection.stop()
    assert pair[0].connection.join(PROMPTLY_SECONDS)
    pair[1].connection.start()
    assert not pair[1].connection.call(lambda: None)


def test_both_hear_of_the_end_of_their_thread(pair: tuple[Owner, Owner]):
    """A failure of one is the end of both."""
    for owner in pair:
        owner.connection.start()
    failure = RuntimeError("a bug")

    def fail() -> None:
        raise failure

    pair[1].connection.call(fail)
    for owner in pair:
        assert owner.died.get(timeout=PROMPTLY_SECONDS) is failure
        assert owner.connection.join(PROMPTLY_SECONDS)


def test_a_handshake_that_is_given_up_leaves_the_other_connection(silent_port: int, closed_port: int):
    """pika raises then; nothing of it reaches a neighbour."""
    first = Owner(f"amqp://127.0.0.1:{closed_port}/")
    second = Owner(f"amqp://127.0.0.1:{silent_port}/", beside=first)
    for owner in (first, second):
        owner.connection.start()
    time_to_connect = threading.Event()
    second.connection.call(lambda: second.connection.call_later(0.2, time_to_connect.set))
    assert time_to_connect.wait(5)
    second.connection.stop()
    gone_by = threading.Event()
    first.connection.call(lambda: first.connection.call_later(0.3, gone_by.set))
    assert gone_by.wait(5)
    first.connection.stop()
    assert first.connection.join(PROMPTLY_SECONDS)
    assert first.died.empty()
    assert second.died.empty()


def test_work_is_performed_at_once_on_the_thread_itself(closed_port: int):
    """And handed over from any other."""
    owner = Owner(f"amqp://127.0.0.1:{closed_port}/")
    owner.connection.start()
    done: list[str] = []
    finished = threading.Event()

    def work() -> None:
        owner.connection.perform(lambda: done.append("inner"))
        done.append("outer")
        finished.set()

    owner.connection.perform(work)
    assert finished.wait(5)
    assert done == ["inner", "outer"]
    owner.connection.stop()
    assert owner.connection.join(PROMPTLY_SECONDS)
