# SPDX-License-Identifier: MIT
"""A board in its loader, as the rest of this package sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

from fleetling.errors import FleetlingError

__all__ = ["Chip", "Loader", "NoBoard", "Watch"]

Watch = Callable[[int, int], None]


class NoBoard(FleetlingError):
    """Nothing answers on the port, or it stopped answering."""


@dataclass(frozen=True)
class Chip:
    """What the loader says about the chip.

    Attributes:
        name: such as "esp32s3".
        mac: such as "24:0a:c4:e2:95:26"; no two boards have the same.
        flash_size: in bytes; None where the flash does not say it.
        bootloader_at: where the ROM looks for the bootloader.
        locked: the protections that are burnt in, in words; [] for none.
    """

    name: str
    mac: str
    flash_size: int | None
    bootloader_at: int
    locked: list[str]


class Loader(Protocol):
    """What the loader does; fleetling.flashing.rom has the real one. Leaving it frees the port."""

    port: str
    chip: Chip

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def read(self, offset: int, size: int) -> bytes: ...
    def holds(self, offset: int, data: bytes) -> bool: ...
    def write(self, offset: int, data: bytes, watch: Watch | None = None) -> None: ...
    def erase(self, offset: int, size: int) -> None: ...
    def erase_all(self) -> None: ...
    def reset(self, how: str = "hard-reset") -> None: ...
