"""What is made of a delivered message, however strange its properties are."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pika
import pika.data
import pytest

from control.consumer import tolerate_any_headers
from control.delivery import Delivery


def delivery(
    body: bytes = b"body", *, limit_bytes: int = 100, redelivered: bool = False, **properties: Any
) -> Delivery:
    method = SimpleNamespace(delivery_tag=7, redelivered=redelivered)
    return Delivery.of(
        1, method, pika.BasicProperties(**properties), body, now=1000.0, limit_bytes=limit_bytes
    )


@pytest.mark.parametrize(
    ("expiration", "expired_at"),
    [("500", 1000.5), ("0", 1000.0), (None, None), ("soon", None), (b"\xff", None)],
)
def test_an_expiration_counts_from_the_delivery(expiration: Any, expired_at: float | None) -> None:
    """In milliseconds; what is no number is none."""
    made = delivery(expiration=expiration)
    assert made.expires_at == expired_at
    assert made.has_expired(2000.0) is (expired_at is not None)
    assert not made.has_expired(999.0)


def test_a_body_that_is_too_large_is_not_kept() -> None:
    """Only its size and its beginning."""
    made = delivery(b"x" * (1 << 20), limit_bytes=1 << 19)
    assert made.is_cut
    assert (len(made.body), made.size_bytes) == (1 << 16, 1 << 20)
    assert not delivery(b"x" * 100).is_cut


def test_an_empty_reply_to_is_none() -> None:
    """There is no queue without a name."""
    assert delivery(reply_to="").reply_to is None
    assert delivery(reply_to="q").reply_to == "q"


def test_a_message_delivered_again_is_known_again() -> None:
    """By what the client gave it, not by the delivery."""
    about = {"reply_to": "q", "correlation_id": "1", "message_id": "m"}
    assert delivery(**about).identity == delivery(redelivered=True, **about).identity
    assert delivery(**about).identity != delivery(**{**about, "correlation_id": "2"}).identity


@pytest.mark.parametrize(
    "value",
    [
        b"d" + struct.pack(">d", float("nan")),
        b"f" + struct.pack(">f", float("inf")),
        b"T" + b"\xff" * 8,
        b"?what",
        b"D\xff\xff",
    ],
)
def test_headers_that_pika_cannot_read_are_none(value: bytes) -> None:
    """The rest of the properties is read as it is."""
    tolerate_any_headers()
    tolerate_any_headers()
    field = b"\x01x" + value
    encoded = pika.BasicProperties(headers={}, reply_to="q").encode()
    flags, after = b"".join(encoded)[:2], b"".join(encoded)[6:]
    raw = flags + struct.pack(">I", len(field)) + field + after
    read = pika.BasicProperties()
    read.decode(raw)
    assert (read.headers, read.reply_to) == ({}, "q")
