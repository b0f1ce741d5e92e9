"""What the words of the peers mean, and what counts as telling."""

from __future__ import annotations

import pytest

from bench.losses.ear import CREATED, DELETED, MODIFIED, OTHER
from bench.losses.peers import PEERS, _distribution, said
from bench.losses.subscriber import events

BY_NAME = {peer.name: peer for peer in PEERS}


@pytest.mark.parametrize(
    ("name", "word", "kind"),
    [
        ("watchdog", "created", CREATED),
        ("watchdog", "moved_from", DELETED),
        ("watchdog", "closed", OTHER),
        ("watchfiles", "added", CREATED),
        ("inotifywait", "CREATE,ISDIR", CREATED),
        ("inotifywait", "MODIFY", MODIFIED),
        ("inotifywait", "CLOSE_WRITE,CLOSE", OTHER),
        ("inotifywait", "MOVED_FROM,ISDIR", DELETED),
    ],
)
def test_a_word_of_a_peer_is_one_of_the_kinds(name: str, word: str, kind: str) -> None:
    """All are compared by the same kinds."""
    assert BY_NAME[name].kind_of(word) == kind


def test_of_a_traceback_the_last_line_counts() -> None:
    """The frames above it say where, not what."""
    lines = [
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in <module>',
        "    main()",
        "OSError: inotify watch limit reached",
        "and so it ends",
    ]
    assert said(lines) == ["OSError: inotify watch limit reached", "and so it ends"]


def test_a_greeting_is_not_telling() -> None:
    """inotifywait says on its standard error that it has begun."""
    chatter = BY_NAME["inotifywait"].chatter
    assert said(["Setting up watches.  Beware: …", "Watches established."], chatter) == []
    assert said(["Couldn't watch new directory x"], chatter) == ["Couldn't watch new directory x"]


def test_what_is_not_installed_has_no_version() -> None:
    """Its column says so, and how it is installed."""
    assert _distribution("no-such-watcher-anywhere")() is None
    assert all(peer.install for peer in PEERS)


def test_the_subscriber_prints_every_event_of_a_block() -> None:
    """In its order; of a System event the text, with the code of its detail."""
    body = (
        b'{"monitorId": "m", "sequence": 1, "events": ['
        b'{"fileId": "/a", "baseName": "a", "type": "Create"},'
        b'{"fileId": "Overflow", "baseName": "", "type": "System", "detail": {"code": "overflow"}}]}'
    )
    assert list(events(body)) == [("Create", "/a"), ("System", "Overflow (overflow)")]
