"""A block as a message: what the relay publishes of an entry, the same on every redelivery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pika.spec import BasicProperties

from schemas import topology as wire

if TYPE_CHECKING:
    from publisher.outbox import Entry


def properties_of(entry: Entry, app_id: str) -> BasicProperties:
    """What a message says of its block (contract/protocol.md, "Events"): the same on every redelivery."""
    return BasicProperties(
        content_type=wire.CONTENT_TYPE_JSON,
        headers={
            wire.HEADER_SCHEMA: wire.SCHEMA_VERSION,
            wire.HEADER_MONITOR_ID: entry.monitor_id,
            wire.HEADER_SEQUENCE: entry.sequence,
            wire.HEADER_EVENT_COUNT: entry.event_count,
        },
        delivery_mode=2,
        message_id=wire.message_id(entry.monitor_id, entry.sequence),
        timestamp=entry.created_at,
        type=wire.EVENT_LIST_TYPE,
        app_id=app_id,
    )
