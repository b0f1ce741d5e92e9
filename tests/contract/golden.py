"""The golden messages: one JSON file for each kind of message, as it crosses the broker."""

from __future__ import annotations

import json
from pathlib import Path

DIRECTORY = Path(__file__).parent / "golden"


def names(*patterns: str) -> list[str]:
    """The golden messages whose name fits one of the patterns, in order; never none."""
    found = sorted({path.stem for pattern in patterns for path in DIRECTORY.glob(f"{pattern}.json")})
    assert found, f"no golden message is called {patterns}"
    return found


def body(name: str) -> bytes:
    """The message as bytes."""
    return (DIRECTORY / f"{name}.json").read_bytes()


def value(name: str) -> object:
    """The message as the standard library reads it."""
    return json.loads(body(name))
