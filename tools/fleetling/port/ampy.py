# SPDX-License-Identifier: MIT
"""A board's prompt through adafruit-ampy, for benches that standardise on it.

The only module that imports it. It always starts with a soft reset, and opens devices alone, no
URLs.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

from fleetling.errors import FleetlingError
from fleetling.port import ports, prompt

__all__ = ["Ampy"]

ATTEMPTS = 3
ANSWER_S = 3
READ_S = 1
RAW = b"raw REPL; CTRL-B to exit"


class Ampy:
    """The prompt of the board on `port`, which is open from here on.

    Raises:
        FleetlingError: ampy is not installed.
        PortError: the port cannot be opened.
    """

    def __init__(self, port: str) -> None:
        try:
            from ampy import pyboard
        except ImportError as e:
            raise FleetlingError(
                "adafruit-ampy is not installed",
                "pip install 'fleetling[ampy]', or leave out --with ampy.",
            ) from e
        if ports.is_url(port):
            raise prompt.PortError(f"ampy cannot open {port}", "Leave out --with ampy.")
        self.port = port
        self._error = pyboard.PyboardError
        try:
            self._pyboard: Any = pyboard.Pyboard(port)
        except self._error as e:
            raise prompt.reason(port) from e
        self._pyboard.serial.timeout = READ_S  # ampy waits for ever for a first byte

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            with redirect_stdout(io.StringIO()):
                yield
        except self._error as e:
            raise prompt.stopped(self.port) from e
        except OSError as e:
            raise prompt.port_error(self.port, e) from e

    def enter(self) -> None:
        with self._blamed():
            # ampy itself takes a minute to find out that nobody is there.
            if not any(self._answers() for _ in range(ATTEMPTS)):
                raise prompt.silent(self.port)
            self._pyboard.enter_raw_repl()

    def _answers(self) -> bool:
        line = self._pyboard.serial
        line.write(b"\r\x03\r\x01")
        heard, until = b"", time.monotonic() + ANSWER_S
        while RAW not in heard and time.monotonic() < until:
            heard += line.read(max(1, line.in_waiting))
        return RAW in heard

    def run(self, code: str, silence_s: float = 10) -> bytes:
        with self._blamed():
            out, error = self._pyboard.exec_raw(code, timeout=silence_s)
        if error:
            raise prompt.raised(error.decode(errors="replace"))
        return bytes(out)

    def let_go(self, code: str) -> None:
        with self._blamed():
            self._pyboard.exec_raw_no_follow(code)

    def soft_reset(self) -> None:
        with self._blamed():
            self._pyboard.enter_raw_repl()

    def leave(self) -> None:
        with self._blamed():
            self._pyboard.exit_raw_repl()

    def close(self) -> None:
        with suppress(OSError):
            self._pyboard.close()
