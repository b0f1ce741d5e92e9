"""The contract from the client's side: MonitorServer, FileServer and the events of monitors, as blocking calls.

Example:
    with MonitorServerClient(url) as server:
        monitor_id = server.create_monitor("/data/run7")
        with EventSubscriber(url, monitor_id=monitor_id) as blocks:
            server.start_monitor(monitor_id)
            for block in blocks:
                handle(block.events)
"""

from __future__ import annotations

from control.client_errors import (
    BadReplyError,
    BrokerUnreachableError,
    ClientClosedError,
    ClientError,
    NoServerError,
    ReplyTimeoutError,
    SubscriptionError,
)
from control.file_client import FileServerClient
from control.monitor_client import MonitorServerClient
from control.rpc_client import Reply, RpcClient
from control.subscriber import EventSubscriber

__all__ = [
    "BadReplyError",
    "BrokerUnreachableError",
    "ClientClosedError",
    "ClientError",
    "EventSubscriber",
    "FileServerClient",
    "MonitorServerClient",
    "NoServerError",
    "Reply",
    "ReplyTimeoutError",
    "RpcClient",
    "SubscriptionError",
]
