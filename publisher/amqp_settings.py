"""How to reach the broker: what an AMQP URL says, and what pika makes of it.

Follows RabbitMQ's URI specification and the part of its query parameters that concerns TLS.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

import pika

from schemas.topology import app_id

_FRAME_MAX_BYTES = 131_072
_PORTS = {"amqp": 5672, "amqps": 5671}
_TLS_OPTIONS = frozenset({"cacertfile", "certfile", "keyfile", "server_name_indication"})


@dataclass(frozen=True, slots=True)
class AmqpSettings:
    """How to reach the broker.

    Attributes:
        url: `amqp://` or `amqps://`, see `parse_url`.
        password: Replaces the one in `url`.
        heartbeat_seconds: A peer that is silent for so long is taken for dead; 0 for none.
        connection_name: What the management pages show, and the name of the thread.
        blocked_timeout_seconds: Give a connection up that the broker has blocked for so long. None, the
        default,
            waits: a broker short of memory or disk blocks the next connection too, and a dead one is noticed
            by the heartbeats.
        connect_timeout_seconds: For one attempt, name resolution apart.
    """

    url: str = field(repr=False)
    password: str | None = field(default=None, repr=False)
    heartbeat_seconds: int = 30
    connection_name: str = "fsherald"
    blocked_timeout_seconds: float | None = None
    connect_timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """One broker and virtual host, decoded. Its repr has no password in it."""

    host: str
    port: int
    virtual_host: str
    username: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    tls_name: str | None = None

    def __str__(self) -> str:
        """What may be logged: `amqp://user@host:port/vhost`, the virtual host as it is."""
        scheme = "amqp" if self.tls is None else "amqps"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{self.username}@{host}:{self.port}/{self.virtual_host.removeprefix('/')}"


def parse_url(url: str, password: str | None = None) -> BrokerAddress:
    """Decodes `amqp://` and `amqps://` URLs; user, password and virtual host are percent-encoded in them.

    Args:
        url: What it leaves out is `guest`, `guest`, `localhost`, 5672 or 5671, and virtual host `/`. `amqps`
            takes `cacertfile`, `certfile`, `keyfile` and `server_name_indication` as query parameters.
        password: Replaces the one in `url`.

    Raises:
        ValueError: One sentence about what is wrong, which quotes nothing that may be part of a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:
        msg = (
            "host and port of the AMQP URL cannot be read; a '/', '?' or '#' in the password must be escaped"
        )
        raise ValueError(msg) from None
    if parts.scheme not in _PORTS:
        msg = "the AMQP URL must start with amqp:// or amqps://"
        raise ValueError(msg)
    if parts.fragment or "@" in parts.path or (parts.path.count("/") > 1 and parts.path != "//"):
        msg = "a '/' or '#' in the password or the virtual host of the AMQP URL is written %2F or %23"
        raise ValueError(msg)
    tls, tls_name = _tls(parts.scheme, parts.query)
    return BrokerAddress(
        host=host or "localhost",
        port=port or _PORTS[parts.scheme],
        virtual_host=unquote(parts.path[1:]) or "/",
        username=unquote(parts.username or "guest"),
        password=password if password is not None else unquote(parts.password or "guest"),
        tls=tls,
        tls_name=tls_name,
    )


def parameters(settings: AmqpSettings, address: BrokerAddress | None = None) -> pika.ConnectionParameters:
    """What pika needs to connect; `address` is that of the settings, parsed before.

    Raises:
        ValueError: The URL cannot be used; one sentence, without the password.
    """
    address = address or parse_url(settings.url, settings.password)
    tls = None if address.tls is None else pika.SSLOptions(address.tls, address.tls_name or address.host)
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.virtual_host,
        credentials=pika.PlainCredentials(address.username, address.password),
        ssl_options=tls,
        frame_max=_FRAME_MAX_BYTES,
        heartbeat=settings.heartbeat_seconds,
        blocked_connection_timeout=settings.blocked_timeout_seconds,
        socket_timeout=settings.connect_timeout_seconds,
        stack_timeout=settings.connect_timeout_seconds,
        client_properties={"connection_name": settings.connection_name, "product": app_id()},
    )


def _tls(scheme: str, query: str) -> tuple[ssl.SSLContext | None, str | None]:
    options = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    known = _TLS_OPTIONS if scheme == "amqps" else frozenset()
    if unknown := sorted(options.keys() - known):
        msg = f"{scheme}:// does not take the query parameter {unknown[0]!r} in the AMQP URL"
        raise ValueError(msg)
    if scheme == "amqp":
        return None, None
    return _context(options), options.get("server_name_indication")


def _context(options: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("cacertfile"))
        if "certfile" in options:
            context.load_cert_chain(options["certfile"], options.get("keyfile"))
    except OSError as exc:
        msg = f"a certificate or key named in the AMQP URL cannot be used: {exc}"
        raise ValueError(msg) from exc
    return context
