"""MonitorServer from the client's side, as blocking Python calls."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from control.server_client import ServerClient, parsed
from schemas.monitors import MonitorInfo, MonitorState, MonitorType, PathMode, WatchEventType
from schemas.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MonitorServerClient"]

_TEXT = TypeAdapter(str)
_STATE = TypeAdapter(MonitorState)
_MONITOR_INFO = TypeAdapter(MonitorInfo)
_MONITOR_INFOS = TypeAdapter(list[MonitorInfo])


class MonitorServerClient(ServerClient):
    """The operations of MonitorServer. Each blocks until its reply; errors are those of `RpcClient.call`."""

    def __init__(
        self,
        url: str,
        namespace: str = "fsherald",
        timeout_seconds: float = 30.0,
        *,
        password: str | None = None,
    ) -> None:
        """Starts to connect and returns; arguments as for RpcClient."""
        super().__init__(url, Topology(namespace).control, password=password, timeout_seconds=timeout_seconds)

    def create_monitor(
        self,
        path_string: str,
        *,
        m_type: MonitorType | str = MonitorType.PERSISTENT,
        e_types: Sequence[WatchEventType | str] = (WatchEventType.ALL,),
        p_mode: PathMode | str = PathMode.FOLLOW,
        whitelist: Sequence[str] = (),
        blacklist: Sequence[str] = (),
        timeout: float = 0.0,
        block_size: int = 0,
        ignore_sys_files: bool = True,
        ignore_dir_events: bool = False,
        platform_check: bool = False,
        queue: str | None = None,
        message_id: str | None = None,
    ) -> str:
        """Creates a monitor, stopped, and returns its id. The parameters are those of the contract.

        Args:
            path_string: absolute path of a directory on the server, inside its allowed roots.
            m_type: what ends the monitor.
            e_types: what to report.
            p_mode: how far below the directory.
            whitelist: names, extensions, paths or patterns of files to report; empty means all.
            blacklist: the same, of files and directories to leave out.
            timeout: seconds, for OneShot and Inactivity.
            block_size: events in one EventList at most; 0 sets no limit.
            ignore_sys_files: leave out dot files and desktop leftovers.
            ignore_dir_events: report files only.
            platform_check: refuse a file system whose changes the kernel does not report.
            queue: a durable queue to declare (if it does not exist) and bind before the reply.
            message_id: identity of the request: repeated with the same one, the same monitor is returned.
        """
        params: dict[str, object] = {
            "mType": str(m_type),
            "eTypes": [str(e_type) for e_type in e_types],
            "pMode": str(p_mode),
            "pathString": path_string,
            "whitelist": list(whitelist),
            "blacklist": list(blacklist),
            "timeout": timeout,
            "blockSize": block_size,
            "ignoreSysFiles": ignore_sys_files,
            "ignoreDirEvents": ignore_dir_events,
            "platformCheck": platform_check,
        }
        if queue is not None:
            params["queue"] = queue
        reply = self.rpc.request("createMonitor", params, message_id=message_id or str(uuid.uuid4()))
        return parsed(_TEXT, reply.result)

    def start_monitor(self, monitor_id: str) -> None:
        """Returns when the monitor is awake. No effect on one that is started."""
        self.rpc.call("startMonitor", id=monitor_id)

    def stop_monitor(self, monitor_id: str) -> None:
        """Returns when what happened before is accepted for publishing. No effect on one that is stopped."""
        self.rpc.call("stopMonitor", id=monitor_id)

    def destroy_monitor(self, monitor_id: str) -> None:
        """Stops the monitor, deletes its exchange and forgets it."""
        self.rpc.request("destroyMonitor", {"id": monitor_id}, repeatable=False)

    def get_monitor_state(self, monitor_id: str) -> MonitorState:
        """Whether the monitor is started."""
        return parsed(_STATE, self.rpc.call("getMonitorState", id=monitor_id))

    def list_monitors(self) -> list[MonitorInfo]:
        """Every monitor of the server."""
        return parsed(_MONITOR_INFOS, self.rpc.call("listMonitors"))

    def describe_monitor(self, monitor_id: str) -> MonitorInfo:
        """Everything about one monitor."""
        return parsed(_MONITOR_INFO, self.rpc.call("describeMonitor", id=monitor_id))
