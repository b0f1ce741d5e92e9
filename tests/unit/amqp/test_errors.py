"""Why there is no connection, in words that an operator can act on."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
from pika import exceptions
from pika.adapters.utils import connection_workflow as workflow

from publisher.amqp_errors import Refusal, describe
from publisher.amqp_settings import parse_url

ADDRESS = parse_url("amqp://me:hush@broker.example:5673/mine")


def failed(cause: BaseException) -> exceptions.AMQPConnectionError:
    """As pika wraps what goes wrong before the AMQP handshake."""
    phase = workflow.AMQPConnectorSocketConnectError(cause)
    return exceptions.AMQPConnectionError(workflow.AMQPConnectionWorkflowFailed([phase]))


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (exceptions.ProbableAuthenticationError("(403) 'ACCESS_REFUSED'"), ["refused user 'me'", "password"]),
        (
            exceptions.ProbableAccessDeniedError("NOT_ALLOWED - vhost mine not found"),
            ["'mine' does not exist"],
        ),
        (
            exceptions.ProbableAccessDeniedError("NOT_ALLOWED - access refused"),
            ["'me' may not use", "'mine'"],
        ),
        (exceptions.IncompatibleProtocolError("x"), ["does not speak AMQP"]),
        (
            exceptions.IncompatibleProtocolError(
                "StreamLostError: ('SSLError(1, \\'[SSL: X] tlsv13 alert certificate required (_ssl.c:2580)\\')',)"
            ),
            ["refuses this client's certificate", "(certificate required)", "certfile"],
        ),
        (
            exceptions.IncompatibleProtocolError(
                "SSLError(1, '[SSL: X] tlsv1 alert internal error (_ssl.c:1)')"
            ),
            ["TLS with broker.example", "internal error"],
        ),
        (
            exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED - bye"),
            ["CONNECTION_FORCED - bye", "320"],
        ),
        (exceptions.StreamLostError("Transport indicated EOF"), ["was cut", "EOF"]),
        (exceptions.AMQPHeartbeatTimeout("No activity"), ["was cut", "No activity"]),
        (exceptions.ConnectionBlockedTimeout("Blocked"), ["was cut"]),
        (exceptions.ConnectionOpenAborted("x"), ["did not answer"]),
        (failed(OSError(errno.ECONNREFUSED, "Connection refused")), ["no connection", "Connection refused"]),
        (failed(TimeoutError("timed out")), ["no connection", "in time"]),
        (failed(ssl.SSLError(1, "[SSL] wrong version number")), ["TLS", "wrong version number"]),
        (
            workflow.AMQPConnectionWorkflowFailed([socket.gaierror(-2, "unknown")]),
            ["'broker.example'", "resolved"],
        ),
        (failed(workflow.AMQPConnectorStackTimeout("x")), ["did not answer"]),
        (RuntimeError("what"), ["what"]),
    ],
)
def test_a_failure_is_said_in_words(reason: BaseException, words: list[str]):
    """pika's exceptions wrap each other several times over; the operator reads one sentence."""
    text = describe(reason, ADDRESS)
    for word in words:
        assert word in text
    assert "\n" not in text
    assert "hush" not in text


def test_a_channel_closed_by_the_broker_has_a_code():
    """And one that went with its connection has none."""
    assert Refusal.of(exceptions.ChannelClosedByBroker(404, "NOT_FOUND")) == Refusal(404, "NOT_FOUND")
    assert Refusal.of(exceptions.ChannelClosedByClient(0, "bye")).code == 0
    assert Refusal.of(exceptions.StreamLostError("gone")).code == 0


def test_a_tls_server_that_goes_away_before_amqp_may_have_refused_a_certificate():
    """Its reason is lost when it closes before that is read."""
    address = parse_url("amqps://me:hush@broker.example/")
    text = describe(
        exceptions.IncompatibleProtocolError("StreamLostError: ConnectionResetError(104)"), address
    )
    assert "broker.example:5671 ended the connection" in text
    assert "certfile" in text
