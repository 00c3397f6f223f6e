# SPDX-License-Identifier: MIT
"""What Fleetling looks at, and changes, in ESP-IDF's second-stage bootloader.

Source: ESP-IDF Programming Guide, "App Image Format" (bootloaders have the same header) and
"Bootloader".
"""

from __future__ import annotations

import hashlib
import re

from fleetling.release.firmware import image_length

__all__ = ["flash_size", "rolls_back", "start_of", "with_flash_size"]

_MB = 0x100000
_SIZE_AT = 3  # upper half of the byte: log2 of the size in MB
_CHIP_AT = 12
_HASHED_AT = 23
_HASH_SIZE = 32
_STARTS = {"esp32": 0x1000, "esp32s2": 0x1000, "esp32p4": 0x2000, "esp32c5": 0x2000}
# Said at ESP-IDF's level "debug" only, by code that is compiled in together with the rollback.
_ABORTS = b"is marking as ABORTED"
_FIRST_WITH_ROLLBACK = (3, 3)


def start_of(chip: str) -> int:
    """Where a chip's ROM looks for its bootloader."""
    return _STARTS.get(chip, 0)


def flash_size(bootloader: bytes) -> int:
    """Bytes of flash that the bootloader believes in; no partition may end beyond."""
    return _MB << (bootloader[_SIZE_AT] >> 4)


def with_flash_size(bootloader: bytes, size: int) -> bytes:
    """The bootloader for a flash of `size` bytes, its hash made anew.

    Raises:
        FleetlingError: it is no whole image.
    """
    length = image_length(bootloader)
    made = bytearray(bootloader[:length])
    made[_SIZE_AT] = ((size // _MB).bit_length() - 1) << 4 | made[_SIZE_AT] & 0x0F
    if made[_HASHED_AT] == 1:
        made[-_HASH_SIZE:] = hashlib.sha256(made[:-_HASH_SIZE]).digest()
    return bytes(made)


def rolls_back(bootloader: bytes, idf: str) -> bool | None:
    """Whether it takes back an update that nobody confirmed; None where its bytes do not tell.

    They tell in a build that logs at the level "debug", and in one that is older than the feature.
    At all other levels ESP-IDF compiles the same messages with and without it.

    Args:
        bootloader: its image.
        idf: the version of ESP-IDF that built the firmware, such as "v5.4.2".
    """
    if _ABORTS in bootloader:
        return True
    version = re.match(r"v?(\d+)\.(\d+)", idf)
    if version and (int(version[1]), int(version[2])) < _FIRST_WITH_ROLLBACK:
        return False
    return None
