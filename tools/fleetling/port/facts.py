# SPDX-License-Identifier: MIT
"""What a board says of itself at its prompt, as values. No secret is among them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetling.port.board import HASH_S, Board, lean

__all__ = ["Facts", "Partition", "ask"]

ONFACTS = Path(__file__).with_name("onfacts.py")
APP, DATA = 0, 1
OTA_0 = 16
UNDEFINED = 0xFFFFFFFF
STATES = {0: "new", 1: "pending", 2: "valid", 3: "invalid", 4: "aborted", UNDEFINED: "undefined"}


@dataclass(frozen=True)
class Partition:
    """A row of the board's partition table."""

    kind: int
    subtype: int
    address: int
    size: int
    label: str


@dataclass(frozen=True)
class Facts:
    """One board, at one moment.

    Attributes:
        said: what it said, by name (port/onfacts.py).
    """

    said: dict[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A fact that is a text, "" where it is not known."""
        return str(self.said.get(name) or "")

    def number(self, name: str) -> int:
        """A fact that is a number, 0 where it is not known."""
        found = self.said.get(name)
        return found if isinstance(found, int) else 0

    def data(self, name: str) -> bytes:
        """A fact that is a certificate, b"" where there is none."""
        return bytes.fromhex(self.text(name))

    @property
    def version(self) -> tuple[int, ...]:
        """MicroPython's."""
        return tuple(self.said.get("version") or ())

    @property
    def partitions(self) -> list[Partition]:
        return [Partition(*row[:5]) for row in self.said.get("partitions") or []]

    def partition(self, label: str) -> Partition | None:
        return next((each for each in self.partitions if each.label == label), None)

    @property
    def slots(self) -> list[Partition]:
        """The partitions that firmware updates take turns in."""
        return [p for p in self.partitions if p.kind == APP and OTA_0 <= p.subtype < OTA_0 + 16]

    @property
    def firmware_state(self) -> str:
        """What otadata says of the firmware that runs: a word of STATES, or "" for nothing."""
        entries = []
        for text in self.said.get("otadata") or []:
            number, state, crc = struct.unpack_from("<I20xII", bytes.fromhex(text))
            if number != UNDEFINED and zlib.crc32(struct.pack("<I", number), UNDEFINED) == crc:
                entries.append((number, state))
        count = len(self.slots)
        for number, state in sorted(entries, reverse=True):
            if count and self.slots[(number - 1) % count].label == self.text("runs"):
                return STATES.get(state, "unknown")
        return ""


def ask(board: Board) -> Facts:
    """Asks a board. Where it lacks something, the facts lack it too."""
    return Facts(board.ask(lean(ONFACTS.read_text()) + "del Facts\n", HASH_S))
