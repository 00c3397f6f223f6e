# SPDX-License-Identifier: MIT
"""A board's prompt through mpremote: the only module that imports it.

mpremote's modules are not a promised interface. What is used of them is here, and a contract test
holds it against the installed version.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from fleetling.port import prompt

__all__ = ["Mpremote"]

ATTEMPTS = 3  # the first may fall into a start, where the board is deaf
ANSWER_S = 4
READ_S = 5
QUIET_S = 0.5
OPENINGS = 3  # more, while another program has the port


def _opened(port: str) -> Any:
    for left in range(OPENINGS, -1, -1):
        try:
            return SerialTransport(port, timeout=READ_S)
        except TransportError as e:
            why = prompt.reason(port)
            if not (why.passes and left):
                raise why from e
            time.sleep(QUIET_S)
    raise AssertionError


class Mpremote:
    """The prompt of the board on `port`, which is open from here on.

    Raises:
        PortError: it cannot be opened.
    """

    def __init__(self, port: str) -> None:
        self.port = port
        try:
            self._transport = _opened(port)
        except ValueError as e:
            raise prompt.port_error(port, e) from e
        # On a pseudo-terminal it would wait in reads, past its own time-outs; nothing here needs
        # that.
        self._transport.is_pty = False

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            with redirect_stdout(io.StringIO()):  # it prints what it did not understand
                yield
        except TransportError as e:
            raise prompt.stopped(self.port) from e
        except OSError as e:
            raise prompt.port_error(self.port, e) from e

    def enter(self) -> None:
        with self._blamed():
            for attempt in range(ATTEMPTS):
                with suppress(TransportError):
                    self._transport.enter_raw_repl(soft_reset=False, timeout_overall=ANSWER_S)
                    if attempt:  # what was typed in vain is answered too, before it counts
                        time.sleep(QUIET_S)
                        self._transport.enter_raw_repl(soft_reset=False, timeout_overall=ANSWER_S)
                    return
        raise prompt.silent(self.port)

    def run(self, code: str, silence_s: float = 10) -> bytes:
        with self._blamed():
            out, error = self._transport.exec_raw(code, timeout=silence_s)
        if error:
            raise prompt.raised(error.decode(errors="replace"))
        return bytes(out)

    def let_go(self, code: str) -> None:
        with self._blamed():
            self._transport.exec_raw_no_follow(code)

    def soft_reset(self) -> None:
        with self._blamed():
            self._transport.enter_raw_repl(soft_reset=True)

    def leave(self) -> None:
        with self._blamed():
            self._transport.exit_raw_repl()

    def close(self) -> None:
        with suppress(OSError, TransportError):
            self._transport.close()
        with suppress(OSError):
            self._transport.serial.close()
