"""A proxy in front of a virtual host: for services that reach their broker through it alone."""

from __future__ import annotations

from tests.brokers import VirtualHost
from tests.tcp_proxy import TcpProxy


class NetworkProxy(TcpProxy):
    """A `TcpProxy` with the address of a virtual host."""

    def __init__(self, vhost: VirtualHost) -> None:
        super().__init__(vhost.broker.host, vhost.broker.port)
        self.url = vhost.url.replace(f"@{vhost.broker.host}:{vhost.broker.port}/", f"@127.0.0.1:{self.port}/")
        assert self.url != vhost.url, vhost.url

    def open(self) -> None:
        """Listen, if it does not."""
        if self._server is None:
            super().open()

    def lead_to(self, vhost: VirtualHost) -> None:
        """New connections go to its broker; the ones that are open are cut."""
        self.move(vhost.broker.host, vhost.broker.port)
        self.cut()
