"""Real brokers for tests: containers, private nodes, or ones that already run; and their management API."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import subprocess
import urllib.parse
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.waiting import eventually

Row = dict[str, Any]

# The management API learns of connections and counts at the interval of its finest statistics: 1 s, not 5.
_STATISTICS = {
    "collect_statistics_interval": "500",
    "management.sample_retention_policies.global.minute": "1",
    "management.sample_retention_policies.basic.minute": "1",
    "management.sample_retention_policies.detailed.minute": "1",
}
_STATISTICS_ARGUMENTS = (
    "-rabbit collect_statistics_interval 500 "
    "-rabbitmq_management sample_retention_policies [{global,[{60,1}]},{basic,[{60,1}]},{detailed,[{60,1}]}]"
)


@dataclass(frozen=True)
class VirtualHost:
    """A virtual host of one test."""

    name: str
    url: str
    broker: Broker


class Broker:
    """A RabbitMQ broker with its management API; everything that a test may ask of one.

    Every method blocks until the broker has answered. Names of virtual hosts, queues and so on are given
    as they are, not encoded.
    """

    def __init__(self, name: str, amqp_url: str, management_url: str) -> None:
        parts = urllib.parse.urlsplit(amqp_url)
        assert parts.hostname, amqp_url
        self.name = name
        self.host = parts.hostname
        self.port = parts.port or 5672
        self.username = urllib.parse.unquote(parts.username or "guest")
        self.password = urllib.parse.unquote(parts.password or "guest")
        self.management_url = management_url.rstrip("/")

    def __repr__(self) -> str:
        """The name and the address, without the password."""
        return f"<{type(self).__name__} {self.name} at {self.host}:{self.port}>"

    def url(self, vhost: str = "/", *, username: str | None = None, password: str | None = None) -> str:
        """The AMQP URL of a virtual host, of the administrator unless another user is named."""
        user = urllib.parse.quote(username or self.username, safe="")
        secret = urllib.parse.quote(password or self.password, safe="")
        return f"amqp://{user}:{secret}@{self.host}:{self.port}/{urllib.parse.quote(vhost, safe='')}"

    # The node itself.

    def stop(self) -> None:
        """Stop the broker in good order; its data and ports stay."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it again on the same ports and return when it answers."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it at once, as a crash would; its data and ports stay."""
        raise NotImplementedError

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on it and return what it prints."""
        raise NotImplementedError

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def wait_until_ready(self, *, seconds: float = 60.0) -> None:
        """Return when the management API answers and the listeners are up."""

        def listens() -> bool:
            try:
                overview = self.request("GET", "overview")
            except (OSError, http.client.HTTPException, AssertionError):
                return False
            return any(row["protocol"] == "amqp" for row in overview["listeners"])

        eventually(listens, seconds=seconds, every_seconds=0.1)

    # The management API.

    def request(self, method: str, path: str, body: object = None) -> Any:
        """One request to the management API; `path` is what follows `/api/`, already encoded.

        Raises:
            AssertionError: It was refused; carries the status and the answer.
            OSError: The broker does not answer.
        """
        address = urllib.parse.urlsplit(self.management_url)
        assert address.hostname, self.management_url
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, f"{address.path}/api/{path}", payload, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        assert answer.status < 300, f"{method} {path}: {answer.status} {text.decode(errors='replace')[:500]}"
        return json.loads(text) if text else None

    def create_vhost(self, name: str) -> None:
        """Make a virtual host in which the administrator may do everything."""
        self.request("PUT", f"vhosts/{_quote(name)}", {})
        self.set_permissions(name)

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with all that is in it; its connections are closed by the broker."""
        self.request("DELETE", f"vhosts/{_quote(name)}")

    def create_user(self, username: str, password: str, *, tags: str = "") -> None:
        """Make a user, who may do nothing yet."""
        self.request("PUT", f"users/{_quote(username)}", {"password": password, "tags": tags})

    def delete_user(self, username: str) -> None:
        """Delete a user."""
        self.request("DELETE", f"users/{_quote(username)}")

    def set_permissions(
        self,
        vhost: str,
        *,
        configure: str = ".*",
        write: str = ".*",
        read: str = ".*",
        user: str | None = None,
    ) -> None:
        """Set what a user (the administrator unless named) may do there, as regular expressions."""
        rights = {"configure": configure, "write": write, "read": read}
        self.request("PUT", f"permissions/{_quote(vhost)}/{_quote(user or self.username)}", rights)

    def set_limit(self, vhost: str, name: str, value: int) -> None:
        """Set a limit of a virtual host, such as `max-queues` or `max-connections`."""
        self.request("PUT", f"vhost-limits/{_quote(vhost)}/{name}", {"value": value})

    def set_policy(
        self,
        vhost: str,
        name: str,
        pattern: str,
        definition: Mapping[str, object],
        *,
        apply_to: str = "queues",
    ) -> None:
        """Set a policy, such as a message TTL or a maximum length."""
        body = {"pattern": pattern, "definition": dict(definition), "apply-to": apply_to}
        self.request("PUT", f"policies/{_quote(vhost)}/{_quote(name)}", body)

    def list_connections(self, vhost: str) -> list[Row]:
        """The connections to a virtual host as the management API knows them, a moment late."""
        return list(self.request("GET", f"vhosts/{_quote(vhost)}/connections"))

    def close_connections(self, vhost: str, name_part: str | None = None) -> int:
        """Close connections by force and return how many.

        Args:
            vhost: Of this virtual host.
            name_part: Only those with this in their name or in the `connection_name` that the client gave.
        """
        closed = 0
        for row in self.list_connections(vhost):
            if name_part is None or name_part in row.get("name", "") or name_part in connection_name(row):
                with suppress(AssertionError):
                    self.request("DELETE", f"connections/{_quote(row['name'])}")
                    closed += 1
        return closed

    def queues(self, vhost: str) -> list[Row]:
        """All queues."""
        return list(self.request("GET", f"queues/{_quote(vhost)}"))

    def queue(self, vhost: str, name: str) -> Row:
        """One queue; its counts are a moment late."""
        return dict(self.request("GET", f"queues/{_quote(vhost)}/{_quote(name)}"))

    def exchanges(self, vhost: str) -> list[Row]:
        """All exchanges, the broker's own (`amq.*` and the default one) left out."""
        rows: list[Row] = self.request("GET", f"exchanges/{_quote(vhost)}")
        return [row for row in rows if row["name"] and not row["name"].startswith("amq.")]

    def bindings(self, vhost: str) -> list[Row]:
        """All bindings but those of the default exchange."""
        rows: list[Row] = self.request("GET", f"bindings/{_quote(vhost)}")
        return [row for row in rows if row["source"]]

    def declare_queue(self, vhost: str, name: str, *, kind: str = "classic", durable: bool = True) -> None:
        """Declare a queue, classic or quorum."""
        body = {"durable": durable, "arguments": {"x-queue-type": kind}}
        self.request("PUT", f"queues/{_quote(vhost)}/{_quote(name)}", body)

    def delete_queue(self, vhost: str, name: str) -> None:
        """Delete a queue."""
        self.request("DELETE", f"queues/{_quote(vhost)}/{_quote(name)}")

    def declare_exchange(self, vhost: str, name: str, kind: str = "topic") -> None:
        """Declare a durable exchange."""
        self.request("PUT", f"exchanges/{_quote(vhost)}/{_quote(name)}", {"type": kind, "durable": True})

    def delete_exchange(self, vhost: str, name: str) -> None:
        """Delete an exchange."""
        self.request("DELETE", f"exchanges/{_quote(vhost)}/{_quote(name)}")

    def bind(self, vhost: str, exchange: str, queue: str, routing_key: str = "#") -> None:
        """Bind a queue to an exchange."""
        path = f"bindings/{_quote(vhost)}/e/{_quote(exchange)}/q/{_quote(queue)}"
        self.request("POST", path, {"routing_key": routing_key, "arguments": {}})

    def publish(
        self,
        vhost: str,
        exchange: str,
        routing_key: str,
        payload: bytes,
        properties: Mapping[str, object] | None = None,
    ) -> bool:
        """Publish a message and say whether a queue took it; the default exchange is `amq.default`."""
        body = {
            "properties": dict(properties or {}),
            "routing_key": routing_key,
            "payload": base64.b64encode(payload).decode(),
            "payload_encoding": "base64",
        }
        path = f"exchanges/{_quote(vhost)}/{_quote(exchange or 'amq.default')}/publish"
        return bool(self.request("POST", path, body)["routed"])

    def get(self, vhost: str, queue: str, count: int = 1000, *, requeue: bool = False) -> list[Row]:
        """Take up to `count` messages; each row's `payload` is bytes, its `properties` a dict."""
        body = {
            "count": count,
            "ackmode": "ack_requeue_true" if requeue else "ack_requeue_false",
            "encoding": "base64",
        }
        rows: list[Row] = self.request("POST", f"queues/{_quote(vhost)}/{_quote(queue)}/get", body)
        for row in rows:
            row["payload"] = base64.b64decode(row["payload"])
            row["properties"] = row["properties"] or {}
        return rows

    @contextmanager
    def virtual_host(self, hint: str = "test") -> Iterator[VirtualHost]:
        """A fresh virtual host, deleted afterwards."""
        name = f"{hint}-{uuid.uuid4().hex[:8]}"
        self.create_vhost(name)
        try:
            yield VirtualHost(name, self.url(name), self)
        finally:
            self._delete_when_up(name)

    def _delete_when_up(self, vhost: str) -> None:
        # A broker that a test left stopped is started for the next one.
        try:
            self.request("GET", "overview")
        except (OSError, http.client.HTTPException):
            self.start()
        self.delete_vhost(vhost)


def connection_name(row: Row) -> str:
    """The name that the client gave its connection, of a row of `list_connections`."""
    return str((row.get("client_properties") or {}).get("connection_name", ""))


def _quote(name: str) -> str:
    return urllib.parse.quote(name, safe="")


class ContainerBroker(Broker):
    """A broker in a container; its host ports are chosen here, for Docker draws new ones at every start."""

    def __init__(self, name: str, image: str) -> None:
        # Imported here: a machine without Docker still runs every other test.
        from control.embedded import free_port

        with warnings.catch_warnings():
            # testcontainers uses a decorator of its own that it has deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            from testcontainers.community.rabbitmq import RabbitMqContainer

            amqp = free_port()
            management = free_port(frozenset({amqp}))
            self._container = (
                RabbitMqContainer(image)
                .with_bind_ports(5672, amqp)
                .with_bind_ports(15672, management)
                .with_env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", _STATISTICS_ARGUMENTS)
            )
            self._container.start()
        host = self._container.get_container_host_ip()
        super().__init__(
            name,
            f"amqp://guest:guest@{host}:{self._container.get_exposed_port(5672)}/",
            f"http://{host}:{self._container.get_exposed_port(15672)}",
        )
        self.wait_until_ready()

    def stop(self) -> None:
        """Stop the node, and with it the container.

        Through rabbitmqctl, since an image whose first process is a shell script does not hand on TERM.
        """
        self.control("stop")
        self._container.get_wrapped_container().wait(timeout=30)

    def start(self) -> None:
        """Start the container."""
        self._container.get_wrapped_container().start()
        self.wait_until_ready()

    def kill(self) -> None:
        """Kill the container."""
        self._container.get_wrapped_container().kill()

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` in the container."""
        done = self._container.get_wrapped_container().exec_run(["rabbitmqctl", *arguments])
        assert isinstance(done.output, bytes)
        text = done.output.decode(errors="replace")
        assert done.exit_code == 0, text
        return text

    def close(self) -> None:
        """Remove the container and its volume."""
        self._container.stop()


class PrivateBroker(Broker):
    """The distribution's RabbitMQ as a child process."""

    def __init__(self, name: str, state_dir: Path) -> None:
        from control.embedded import EmbeddedBroker

        self._node = EmbeddedBroker(state_dir, say=lambda line: None, management=True, settings=_STATISTICS)
        self._node.start()
        super().__init__(name, self._node.url, self._node.management_url)
        self.wait_until_ready()

    def stop(self) -> None:
        """Stop the node."""
        self._node.stop()

    def start(self) -> None:
        """Start the node."""
        self._node.start()
        self.wait_until_ready()

    def kill(self) -> None:
        """Kill the node."""
        self._node.kill()

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on the node."""
        return self._node.control(*arguments)

    def close(self) -> None:
        """Stop the node for good."""
        self._node.stop()


class NoBrokerError(Exception):
    """No such broker can be had on this machine; the text says why."""


def given_brokers() -> dict[str, tuple[str, str]]:
    """What `FSHERALD_TEST_BROKERS` names: `id=amqp-url|management-url,...`, brokers that already run."""
    brokers = {}
    for item in filter(None, os.environ.get("FSHERALD_TEST_BROKERS", "").split(",")):
        name, _, urls = item.partition("=")
        amqp_url, _, management_url = urls.partition("|")
        brokers[name.strip()] = (amqp_url.strip(), management_url.strip())
    return brokers


def broker_names() -> list[str]:
    """The brokers that this run tests against, decided when tests are collected; none is started by that."""
    if given := given_brokers():
        return list(given)
    version = _distribution_version()
    if version is None:
        return ["rabbitmq-4", "rabbitmq-3"]
    return ["rabbitmq-4", "rabbitmq-3.10" if version.startswith("3.10.") else f"private-{version}"]


def _distribution_version() -> str | None:
    """The version of the distribution's rabbitmq-server, or None where it is not installed."""
    if not Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() or shutil.which("dpkg-query") is None:
        return None
    command = ["dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.partition("-")[0] if found.returncode == 0 else None


class Brokers:
    """The brokers of a test session: each started when it is first asked for, all stopped at the end."""

    def __init__(self, make_directory: Callable[[str], Path]) -> None:
        self._make_directory = make_directory
        self._running: dict[str, Broker] = {}
        self._close: list[Callable[[], None]] = []
        self._failed: dict[str, NoBrokerError] = {}

    def get(self, name: str) -> Broker:
        """The broker of that name, running.

        Raises:
            NoBrokerError: It can't be had here; asked again, the same answer comes at once.
        """
        if name in self._failed:
            raise self._failed[name]
        if name not in self._running:
            try:
                self._running[name] = self._start(name)
            except NoBrokerError as exc:
                self._failed[name] = exc
                raise
        return self._running[name]

    def close(self) -> None:
        """Stop every broker that was started here."""
        for close in reversed(self._close):
            close()

    def _start(self, name: str) -> Broker:
        if (given := given_brokers().get(name)) is not None:
            return GivenBroker(name, *given)
        if name in ("rabbitmq-4", "rabbitmq-3"):
            container = _container(name, f"{name.replace('-', ':')}-management")
            self._close.append(container.close)
            return container
        private = PrivateBroker(name, self._make_directory(name))
        self._close.append(private.close)
        return private


def _container(name: str, image: str) -> ContainerBroker:
    import docker.errors
    from testcontainers.core.config import testcontainers_config

    try:
        try:
            return ContainerBroker(name, image)
        except docker.errors.APIError as exc:
            # testcontainers starts a helper (Ryuk) first, which removes what a killed run leaves. Where its
            # image is out of reach we do without: what is started here is removed at the end of the session.
            if "ryuk" not in str(exc) or testcontainers_config.ryuk_disabled:
                raise
            testcontainers_config.ryuk_disabled = True
            return ContainerBroker(name, image)
    except docker.errors.DockerException as exc:
        raise NoBrokerError(f"no Docker engine with the image {image}: {str(exc)[:120]}") from exc


class GivenBroker(Broker):
    """A broker that somebody else runs: it is not stopped, and its data are none of our business."""

    def stop(self) -> None:
        """Refuse: others may use it."""
        import pytest

        pytest.skip(f"{self.name} was given by FSHERALD_TEST_BROKERS and is not stopped")

    start = kill = stop

    def control(self, *arguments: str) -> str:
        """Refuse: it may run anywhere."""
        import pytest

        pytest.skip(f"{self.name} was given by FSHERALD_TEST_BROKERS; rabbitmqctl does not reach it")
