# SPDX-License-Identifier: MIT
"""The prompt of a board: what every tool that speaks to it has to be able to do.

What goes wrong is one of three, by who is to blame: the port, what is on it, the code that ran.
"""

from __future__ import annotations

import errno
import re
from typing import Protocol

import serial

from fleetling.errors import FleetlingError

__all__ = [
    "PortError",
    "Prompt",
    "RaisedError",
    "SilentError",
    "port_error",
    "raised",
    "reason",
    "silent",
    "stopped",
]

ERRNO = re.compile(r"\[Errno (\d+)\]|^\(?(-?\d+)\b")
# What an errno of the board's file system means to the person at the host.
MEANS = {
    errno.ENOENT: "it is not there",
    errno.EIO: "its flash cannot be read or written",
    errno.EEXIST: "it is there already",
    errno.ENODEV: "nothing is mounted there",
    errno.ENOSPC: "the file system is full",
    errno.EROFS: "it can only be read",
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "it is no folder",
}


class PortError(FleetlingError):
    """The port cannot be opened, or is gone: this machine, its cable, another program.

    Attributes:
        passes: whether it may well go by itself.
    """

    passes = False


class SilentError(FleetlingError):
    """What is at the other end does not answer as MicroPython does."""


class RaisedError(FleetlingError):
    """Code has raised on the board.

    Attributes:
        kind: the exception's name.
        number: the errno of an OSError, else None.
        trace: as the board printed it.
    """

    def __init__(self, message: str, kind: str, number: int | None, trace: str) -> None:
        super().__init__(message, trace.strip())
        self.kind = kind
        self.number = number
        self.trace = trace


class Prompt(Protocol):
    """A board's raw prompt."""

    port: str

    def enter(self) -> None:
        """Stops what runs, and gets the raw prompt.

        Raises:
            SilentError: nothing answers.
        """

    def run(self, code: str, silence_s: float = 10) -> bytes:
        """What the code prints.

        Args:
            code: MicroPython.
            silence_s: the longest that it may print nothing.

        Raises:
            RaisedError: it raised.
            SilentError: it did not come to an end.
        """

    def let_go(self, code: str) -> None:
        """Runs code that ends in a reset, and does not wait for it."""

    def soft_reset(self) -> None:
        """A new interpreter with the raw prompt; boot.py runs, main.py does not."""

    def leave(self) -> None:
        """Back to the prompt for people."""

    def close(self) -> None:
        """Gives the port back; never raises."""


def raised(trace: str) -> RaisedError:
    """The error of a traceback that a board has printed."""
    lines = [line for line in trace.strip().splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "an exception without a word"
    kind, _, text = last.partition(":")
    number = None
    if kind == "OSError" and (found := ERRNO.search(text.strip())):
        number = int(found[1] or found[2])
    meaning = MEANS.get(number or 0)
    said = f"{meaning} ({last})" if meaning else last
    return RaisedError(f"The board says: {said}", kind, number, trace)


def reason(port: str) -> PortError:
    """Why the port cannot be opened: it is tried once more."""
    try:
        serial.serial_for_url(port, exclusive=True).close()
    except (OSError, ValueError) as e:
        return port_error(port, e)
    moment = PortError(f"{port} was busy for a moment", "Run the command again.")
    moment.passes = True
    return moment


def port_error(port: str, e: Exception) -> PortError:
    """What an exception of pyserial's means."""
    text = str(e)
    number = getattr(e, "errno", None)
    if isinstance(e, ValueError):
        return PortError(
            f"{port} is no port: {text}",
            "Give a device, rfc2217://HOST:PORT or socket://HOST:PORT.",
        )
    if number == errno.ENOENT or "FileNotFoundError" in text:
        return PortError(f"There is no port {port}", "`fleetling ports` lists those that are.")
    if number == errno.EACCES or "PermissionError" in text or "Access is denied" in text:
        return PortError(
            f"{port} may not be opened by you",
            "On Linux ports belong to a group: sudo usermod -aG dialout $USER, and log in again. "
            "On Windows another program has it open.",
        )
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        busy = PortError(
            f"{port} is in use by another program",
            "Close the other console or editor (mpremote, Thonny, screen...) and try again.",
        )
        busy.passes = True
        return busy
    if "://" in port:
        return PortError(f"{port} cannot be reached: {text}", "Is its server running?")
    return PortError(f"{port} does not work: {text}", "Plug the board in again.")


def silent(port: str) -> SilentError:
    """Nothing at the other end has answered."""
    return SilentError(
        f"No MicroPython answers on {port}",
        "Is it the right port (fleetling ports)? Press the board's reset button and try again. "
        "A board without MicroPython: fleetling flash.",
    )


def stopped(port: str) -> SilentError:
    """The board answered before, and does not any more."""
    return SilentError(
        f"The board on {port} has stopped answering",
        "It may have reset, or its cable is loose. Run the command again.",
    )
