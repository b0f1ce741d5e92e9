"""The signals that end the service, for as long as it runs."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ENDING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def ending_signals(on_first: Callable[[], None], on_next: Callable[[], None]) -> Iterator[None]:
    """Has `on_first` called at the first SIGTERM or SIGINT, `on_next` at every further one. Main thread only.

    Each is called on a thread of its own: a handler that took a lock might wait for the very code it interrupts.
    """
    seen: list[int] = []

    def handle(number: int, _frame: object) -> None:
        seen.append(number)
        target = on_first if len(seen) == 1 else on_next
        threading.Thread(target=target, name="signal", daemon=True).start()

    before = {number: signal.signal(number, handle) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
