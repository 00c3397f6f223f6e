# SPDX-License-Identifier: MIT
"""A board in the foreground, its prompt on a pseudo-terminal that serial tools can open.

The terminal's other end stays open here, so tools may come and go. Ctrl-C from a tool is turned
into the signal that interrupts running code, as the chip's UART driver does.
"""

from __future__ import annotations

import os
import pty
import sys
import threading
import time
import tty
from pathlib import Path
from select import select

from fleetling.simboard.process.board import AccessPoint, ProcessBoard

__all__ = ["BoardOnPty", "run_in_foreground"]

CTRL_C = 0x03
PIECE = 256  # what a terminal that takes anything takes at once
PATIENCE_S = 0.5


class BoardOnPty:
    """A powered board whose console is `path`; a context manager.

    Args:
        folder: the board's.
        points: the Wi-Fi networks around it.
    """

    def __init__(self, folder: Path, points: list[AccessPoint] | None = None) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self.link = folder / "tty"
        self._in, self._feed = os.pipe()
        self._out, board_out = os.pipe()
        self._board_out = board_out
        self.board = ProcessBoard(folder, points or [], stdin=self._in, stdout=board_out)
        self._ended = threading.Event()
        self._unread = False

    def __enter__(self) -> BoardOnPty:
        self.board.start()
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(self.path)
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.board.stop()
        self._thread.join()
        self.link.unlink(missing_ok=True)
        for descriptor in (
            self._master,
            self._slave,
            self._in,
            self._feed,
            self._out,
            self._board_out,
        ):
            os.close(descriptor)

    def _carry(self) -> None:
        """Carries bytes between the terminal and the board until the end."""
        while not self._ended.is_set():
            ready, _, _ = select([self._master, self._out], [], [], 0.1)
            if self._out in ready:
                self._show(os.read(self._out, 4096))
            if self._master in ready:
                self._type(os.read(self._master, 4096))

    def _show(self, data: bytes) -> None:
        # With nobody at the other end the terminal's buffer fills up; a board's UART drops then
        # too. Whoever reads is waited for, once: a terminal here holds less than a host's driver.
        data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        while data:
            _, writable, _ = select([], [self._master], [], 0 if self._unread else PATIENCE_S)
            self._unread = not writable
            if self._unread:
                return
            data = data[os.write(self._master, data[:PIECE]) :]

    def _type(self, data: bytes) -> None:
        while data:
            before, found, data = data.partition(bytes((CTRL_C,)))
            if before:
                os.write(self._feed, before)
            if found:
                self.board.interrupt()


def run_in_foreground(folder: Path, points: list[AccessPoint]) -> int:
    """Runs the board in `folder`, with these networks in the air, until Ctrl-C; the exit code."""
    with BoardOnPty(folder, points) as running:
        # The path is the result of the command; scripts read it.
        sys.stdout.write(
            f"The board in {folder} is on {running.path} (and {running.link}).\n"
            f"Its prompt: mpremote connect {running.path}\nCtrl-C switches it off.\n"
        )
        sys.stdout.flush()
        try:
            while running.board.powered:
                time.sleep(0.5)
        except KeyboardInterrupt:
            sys.stdout.write("\nSwitched off.\n")
            return 0
    sys.stdout.write("The board has ended.\n")
    return 1
