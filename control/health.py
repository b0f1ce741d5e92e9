"""The HTTP side door: /metrics for Prometheus, /healthz and /readyz for whoever supervises the service."""

from __future__ import annotations

import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from control.config import ConfigError, http_address

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[], str | None]

_log = structlog.get_logger()


class HealthServer:
    """Answers GET on three paths. A check returns None, or one line on what is wrong."""

    def __init__(self, address: str, *, metrics: Callable[[], bytes], healthy: Check, ready: Check) -> None:
        """Listens at `address` (`host:port`), and answers once started.

        Args:
            address: `host:port`.
            metrics: The body of /metrics.
            healthy: The threads run.
            ready: Requests are served now.

        Raises:
            ConfigError: Nobody can listen there.
        """
        host, port = http_address(address)
        try:
            self._server = _Server((host, port), _handler(metrics, {"/healthz": healthy, "/readyz": ready}))
        except OSError as exc:
            text = f"FSHERALD_HTTP: cannot listen on {address} ({exc.strerror})"
            raise ConfigError(f"{text}; choose another port, or leave it empty") from exc
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        """Starts answering and returns."""
        self._thread.start()
        _log.info("metrics and health", port=self.port)

    def stop(self) -> None:
        """Stops answering; blocks for half a second at most."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


def _handler(metrics: Callable[[], bytes], checks: dict[str, Check]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10
        server_version = "fsherald"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(HTTPStatus.OK, metrics(), CONTENT_TYPE_LATEST)
            elif path in checks:
                problem = checks[path]()
                status = HTTPStatus.OK if problem is None else HTTPStatus.SERVICE_UNAVAILABLE
                self._answer(status, f"{problem or 'ok'}\n".encode())
            else:
                self._answer(HTTPStatus.NOT_FOUND, b"there are /metrics, /healthz and /readyz\n")

        def _answer(
            self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8"
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in http.server
            """Says nothing: probes come every few seconds."""

    return Handler
