# SPDX-License-Identifier: MIT
"""The official MicroPython v1.23.0 for the ESP32, out of a package's source archive."""

from __future__ import annotations

from fetched import NotThere, fetched

__all__ = ["NotThere", "official_download"]

PACKAGE = "mp-image-tool-esp32==0.1.1"
MEMBER = "tests/data/ESP32_GENERIC-20240602-v1.23.0.bin"
SHA256 = "5e442176c7e90347aa102915077dda59f795af190f907f3919ee1e4e57984716"


def official_download() -> bytes:
    """The file as downloaded from MicroPython: bootloader, partition table, app.

    Raises:
        NotThere: it cannot be had here.
    """
    return fetched(PACKAGE, MEMBER, SHA256, source=True).read_bytes()
