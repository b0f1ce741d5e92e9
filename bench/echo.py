"""The bare competitor for requests: pika, one callback, a reply of a given number of bytes, nothing else.

`python -m bench.echo URL QUEUE`: the request's body is the number of bytes to answer with.
"""

from __future__ import annotations

import sys
from typing import Any

import pika


def main(url: str, queue: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    channel.basic_qos(prefetch_count=32)
    replies: dict[bytes, bytes] = {}

    def answer(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
        reply = replies.get(body)
        if reply is None:
            reply = replies[body] = b"x" * int(body)
        channel.basic_publish(
            "", properties.reply_to, reply, pika.BasicProperties(correlation_id=properties.correlation_id)
        )
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, answer)
    channel.start_consuming()


if __name__ == "__main__":
    main(*sys.argv[1:])
