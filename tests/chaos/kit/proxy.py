"""A proxy in front of a broker that does what networks do: it stops forwarding, or leads elsewhere."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.brokers import VirtualHost
from tests.tcp_proxy import TcpProxy

_CHUNK_BYTES = 65536


class NetworkProxy(TcpProxy):
    """A `TcpProxy` that can become a black hole and be led to another broker."""

    def __init__(self, vhost: VirtualHost) -> None:
        super().__init__(vhost.broker.host, vhost.broker.port)
        self.url = vhost.url.replace(f"@{vhost.broker.host}:{vhost.broker.port}/", f"@127.0.0.1:{self.port}/")
        assert self.url != vhost.url, vhost.url
        self._flowing = threading.Event()  # cleared while the proxy is a black hole
        self._flowing.set()

    def open(self) -> None:
        """Listen, if it does not."""
        if self._server is None:
            super().open()

    def freeze(self) -> None:
        """From now on nothing is forwarded and nothing closed: connections look alive and are not."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Forward again, what came meanwhile first."""
        self._flowing.set()

    def lead_to(self, vhost: VirtualHost) -> None:
        """New connections go to its broker; the ones that are open are cut."""
        self._target = (vhost.broker.host, vhost.broker.port)
        self.cut()

    def close(self) -> None:
        """Stop; nothing is held back any more."""
        self._flowing.set()
        super().close()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets |= {client, broker}
            self._run(self._forward, client, broker)
            self._run(self._forward, broker, client)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                self._flowing.wait()
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._sockets.discard(source)
        source.close()
