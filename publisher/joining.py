"""pika's connection, with what it sends in as few system calls as make sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pika

if TYPE_CHECKING:
    from collections.abc import Sequence

_JOINED_BYTES = 64 << 10
"""Up to here frames go out in one piece: copying them costs less than a system call each."""


class JoiningConnection(pika.SelectConnection):
    """pika's would send the method, the header and the body of a message in a packet each. For its own thread."""

    _kept: list[bytes] | None = None
    _kept_bytes = 0

    def keep(self) -> None:
        """Keeps what is to be sent until `release`, and sends it in as few pieces as make sense."""
        self._kept = []

    def release(self) -> None:
        """Sends what was kept."""
        self._send_kept()
        self._kept = None

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        size = sum(map(len, marshaled_frames))
        if self._kept is not None:
            if self._kept_bytes + size > _JOINED_BYTES:
                self._send_kept()
            if size <= _JOINED_BYTES:
                self._kept += marshaled_frames
                self._kept_bytes += size
                return
        elif len(marshaled_frames) > 1 and size <= _JOINED_BYTES:
            marshaled_frames = [b"".join(marshaled_frames)]
        super()._output_marshaled_frames(marshaled_frames)

    def _send_kept(self) -> None:
        if self._kept:
            super()._output_marshaled_frames([b"".join(self._kept)])
            self._kept = []
            self._kept_bytes = 0
