"""The whole service in this process, on a real broker, for tests that look at it from a client's side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control.config import load_config
from control.service import Service, build
from tests.waiting import eventually


@contextmanager
def serving(url: str, root: Path, state: Path, **settings: object) -> Iterator[Service]:
    """A service that answers; stopped at the end."""
    root.mkdir(exist_ok=True)
    service = build(load_config(amqp_url=url, roots=str(root), state_dir=state, **settings))
    try:
        service.start()
        eventually(lambda: service.unready() is None)
        yield service
    finally:
        service.stop()
