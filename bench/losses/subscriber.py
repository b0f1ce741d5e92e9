"""A consumer of one monitor's events on bare pika, printing each: `python -m bench.losses.subscriber URL EXCHANGE`.

Its queue is its own and goes with it. Once that is bound it prints the word `bound`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pika

from bench.losses.lines import write

BOUND = "bound"


def main(url: str, exchange: str) -> None:
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange, "#")
    channel.basic_consume(
        queue, lambda _channel, _method, _properties, body: write(events(body)), auto_ack=True
    )
    write([(BOUND, exchange)])
    channel.start_consuming()


def events(body: bytes) -> Iterator[tuple[str, str]]:
    """Types and paths of a block, in its order; of a System event, its text and the code of its detail."""
    event: dict[str, Any]
    for event in json.loads(body)["events"]:
        detail = event.get("detail", {}).get("code", "")
        yield event["type"], f"{event['fileId']} ({detail})" if detail else event["fileId"]


if __name__ == "__main__":
    main(*sys.argv[1:])
