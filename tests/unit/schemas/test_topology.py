"""Names on the broker."""

from __future__ import annotations

import uuid

import pytest

from schemas.events import EventType
from schemas.topology import (
    Topology,
    app_id,
    message_id,
    routing_key,
    routing_key_matches,
    validate_namespace,
)
from schemas.version import __version__


def test_the_names_of_a_server_begin_with_its_namespace() -> None:
    """Servers that share a broker take one namespace each."""
    names = Topology("fsherald.microscope-7")

    assert names.control == "fsherald.microscope-7.control"
    assert names.files == "fsherald.microscope-7.files"
    assert names.events == "fsherald.microscope-7.events"
    assert names.dead_letter == "fsherald.microscope-7.dead-letter"
    assert names.monitor_exchange("0d7c") == "fsherald.microscope-7.monitor.0d7c"


def test_the_namespace_is_fsherald_unless_told_otherwise() -> None:
    """The default of the protocol page."""
    assert Topology().control == "fsherald.control"


@pytest.mark.parametrize(
    "namespace", ["", "a b", ".a", "a.", "a..b", "amq", "amq.x", "a\n", "a#", "a*", "é", "a/b", "a" * 129]
)
def test_a_namespace_that_could_not_name_anything_is_refused(namespace: str) -> None:
    """What the broker keeps for itself, wildcards, spaces, and what would be too long."""
    with pytest.raises(ValueError, match="must"):
        Topology(namespace)


@pytest.mark.parametrize("namespace", ["fsherald", "a", "A_1-b.c", "amqp", "a" * 128])
def test_an_ordinary_namespace_is_accepted(namespace: str) -> None:
    """Words of letters, digits, _ and -, joined by dots."""
    assert validate_namespace(namespace) == namespace


@pytest.mark.parametrize(
    ("types", "key"),
    [
        (["Create"], "m.create"),
        (["Delete", "Create", "Delete"], "m.create.delete"),
        (["Modify", "Delete", "Create"], "m.create.delete.modify"),
        (["System"], "m.system"),
        ([EventType.MODIFY, "Modify", EventType.CREATE], "m.create.modify"),
    ],
)
def test_a_routing_key_has_the_distinct_types_in_alphabetical_order(types: list[str], key: str) -> None:
    """One key for each set of types, whatever the order and number of events."""
    assert routing_key("m", types) == key


def test_every_name_and_key_stays_within_what_amqp_can_carry() -> None:
    """Short strings have 255 bytes."""
    monitor_id = str(uuid.uuid1())

    assert len(Topology("n" * 128).monitor_exchange(monitor_id)) <= 255
    assert len(routing_key(monitor_id, EventType)) <= 255


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("#", "m.create", True),
        ("#.create.#", "m.create", True),
        ("#.create.#", "m.create.delete", True),
        ("#.create.#", "m.delete", False),
        ("*.system", "m.system", True),
        ("*.system", "m.create.system", False),
        ("m.#", "m.create.modify", True),
        ("m.#", "n.create", False),
        ("m", "m", True),
        ("*", "", True),
        ("#.#", "m", True),
    ],
)
def test_a_binding_matches_as_a_topic_exchange_does(pattern: str, key: str, matches: bool) -> None:
    """`*` is one word, `#` any number of words."""
    assert routing_key_matches(pattern, key) is matches


def test_a_message_id_is_the_monitor_and_the_sequence() -> None:
    """The key for removing duplicates."""
    assert message_id("0d7c", 17) == "0d7c:17"


def test_the_app_id_names_the_version() -> None:
    """In every message."""
    assert app_id() == f"fsherald/{__version__}"
