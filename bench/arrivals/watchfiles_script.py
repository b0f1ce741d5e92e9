"""watchfiles and pika as people put them together: `python -m bench.arrivals.watchfiles_script URL QUEUE ROOT`.

One persistent message for each file that was added, without confirms, to a queue that is there. Nothing tells it that
a file was closed.
"""

from __future__ import annotations

import os
import sys

import pika
from watchfiles import Change, watch


def main(url: str, name: str, root: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    persistent = pika.BasicProperties(delivery_mode=2)
    for changes in watch(root, yield_on_timeout=True):
        connection.process_data_events(time_limit=0)
        for change, path in changes:
            if change == Change.added:
                channel.basic_publish("", name, os.fsencode(path), persistent)


if __name__ == "__main__":
    main(*sys.argv[1:])
