"""Why a connection or a channel ended, in words that an operator can act on; pika's exceptions end here."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pika import exceptions
from pika.adapters.utils import connection_workflow as workflow

if TYPE_CHECKING:
    from publisher.amqp_settings import BrokerAddress


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a channel was closed. Code 0: not by the broker's refusal, but by us or with its connection."""

    code: int
    text: str

    @classmethod
    def of(cls, reason: BaseException) -> Refusal:
        """What pika gives to on-close callbacks."""
        if isinstance(reason, exceptions.ChannelClosedByBroker):
            return cls(reason.reply_code, reason.reply_text)
        return cls(0, repr(reason))


_TLS_ALERT = re.compile(r"\] (?:tls|ssl)v\d+ alert ([a-z ]+[a-z])")


def describe(exc: BaseException, address: BrokerAddress) -> str:
    """One sentence on why there is no connection (any more); holds no password."""
    cause = _root(exc)
    place = f"{address.host}:{address.port}"
    match cause:
        case exceptions.ProbableAuthenticationError():
            return f"the broker at {place} refused user {address.username!r}: wrong name or password"
        case exceptions.ProbableAccessDeniedError():
            return _denied(str(cause.args), address)
        case exceptions.IncompatibleProtocolError() if alert := _TLS_ALERT.search(str(cause.args)):
            return _alerted(alert[1], place)
        case exceptions.IncompatibleProtocolError() if address.tls is not None:
            # A server that refuses a certificate may be gone before its reason is read.
            return (
                f"{place} ended the connection before AMQP began: does it ask for a client's certificate"
                " (certfile and keyfile in the URL), or is it another service?"
            )
        case exceptions.IncompatibleProtocolError():
            return f"what listens on {place} does not speak AMQP 0-9-1; is it another service, or a TLS port?"
        case exceptions.ConnectionClosed():
            return f"closed: {cause.reply_text} ({cause.reply_code})"
        case (
            exceptions.StreamLostError()
            | exceptions.AMQPHeartbeatTimeout()
            | exceptions.ConnectionBlockedTimeout()
        ):
            return f"the connection to {place} was cut: {cause.args[0] if cause.args else cause!r}"
        case exceptions.ConnectionOpenAborted() | workflow.AMQPConnectorStackTimeout():
            return f"{place} did not answer the AMQP handshake in time"
    return _unreachable(cause, place, address.host)


def _alerted(alert: str, place: str) -> str:
    """Since TLS 1.3 a client hears that its certificate is refused only when it has begun to speak."""
    if "certificate" in alert or "unknown ca" in alert:
        return (
            f"{place} refuses this client's certificate, or the lack of one ({alert});"
            " certfile and keyfile in the URL name one"
        )
    return f"TLS with {place} failed: {alert}"


def _denied(text: str, address: BrokerAddress) -> str:
    vhost = address.virtual_host
    if "not found" in text:
        return f"virtual host {vhost!r} does not exist on {address.host}:{address.port}"
    return f"user {address.username!r} may not use virtual host {vhost!r}: {text}"


def _unreachable(cause: BaseException, place: str, host: str) -> str:
    match cause:
        case socket.gaierror():
            return f"the host name {host!r} cannot be resolved: {cause.strerror}"
        case ssl.SSLCertVerificationError():
            return f"the certificate of {place} is not to be trusted: {cause.verify_message}"
        case ssl.SSLError():
            return f"TLS with {place} failed, is that a TLS port? {cause}"
        case TimeoutError():
            return f"no connection to {place} in time"
        case OSError():
            return f"no connection to {place}: {cause.strerror or cause!r}"
    return f"no connection to {place}: {cause!r}"


def _root(exc: BaseException) -> BaseException:
    """What pika wraps: error(workflow failed(phase error(what happened)))."""
    match exc:
        case workflow.AMQPConnectionWorkflowFailed() if exc.exceptions:
            return _root(exc.exceptions[-1])
        case workflow.AMQPConnectorPhaseErrorBase():
            return _root(exc.exception)
        case exceptions.AMQPConnectionError(args=(BaseException() as inner,)):
            return _root(inner)
    return exc
