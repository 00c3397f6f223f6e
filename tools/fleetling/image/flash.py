# SPDX-License-Identifier: MIT
"""What goes where in a flash: bootloader, partition table, NVS, firmware, a file system.

A flash is regions of whole sectors. The same regions are written to a board by `fleetling flash`,
and laid side by side in a file, so that both hold the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from esp_idf_defs import PartitionTable

from fleetling import device
from fleetling.errors import FleetlingError
from fleetling.image.filesystem import build_filesystem

__all__ = [
    "SECTOR",
    "TABLE_AT",
    "Layout",
    "Region",
    "build_flash",
    "first_files",
    "flash_regions",
    "join",
    "layout_names",
    "read_layout",
]

SECTOR = 0x1000
TABLE_AT = 0x8000
SMALLEST = 0x100000
APPS, DATA = 0, 1
OTADATA, NVS_KEYS = 0, 4


@dataclass(frozen=True)
class Region:
    """Bytes and where they go; both ends are those of sectors.

    Attributes:
        label: the partition's, or "bootloader" or "table".
        data: padded with 0xFF, which is what a sector holds when it is erased.
        used: bytes of it that are no padding.
    """

    label: str
    offset: int
    data: bytes
    used: int

    @property
    def end(self) -> int:
        return self.offset + len(self.data)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes without padding, in hex."""
        return hashlib.sha256(self.data[: self.used]).hexdigest()


@dataclass(frozen=True)
class Layout:
    """A partition table of firmware/, and the smallest flash that it is for."""

    name: str
    table: PartitionTable

    @property
    def size(self) -> int:
        """Bytes of flash that a chip has at least: a power of two."""
        size = SMALLEST
        while size < max(entry.offset + entry.size for entry in self.table):
            size *= 2
        return size

    @property
    def has_keys(self) -> bool:
        """Whether it has room for the keys of an encrypted NVS."""
        return any((entry.type, entry.subtype) == (DATA, NVS_KEYS) for entry in self.table)

    @property
    def slot(self) -> int:
        """Bytes of its smallest app partition."""
        return int(min(entry.size for entry in self.table if entry.type == APPS))

    def region(self, label: str, data: bytes) -> Region:
        """The region at the start of a partition.

        Raises:
            FleetlingError: it does not fit.
        """
        entry = self.table[label]
        if len(data) > entry.size:
            raise FleetlingError(
                f"{label} would hold {len(data):,} bytes; {entry.size:,} fit",
                "Use a board with more flash and a larger layout.",
            )
        return _region(label, int(entry.offset), data)


def _region(label: str, offset: int, data: bytes) -> Region:
    return Region(label, offset, data + b"\xff" * (-len(data) % SECTOR), len(data))


def layout_names() -> list[str]:
    """The layouts that there are, the smallest first."""
    tables = (device.source_folder() / "firmware").glob("partitions-*.csv")
    names = [path.stem.removeprefix("partitions-") for path in tables]
    return sorted(names, key=lambda name: (read_layout(name).size, name))


def read_layout(name: str) -> Layout:
    """A layout by its name, such as "4mb": the table of the official OTA build.

    Raises:
        FleetlingError: there is no such layout.
    """
    try:
        table = PartitionTable.from_csv(device.partition_table(name))
    except FileNotFoundError as e:
        raise FleetlingError(
            f"There is no layout {name!r}", f"Those that there are: {', '.join(layout_names())}."
        ) from e
    table.verify()
    return Layout(name, table)


def first_files(
    version: str, app: dict[str, bytes] | None = None, *, compiled: bool = True
) -> dict[str, bytes]:
    """The files of a new board: boot.py, main.py, rescue.py and the first slot."""
    slot = device.slot_files(version, app, compiled=compiled)
    return {**device.board_files(), "slots/factory.pack": device.pack(slot)}


def flash_regions(
    layout: Layout,
    *,
    firmware: bytes,
    nvs: bytes,
    files: dict[str, bytes],
    bootloader: bytes = b"",
    bootloader_at: int = 0x1000,
) -> list[Region]:
    """The regions of a new board, in the order of their offsets.

    otadata and the head of every later slot are blank in it: the first slot runs, and nothing that
    stood there before can. So are keys of an NVS, which is plain here.

    Args:
        firmware: the app image for the first slot.
        nvs: for the NVS partition, which may be larger; what follows is blank.
        files: what the file system holds, by path.
        bootloader: b"" leaves it out.
        bootloader_at: where the chip's ROM looks for it.

    Raises:
        FleetlingError: something does not fit.
    """
    if len(bootloader) > TABLE_AT - bootloader_at:
        raise FleetlingError(
            f"The bootloader has {len(bootloader):,} bytes; "
            f"{TABLE_AT - bootloader_at:,} are before the partition table",
            "Build it with less logging.",
        )
    made = [_region("bootloader", bootloader_at, bootloader)] if bootloader else []
    made.append(_region("table", TABLE_AT, layout.table.to_binary()))
    contents = {
        "nvs": nvs.ljust(layout.table["nvs"].size, b"\xff"),
        "vfs": build_filesystem(files, layout.table["vfs"].size),
    }
    image: bytes | None = firmware
    for entry in layout.table:
        if entry.type == APPS:
            contents[entry.name] = b"\xff" * SECTOR if image is None else image
            image = None
        elif entry.type == DATA and entry.subtype in (OTADATA, NVS_KEYS):
            contents[entry.name] = b"\xff" * entry.size
    made += [layout.region(label, data) for label, data in contents.items()]
    return sorted(made, key=lambda region: region.offset)


def join(regions: Iterable[Region], size: int) -> bytes:
    """A flash of `size` bytes that holds the regions; the others are 0xFF."""
    flash = bytearray(b"\xff" * size)
    for region in regions:
        flash[region.offset : region.end] = region.data
    return bytes(flash)


def build_flash(
    *, firmware: bytes, nvs: bytes, files: dict[str, bytes], layout: str = "4mb"
) -> bytes:
    """The flash of a new board without its bootloader, which no simulated board runs.

    Raises:
        FleetlingError: something does not fit its partition.
    """
    chosen = read_layout(layout)
    regions = flash_regions(chosen, firmware=firmware, nvs=nvs, files=files)
    return join(regions, chosen.size)
