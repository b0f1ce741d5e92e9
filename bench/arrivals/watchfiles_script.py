"""watchfiles and aio-pika as documented: `python -m bench.arrivals.watchfiles_script URL QUEUE ROOT`.

One persistent message for each file that was added, to a queue that is there; each is awaited until the broker has
confirmed it, which is what a channel of aio-pika does unless told otherwise. Nothing tells it that a file was closed.
"""

from __future__ import annotations

import asyncio
import os
import sys

from aio_pika import DeliveryMode, Message, connect_robust
from watchfiles import Change, awatch


async def main(url: str, name: str, root: str) -> None:
    connection = await connect_robust(url)
    async with connection:
        channel = await connection.channel()
        async for changes in awatch(root):
            for change, path in changes:
                if change == Change.added:
                    message = Message(os.fsencode(path), delivery_mode=DeliveryMode.PERSISTENT)
                    await channel.default_exchange.publish(message, routing_key=name)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
