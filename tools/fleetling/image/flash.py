# SPDX-License-Identifier: MIT
"""A whole flash: partition table, NVS, firmware, and a file system with the agent's first slot."""

from __future__ import annotations

from esp_idf_defs import PartitionTable

from fleetling import device
from fleetling.errors import FleetlingError
from fleetling.image.filesystem import build_filesystem

__all__ = ["build_flash", "first_files"]

TABLE_AT = 0x8000
FLASH_SIZE = 0x400000


def first_files(
    version: str, app: dict[str, bytes] | None = None, *, compiled: bool = True
) -> dict[str, bytes]:
    """The files of a new board: boot.py, main.py, rescue.py and the first slot."""
    slot = device.slot_files(version, app, compiled=compiled)
    return {**device.board_files(), "slots/factory.pack": device.pack(slot)}


def build_flash(
    *, firmware: bytes, nvs: bytes, files: dict[str, bytes], size: int = FLASH_SIZE
) -> bytes:
    """The flash of a new board without its bootloader; unwritten bytes are 0xFF.

    Args:
        firmware: the app image for the first slot.
        nvs: the bytes of the NVS partition.
        files: what the file system holds, by path.
        size: of the flash, in bytes.

    Raises:
        FleetlingError: something does not fit its partition.
    """
    table = PartitionTable.from_csv(device.partition_table("4mb"))
    table.verify()
    flash = bytearray(b"\xff" * size)
    parts = {
        "nvs": nvs,
        "ota_0": firmware,
        "vfs": build_filesystem(files, table["vfs"].size),
    }
    binary = table.to_binary()
    flash[TABLE_AT : TABLE_AT + len(binary)] = binary
    for label, data in parts.items():
        partition = table[label]
        if len(data) > partition.size:
            raise FleetlingError(
                f"{label} would hold {len(data)} bytes; {partition.size} fit",
                "Use a board with more flash and a larger layout.",
            )
        flash[partition.offset : partition.offset + len(data)] = data
    return bytes(flash)
