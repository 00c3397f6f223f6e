# SPDX-License-Identifier: MIT
"""The slots on a board, by the manifests at the start of their packs."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib

from fleetling import device
from fleetling.port.board import Board

__all__ = ["NAMES", "files_of", "running", "wanted_agent"]

NAMES = ("factory", "a", "b")
LONGEST = 65536


def running(word: int) -> str:
    """The slot that starts next, of the number that boot.py keeps (agent/update/slotword.py)."""
    trial = word >> 2 & 3
    return NAMES[(trial or word & 3) % len(NAMES)]


def files_of(board: Board, slot: str) -> dict[str, str] | None:
    """SHA-256 by path of what a slot's manifest names; None where the pack is none.

    Raises:
        RaisedError: there is no such slot.
    """
    path = f"/slots/{slot}.pack"
    data = b""
    length = 12
    while len(data) < length:
        part = base64.b64decode(board.ask(f"fl.part({path!r}, {len(data)})"))
        if not part:
            return None
        data += part
        magic, size, crc = struct.unpack_from("<4sII", data)
        if magic != b"FLPK" or size > LONGEST:
            return None
        length = 12 + size
    made = data[12:length]
    if zlib.crc32(made) != crc:
        return None
    return {path: digest for path, _, digest in json.loads(made)["files"]}


def wanted_agent() -> dict[str, str]:
    """SHA-256 by path of the agent's files as this installation builds them."""
    files = device.slot_files("0")
    return {
        path: hashlib.sha256(data).hexdigest()
        for path, data in files.items()
        if path.startswith("agent/")
    }
