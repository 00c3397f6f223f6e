# SPDX-License-Identifier: MIT
"""Which serial port: what was named, or the one that a board seems to be on.

In this order: what the command was given, FLEETLING_PORT, ESPTOOL_PORT, the only likely port. A
URL of pyserial's (`rfc2217://`, `socket://`) is taken as it is. Nothing is opened here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from serial.tools import list_ports

from fleetling.errors import FleetlingError

__all__ = ["VARIABLES", "Port", "choose", "is_url", "listed"]

VARIABLES = ("FLEETLING_PORT", "ESPTOOL_PORT")

ESPRESSIF = 0x303A
# What the chip's own USB calls itself. The three without a number of their own share the first.
NATIVE = {
    0x0002: "ESP32-S2",
    0x1001: "ESP32-S3, C3, C6 or H2",
    0x4001: "ESP32-S2 or S3, MicroPython's own USB",
}
# Bridges that ESP32 boards are sold with: the chip behind one cannot be told.
BRIDGES = {
    0x0403: "FTDI",
    0x067B: "PL2303",
    0x10C4: "CP210x",
    0x1A86: "CH340 or CH910x",
}


@dataclass(frozen=True)
class Port:
    """A serial port of this machine.

    Attributes:
        device: what `-p` takes.
        description: its driver's words.
        vid, pid: of the USB device, None where it is none.
        serial_number: the USB device's, "" where it has none.
        chip: what is likely on it; "" where nothing speaks for a board.
    """

    device: str
    description: str = ""
    vid: int | None = None
    pid: int | None = None
    serial_number: str = ""
    chip: str = ""

    @property
    def usb(self) -> str:
        """ "VID:PID" in hexadecimal digits, or ""."""
        return "" if self.vid is None else f"{self.vid:04X}:{self.pid or 0:04X}"

    @property
    def likely(self) -> bool:
        """Whether an ESP32 may well be there."""
        return bool(self.chip)

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "usb": self.usb, "likely": self.likely}


def _chip(vid: int | None, pid: int | None) -> str:
    if vid == ESPRESSIF:
        return NATIVE.get(pid or 0, "ESP32")
    bridge = BRIDGES.get(vid or 0)
    return f"any, behind {bridge}" if bridge else ""


def listed() -> list[Port]:
    """All serial ports, the likely ones first."""
    found = [
        Port(
            each.device,
            each.description if each.description not in (None, "n/a") else "",
            each.vid,
            each.pid,
            each.serial_number or "",
            _chip(each.vid, each.pid),
        )
        for each in list_ports.comports()
    ]
    return sorted(found, key=lambda port: (not port.likely, port.device))


def is_url(port: str) -> bool:
    """Whether the port is reached over a network, or is a loop of pyserial's."""
    return "://" in port


def choose(given: str | None, pick: Callable[[list[Port]], str] | None = None) -> str:
    """The port to use.

    Args:
        given: what the command was told, "" or None for nothing.
        pick: asks a person which of several; None where there is nobody to ask.

    Raises:
        FleetlingError: nothing was named, and there is no likely port or more than one.
    """
    for named in (given, *(os.environ.get(name) for name in VARIABLES)):
        if named:
            return named
    found = listed()
    likely = [port for port in found if port.likely]
    if len(likely) == 1:
        return likely[0].device
    if likely and pick is not None:
        return pick(likely)
    if likely:
        names = ", ".join(port.device for port in likely)
        raise FleetlingError(
            f"A board may be on each of {names}", "Say which one: -p PORT, or FLEETLING_PORT."
        )
    others = f" ({', '.join(port.device for port in found)}: not likely)" if found else ""
    raise FleetlingError(
        f"No port with a board was found{others}",
        "Plug it in with a cable that carries data, or name its port: -p PORT. "
        "`fleetling ports` lists them.",
    )
