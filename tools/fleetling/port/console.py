# SPDX-License-Identifier: MIT
"""A terminal on a board's prompt that outlives the board's resets.

Nothing is sent but what is typed, so the agent goes on. The terminal is as it was, however this
ends.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from select import select
from typing import Any

import serial

from fleetling.errors import FleetlingError
from fleetling.port.prompt import port_error

__all__ = ["LEAVE", "Console"]

LEAVE = (b"\x1d", b"\x18")  # Ctrl-] as miniterm has it, Ctrl-X as mpremote has too
BAUD = 115200
LOOK_S = 0.05
AGAIN_S = 0.5


class Console:
    """A console on `port`. On a terminal keys go to the board; else its output is printed."""

    def __init__(self, port: str) -> None:
        self._port = port
        self._typed = sys.stdin.isatty() and sys.stdout.isatty()
        self._in = sys.stdin.fileno() if self._typed else -1
        self._left = False

    def run(self) -> int:
        """Until it is left; the exit code.

        Raises:
            PortError: the port cannot be opened at the start.
        """
        line = self._open()
        try:
            if not self._typed:
                with suppress(KeyboardInterrupt, BrokenPipeError):
                    self._carry(line)
                return 0
            self._say(
                f"{self._port}: Ctrl-] or Ctrl-X leaves. The agent goes on; Ctrl-C stops it and "
                "gives its prompt."
            )
            with _raw(self._in):
                self._carry(line)
            self._say("")
            return 0
        finally:
            line.close()

    def _open(self) -> Any:
        try:
            return serial.serial_for_url(self._port, BAUD, timeout=0, exclusive=True)
        except (OSError, ValueError) as e:
            raise port_error(self._port, e) from e

    def _carry(self, line: Any) -> None:
        """Carries bytes both ways, over losses of the port, until a person leaves."""
        while not self._left:
            try:
                self._type(line)
                data = line.read(4096)
            except OSError as e:
                line.close()
                self._say(f"{self._port} is gone ({_short(e)}); waiting for it.")
                self._wait(line)
                continue
            if data:
                _print(data)

    def _type(self, line: Any) -> None:
        """Waits for either side a moment; sends what was typed."""
        watched: list[Any] = [self._in] if self._typed else []
        with suppress(OSError, ValueError, AttributeError):  # what is no file is looked at again
            watched.append(line.fileno())
        if not watched:
            time.sleep(LOOK_S)
        elif self._in in select(watched, [], [], LOOK_S)[0]:
            keys = self._keys()
            if keys:
                line.write(keys)

    def _keys(self) -> bytes:
        """What was typed, up to a key that leaves."""
        keys = os.read(self._in, 1024)
        at = [keys.index(key) for key in LEAVE if key in keys]
        if at or not keys:  # or the terminal is gone
            self._left = True
            return keys[: min(at, default=0)]
        return keys

    def _wait(self, line: Any) -> None:
        while not self._left:
            if self._typed and select([self._in], [], [], AGAIN_S)[0]:
                self._keys()
            elif not self._typed:
                time.sleep(AGAIN_S)
            try:
                line.open()
            except (OSError, ValueError):
                continue
            self._say(f"{self._port} is back.")
            return

    def _say(self, text: str) -> None:
        # Raw or not: a line of its own.
        sys.stderr.write(f"\r{text}\r\n" if self._typed else f"{text}\n")
        sys.stderr.flush()


def _print(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _short(e: OSError) -> str:
    return str(e).partition(":")[0] or type(e).__name__


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """The terminal passes every key on at once, and is put back at the end."""
    try:
        import termios
        import tty
    except ImportError as e:
        raise FleetlingError(
            "This console needs a POSIX terminal", "On Windows: mpremote connect PORT"
        ) from e
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
