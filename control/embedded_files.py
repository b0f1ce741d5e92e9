"""What the private node keeps on disk: credentials, ports, configuration, data, log; and its environment."""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from control.embedded_package import EmbeddedBrokerError

USER: Final = "fsherald"
NODE: Final = "fsherald@localhost"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MARK: Final = "FSHERALD_EMBEDDED_BROKER"
# Below Linux's ephemeral range: a client that reconnects for ever to a port of that range can, while the
# node is away, be given the very same port as its own and connect to itself, and the node can't come back.
_PORTS: Final = range(20_000, 32_000)


def free_port(avoid: frozenset[int] = frozenset()) -> int:
    """Return a TCP port that nobody listens on, on any address, outside the ephemeral range."""
    for port in random.sample(_PORTS, k=len(_PORTS)):
        if port not in avoid and _is_free(port):
            return port
    raise EmbeddedBrokerError(f"no free port between {_PORTS.start} and {_PORTS.stop}")


class NodeDirectory:
    """The directory of one private node, readable by its owner alone.

    The Erlang cookie in it is what lets a process command the node, and the password what lets a client in:
    both are drawn at random once and kept.
    """

    def __init__(self, path: Path, *, management: bool, settings: Mapping[str, str]) -> None:
        """Name the directory; nothing is read or written yet.

        Args:
            path: Where it is; absolute. Any name, spaces included.
            management: Also enable the management plugin.
            settings: Further lines of `rabbitmq.conf`.
        """
        self.path = path
        self.password = ""
        self.ports: dict[str, int] = {}
        self._management = management
        self._settings = dict(settings)

    @property
    def mark(self) -> str:
        """The environment entry by which every process of this node is known."""
        return f"{_MARK}={self.path}"

    def log(self, name: str) -> Path:
        """Where the log `name` is written."""
        return self.path / "log" / name

    def make(self) -> None:
        """Make the directory, if need be, and close it to others."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def write(self) -> None:
        """Write what the node reads at its start; the ports of the last start are taken again if free."""
        for name in ("data", "log", "conf"):
            (self.path / name).mkdir(exist_ok=True)
        self.password = self._secret("password")
        self._secret(".erlang.cookie")
        self.ports = self._choose_ports()
        lines = {
            "listeners.tcp.1": f"127.0.0.1:{self.ports['amqp']}",
            "default_user": USER,
            "default_pass": self.password,
            "log.file": "node.log",
        }
        if self._management:
            lines["management.tcp.ip"] = "127.0.0.1"
            lines["management.tcp.port"] = str(self.ports["management"])
        lines |= self._settings
        text = "".join(f"{name} = {value}\n" for name, value in lines.items())
        _write_private(self.path / "conf" / "rabbitmq.conf", text)
        plugins = "[rabbitmq_management].\n" if self._management else "[].\n"
        _write_private(self.path / "conf" / "enabled_plugins", plugins)

    def environment(self) -> dict[str, str]:
        """The whole environment of the node and its tools; nothing of the caller's is handed on."""
        configuration = self.path / "conf"
        return {
            _MARK: str(self.path),
            "HOME": str(self.path),
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "ERL_CRASH_DUMP_BYTES": "0",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
            "RABBITMQ_NODENAME": NODE,
            "RABBITMQ_DIST_PORT": str(self.ports["dist"]),
            "RABBITMQ_MNESIA_BASE": str(self.path / "data"),
            "RABBITMQ_LOG_BASE": str(self.path / "log"),
            "RABBITMQ_PID_FILE": str(self.path / "node.pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(configuration / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(configuration / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(configuration / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(configuration / "advanced.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(configuration / "generated"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _secret(self, name: str) -> str:
        path = self.path / name
        with suppress(FileNotFoundError):
            if kept := path.read_text():
                return kept
        fresh = path.with_name(f"{name}.new")
        _write_private(fresh, secrets.token_hex(24))
        fresh.chmod(0o400)
        fresh.replace(path)
        return path.read_text()

    def _choose_ports(self) -> dict[str, int]:
        remembered = self.path / "ports.json"
        ports: dict[str, int] = {}
        with suppress(OSError, ValueError):
            ports = {str(name): int(port) for name, port in json.loads(remembered.read_text()).items()}
        for name in ("amqp", "dist", "epmd", "management"):
            if name not in ports or not _is_free(ports[name]):
                ports[name] = free_port(frozenset(ports.values()))
        remembered.write_text(json.dumps(ports))
        return ports


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _write_private(path: Path, text: str) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
