"""Names on the broker: exchanges, queues, routing keys, headers and message ids. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA_VERSION = 1
CONTENT_TYPE_JSON = "application/json"
CONTENT_TYPE_OCTETS = "application/octet-stream"
EVENT_LIST_TYPE = "EventList"

HEADER_SCHEMA = "schema"
HEADER_MONITOR_ID = "monitorId"
HEADER_SEQUENCE = "sequence"
HEADER_EVENT_COUNT = "eventCount"
HEADER_ACCEPT = "accept"
HEADER_VERSION = "version"

_NAMESPACE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.ASCII)
_NAMESPACE_MAX_LENGTH = 128


def validate_namespace(namespace: str) -> str:
    """Returns `namespace` if it can name exchanges and queues.

    Raises:
        ValueError: it cannot; the message is a sentence without its subject ("must ...").
    """
    if len(namespace) > _NAMESPACE_MAX_LENGTH or not _NAMESPACE.fullmatch(namespace):
        raise ValueError(
            "must be words of letters, digits, '_' and '-', joined by dots, "
            f"{_NAMESPACE_MAX_LENGTH} characters at most: {namespace!r}"
        )
    if namespace == "amq" or namespace.startswith("amq."):
        raise ValueError("must not begin with 'amq', which the broker keeps for itself")
    return namespace


@dataclass(frozen=True)
class Topology:
    """The names of one server; ValueError if the namespace cannot name anything."""

    namespace: str = "fsherald"

    def __post_init__(self) -> None:
        """Checks the namespace."""
        validate_namespace(self.namespace)

    @property
    def control(self) -> str:
        """The queue of commands."""
        return f"{self.namespace}.control"

    @property
    def files(self) -> str:
        """The queue of file queries."""
        return f"{self.namespace}.files"

    @property
    def events(self) -> str:
        """The topic exchange of every monitor's events."""
        return f"{self.namespace}.events"

    @property
    def dead_letter(self) -> str:
        """The queue of requests that nobody could read or answer."""
        return f"{self.namespace}.dead-letter"

    def monitor_exchange(self, monitor_id: str) -> str:
        """The topic exchange of one monitor's events."""
        return f"{self.namespace}.monitor.{monitor_id}"


def routing_key(monitor_id: str, types: Iterable[str]) -> str:
    """`<monitorId>.<types>`: the distinct event types, lower case, in alphabetical order, joined by dots."""
    return ".".join((monitor_id, *sorted(each.lower() for each in set(types))))


def routing_key_matches(pattern: str, key: str) -> bool:
    """Whether a binding with `pattern` (`*` one word, `#` any number) gets what is published with `key`."""
    return _matches(pattern.split("."), key.split("."))


def _matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_matches(pattern[1:], words[start:]) for start in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _matches(pattern[1:], words[1:])


def message_id(monitor_id: str, sequence: int) -> str:
    """Identity of a block: the same on every redelivery."""
    return f"{monitor_id}:{sequence}"


def app_id() -> str:
    """What fsherald calls itself in every message."""
    return f"fsherald/{__version__}"
