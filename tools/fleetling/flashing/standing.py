# SPDX-License-Identifier: MIT
"""What a board carries already: whose it is, and whether it has a key of its own. Reads only."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from esp_idf_defs import PartitionTable

from fleetling.flashing.board import Loader
from fleetling.image.flash import TABLE_AT, Layout
from fleetling.simboard.chip import nvs_format
from fleetling.simboard.chip.flash import Flash, MemoryStore
from fleetling.simboard.chip.nvs import Nvs

__all__ = ["TABLE_SIZE", "Standing", "nvs_places", "read_standing", "standing_of"]

TABLE_SIZE = 0xC00
DATA, NVS = 1, 2
LARGEST = 0x40000


@dataclass(frozen=True)
class Standing:
    """What the NVS says.

    Attributes:
        device_id: of the identity that was put there; "" for none.
        enrolled: it made a key of its own, which nothing can make again.
    """

    device_id: str = ""
    enrolled: bool = False

    def __bool__(self) -> bool:
        return bool(self.device_id) or self.enrolled


def read_standing(nvs: bytes) -> Standing:
    """What an NVS partition's bytes say; one that cannot be read says nothing."""
    store = MemoryStore(len(nvs))
    store.write(0, nvs)
    try:
        opened = Nvs(Flash(store, len(nvs)), 0, len(nvs))
        given = opened.get("fl_factory", nvs_format.BLOB_V1, "id")
        own = opened.keys("fl_id")
    except (OSError, ValueError, struct.error):
        return Standing()
    return Standing(bytes(given or b"").decode("ascii", "replace"), bool(own))


def nvs_places(table: bytes, layout: Layout) -> list[tuple[int, int]]:
    """(offset, size) of every NVS that a board may have: by its own table, and by the new one.

    A board that was cut short has no table, and its NVS where the new one is.
    """
    entry = layout.table["nvs"]
    places = [(int(entry.offset), int(entry.size))]
    try:
        found = PartitionTable.from_binary(table)
    except (RuntimeError, ValueError, struct.error):
        return places
    for each in found:
        place = (int(each.offset), int(each.size))
        if (each.type, each.subtype) == (DATA, NVS) and place not in places:
            places.append(place)
    return [(offset, min(size, LARGEST)) for offset, size in places]


def standing_of(board: Loader, layout: Layout) -> Standing:
    """What a board says. What its MD5 shows to be blank is not read, which takes time."""
    found = Standing()
    table = _read(board, TABLE_AT, TABLE_SIZE)
    for offset, size in nvs_places(table, layout):
        each = read_standing(_read(board, offset, size))
        if each.enrolled or (each and not found):
            found = each
    return found


def _read(board: Loader, offset: int, size: int) -> bytes:
    blank = b"\xff" * size
    return blank if board.holds(offset, blank) else board.read(offset, size)
