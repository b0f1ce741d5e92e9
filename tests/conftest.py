"""Fixtures for all tests: real brokers, each test in a virtual host of its own; in CI a skip is a failure."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator

import pytest

from tests.brokers import Broker, Brokers, NoBrokerError, VirtualHost, broker_names

_NO_SKIPS = os.environ.get("CI", "").lower() in ("1", "true", "yes")
_NEEDS_DOCKER = os.environ.get("FSHERALD_REQUIRE_DOCKER", "") == "1"


def pytest_configure() -> None:
    """A job in the background ignores SIGINT, and so would all that it starts: the tests send it to what they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """All brokers of this session, started when first asked for."""
    running = Brokers(tmp_path_factory.mktemp)
    yield running
    running.close()


@pytest.fixture(scope="session", params=broker_names())
def broker(request: pytest.FixtureRequest, brokers: Brokers) -> Broker:
    """A running RabbitMQ broker; a test that uses it runs once for each one."""
    name: str = request.param
    try:
        return brokers.get(name)
    except NoBrokerError as exc:
        if _NEEDS_DOCKER:
            pytest.fail(str(exc))
        pytest.skip(str(exc))


@pytest.fixture
def vhost(broker: Broker) -> Iterator[VirtualHost]:
    """A fresh virtual host: `.name`, `.url`, `.broker`."""
    with broker.virtual_host() as fresh:
        yield fresh


@pytest.fixture
def amqp_url(vhost: VirtualHost) -> str:
    """The AMQP URL of a fresh virtual host."""
    return vhost.url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one: it has not shown what it is there to show."""
    report = yield
    if _NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {call.excinfo.value if call.excinfo else ''}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI a module that skips itself is a failure too."""
    report = yield
    if _NO_SKIPS and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report
