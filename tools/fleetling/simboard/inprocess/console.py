# SPDX-License-Identifier: MIT
"""The serial console of the board, as a file that device code writes to and tests read."""

from __future__ import annotations

import sys

__all__ = ["Console"]


class Console:
    """Collects what is printed, over all lives. `echo` shows it as it comes, for debugging."""

    def __init__(self, echo: bool = False) -> None:
        self.echo = echo
        self.muted = False
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._parts)

    @property
    def buffer(self) -> Console:
        return self

    def write(self, data: str | bytes | bytearray) -> int:
        """Nothing is heard of a board that has no power."""
        text = data if isinstance(data, str) else bytes(data).decode("utf-8", "replace")
        if not self.muted:
            self._parts.append(text)
            if self.echo:
                sys.stderr.write(text)
        return len(data)

    def clear(self) -> None:
        """Forgets what was printed so far: tests with thousands of lives would drown in it."""
        self._parts.clear()

    def flush(self) -> None:
        return None
