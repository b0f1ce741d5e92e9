"""A TCP proxy in front of a broker: absent, cutting, silent or slow, and on another day in front of another one."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65536


class TcpProxy:
    """Forwards 127.0.0.1:`port` to a target while it is open; the port is its own, open or not."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = threading.Event()
        self.bytes_per_second: int | None = None
        self._lock = threading.Lock()  # guards the sockets
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._server: socket.socket | None = None
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            self.port: int = reserved.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def move(self, host: str, port: int) -> None:
        """From the next connection on it leads there; `cut` ends those that lead to the old place."""
        self._target = (host, port)

    def freeze(self) -> None:
        """Nothing gets through any more, and nobody is told: connections stay open, new ones too."""
        self._flowing.clear()

    def thaw(self) -> None:
        """What was under way goes on."""
        self._flowing.set()

    def open(self) -> None:
        """Starts to listen."""
        self._closed.clear()
        self._server = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        self._run(self._accept, self._server)

    def cut(self) -> None:
        """Ends all connections at once, as a network does: nobody says goodbye."""
        with self._lock:
            sockets = list(self._sockets)
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stops listening and cuts; `open` starts it again."""
        if self._server is not None:
            with contextlib.suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._server = None
        self._closed.set()
        self.thaw()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        self._threads.clear()

    def _run(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]  # a method
        self._threads.append(thread)
        thread.start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(self._target)
            except OSError:
                client.close()  # nobody is there, for now
                continue
            with self._lock:
                self._sockets |= {client, broker}
            self._run(self._forward, client, broker)
            self._run(self._forward, broker, client)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                self._flowing.wait()
                if self.bytes_per_second is not None:
                    self._closed.wait(len(data) / self.bytes_per_second)
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._sockets.discard(source)
        source.close()
