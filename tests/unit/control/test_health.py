"""The HTTP side door, and the threads that serve."""

from __future__ import annotations

import http.client
import threading

import pytest

from control.config import ConfigError
from control.embedded import free_port
from control.health import HealthServer
from control.metrics import Metrics
from control.workers import Workers
from tests.waiting import eventually


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_health_is_told_by_status_and_one_line() -> None:
    """200 when all is well, 503 with the reason when it is not, 404 for what is not there."""
    problem: list[str | None] = [None]
    metrics = Metrics()
    metrics.observe_request("getSize", "ok", 0.01)
    address = f"127.0.0.1:{free_port()}"
    server = HealthServer(address, metrics=metrics.text, healthy=lambda: None, ready=lambda: problem[0])
    server.start()
    try:
        assert get(server.port, "/readyz") == (200, b"ok\n")
        problem[0] = "no broker"
        assert get(server.port, "/readyz") == (503, b"no broker\n")
        assert get(server.port, "/healthz?x=1")[0] == 200
        assert get(server.port, "/")[0] == 404
        assert (
            b'fsherald_requests_total{method="getSize",outcome="ok"} 1.0' in get(server.port, "/metrics")[1]
        )
        with pytest.raises(ConfigError, match=r"^FSHERALD_HTTP"):
            HealthServer(address, metrics=metrics.text, healthy=lambda: None, ready=lambda: None)
    finally:
        server.stop()


def test_work_is_done_in_order_and_the_rest_is_dropped_at_the_stop() -> None:
    """One thread keeps the order; a stop waits for what has begun alone."""
    begun, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def first() -> None:
        begun.set()
        go_on.wait(5)
        done.append(1)

    workers = Workers("test", 1, on_died=lambda _exc: None)
    workers.start()
    workers.submit(first)
    workers.submit(lambda: done.append(2))
    assert begun.wait(5)
    workers.stop()
    workers.stop()
    assert not workers.join(0.05)
    go_on.set()
    assert workers.join(5)
    assert done == [1]


def test_a_worker_that_dies_says_so() -> None:
    """Its owner ends the service."""
    died: list[BaseException] = []
    workers = Workers("test", 1, on_died=died.append)
    workers.start()
    workers.submit(lambda: {}["missing"])
    eventually(lambda: died)
    assert isinstance(died[0], KeyError)
    assert workers.join(5)
