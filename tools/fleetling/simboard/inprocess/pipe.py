# SPDX-License-Identifier: MIT
"""One direction of a virtual TCP connection: what takes time, gets stuck, or arrives.

Invariants: bytes arrive whole and in order or not at all; at most `window` bytes are on the way
or unread, the rest is not accepted (back-pressure); while the path is down nothing arrives and
nothing is lost, as retransmission makes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .clock import Clock

__all__ = ["Path", "Pipe"]

# While the path is down, TCP tries again; seldom enough to be cheap, often enough to be prompt.
_RETRY_US = 200_000


class Path:
    """How bytes travel between the board and a host; read at every step, so tests may change it
    at any time. `up()` says whether anything gets through."""

    def __init__(self, up: Callable[[], bool], latency_us: int, bytes_per_s: int) -> None:
        self.up = up
        self.latency_us = latency_us
        self.bytes_per_s = bytes_per_s


class Pipe:
    """Calls `deliver(data)` when bytes arrive and `on_space()` when more are accepted."""

    def __init__(
        self,
        clock: Clock,
        path: Path,
        window: int,
        deliver: Callable[[bytes], None],
        on_space: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._path = path
        self._window = window
        self._deliver = deliver
        self._on_space = on_space
        self._flying: deque[bytes | Callable[[], None]] = deque()
        self._unread = 0
        self._free_us = 0
        self.closed = False

    def space(self) -> int:
        return self._window - self._unread

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Takes what fits and returns how much that was."""
        chunk = bytes(data[: self.space()])
        if chunk:
            self._unread += len(chunk)
            self._launch(chunk, len(chunk))
        return len(chunk)

    def after(self, callback: Callable[[], None]) -> None:
        """Has `callback()` called at the other end, after all bytes sent so far."""
        self._launch(callback, 0)

    def consumed(self, count: int) -> None:
        """The receiver has taken bytes: as many more are accepted."""
        self._unread -= count
        if count:
            self._on_space()

    def close(self) -> None:
        """Nothing arrives any more."""
        self.closed = True
        self._flying.clear()

    def _launch(self, item: bytes | Callable[[], None], size: int) -> None:
        now = self._clock.now_us
        self._free_us = max(self._free_us, now) + size * 1_000_000 // self._path.bytes_per_s
        self._flying.append(item)
        self._clock.call_at(self._free_us + self._path.latency_us, self._land)

    def _land(self) -> None:
        if self.closed or not self._flying:
            return
        if not self._path.up():
            self._clock.call_at(self._clock.now_us + _RETRY_US, self._land)
            return
        item = self._flying.popleft()
        if callable(item):
            item()
        else:
            self._deliver(item)
