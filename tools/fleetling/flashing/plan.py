# SPDX-License-Identifier: MIT
"""What goes where on one board, checked before anything is written. No I/O.

Invariants:
- the bytes depend on the firmware, the files, the layout and the identity, not on the board: a
  file made of a plan and a board flashed with it are the same;
- a plan is written in an order in which a board that was cut short does not start: the partition
  table is erased first and written last, and no bootloader goes on without one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby

from esp_idf_defs import ImageHeader

from fleetling.errors import FleetlingError
from fleetling.flashing.bootloader import flash_size, rolls_back, start_of, with_flash_size
from fleetling.image.flash import (
    SECTOR,
    Layout,
    Region,
    flash_regions,
    join,
    layout_names,
    read_layout,
)
from fleetling.release.firmware import Firmware, image_length

__all__ = ["Plan", "Recipe", "check_kept_bootloader", "choose_layout", "pieces"]

# A blank stretch is erased in one go instead of written, from this size on.
_STRETCH = 0x8000
_BLANK = b"\xff" * SECTOR
_FIRST = ("bootloader", "otadata")
_LAST = ("nvs", "table")


@dataclass(frozen=True)
class Plan:
    """All that one board is given.

    Attributes:
        device_id: whose identity is in the NVS.
        chip: such as "esp32".
        layout: the partition table.
        regions: by offset.
        keeps_bootloader: the board's own stays, because the firmware came without one.
    """

    device_id: str
    chip: str
    layout: Layout
    regions: list[Region]
    keeps_bootloader: bool

    @property
    def table(self) -> Region:
        return next(region for region in self.regions if region.label == "table")

    def order(self) -> list[Region]:
        """The regions as they are written: identity and table are the last."""

        def rank(region: Region) -> tuple[int, int]:
            if region.label in _FIRST:
                return (0, _FIRST.index(region.label))
            if region.label in _LAST:
                return (2, _LAST.index(region.label))
            return (1, region.offset)

        return sorted(self.regions, key=rank)

    def image(self) -> bytes:
        """A whole flash from offset 0, which a simulated board boots."""
        return join(self.regions, self.layout.size)


@dataclass
class Recipe:
    """What all boards of a batch have in common.

    Args:
        firmware: as `read_firmware` found it.
        files: of the file system, by path.
        bootloader: one to use instead of the firmware's own; b"" for that.

    Raises:
        FleetlingError: the bootloader is no image, is for another chip, or cannot roll back.
    """

    firmware: Firmware
    files: dict[str, bytes]
    bootloader: bytes = b""
    _made: dict[str, list[Region]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.bootloader = self.bootloader or self.firmware.bootloader
        if not self.bootloader:
            return
        self.bootloader = self.bootloader[: image_length(self.bootloader)]
        _check_chip(self.bootloader, self.chip, "The bootloader")
        if self.rolls_back is False:
            raise FleetlingError(
                f"This firmware is of ESP-IDF {self.firmware.idf}, whose bootloader takes no "
                "update back",
                "Take MicroPython 1.24 or newer: a board must survive a bad update.",
            )

    @property
    def chip(self) -> str:
        return self.firmware.chip

    @property
    def bootloader_at(self) -> int:
        if self.bootloader and self.bootloader == self.firmware.bootloader:
            return self.firmware.bootloader_at
        return start_of(self.chip)

    @property
    def rolls_back(self) -> bool | None:
        """Whether the bootloader takes a bad update back; None where it cannot be told."""
        return rolls_back(self.bootloader, self.firmware.idf) if self.bootloader else None

    def plan(self, layout: Layout, device_id: str, nvs: bytes) -> Plan:
        """The plan for one board.

        Args:
            nvs: the image that `fleetling provision` made.

        Raises:
            FleetlingError: something does not fit.
        """
        if layout.name not in self._made:
            self._made[layout.name] = self._regions(layout)
        size = int(layout.table["nvs"].size)
        identity = layout.region("nvs", nvs.ljust(size, b"\xff"))
        identity = replace(identity, used=len(nvs))
        regions = [
            identity if region.label == "nvs" else region for region in self._made[layout.name]
        ]
        return Plan(device_id, self.chip, layout, regions, not self.bootloader)

    def _regions(self, layout: Layout) -> list[Region]:
        self.firmware.check_fits(layout.slot)
        bootloader = with_flash_size(self.bootloader, layout.size) if self.bootloader else b""
        return flash_regions(
            layout,
            firmware=self.firmware.image,
            nvs=b"",
            files=self.files,
            bootloader=bootloader,
            bootloader_at=self.bootloader_at,
        )


def choose_layout(name: str, size: int | None) -> Layout:
    """The layout of that name; "auto" is the largest that a flash of `size` bytes holds.

    Those with room for the keys of an encrypted NVS are for firmware that makes use of it; they
    are taken by name alone.

    Raises:
        FleetlingError: there is none, or it does not fit.
    """
    if name == "auto":
        made = [layout for layout in map(read_layout, layout_names()) if not layout.has_keys]
        fitting = made[:1] if size is None else [each for each in made if each.size <= size]
        if not fitting:
            raise FleetlingError(
                f"The board has {(size or 0) >> 20} MB of flash; the smallest layout needs "
                f"{made[0].size >> 20}",
                "Two firmware slots and a file system do not fit it.",
            )
        return fitting[-1]
    layout = read_layout(name)
    if size is not None and layout.size > size:
        raise FleetlingError(
            f"The layout {name} is for {layout.size >> 20} MB of flash; the board has "
            f"{size >> 20}",
            "Leave --layout out: the largest that fits is taken.",
        )
    return layout


def check_kept_bootloader(found: bytes, chip: str, layout: Layout) -> None:
    """Refuses a bootloader on the board that cannot go on with what is written around it.

    Raises:
        FleetlingError: why not.
    """
    hint = "Give MicroPython's whole .bin as downloaded, or a bootloader with --bootloader."
    try:
        image_length(found)
    except FleetlingError as e:
        raise FleetlingError(
            "The file is an app image, and the board has no whole bootloader", hint
        ) from e
    _check_chip(found, chip, "The board's bootloader")
    if flash_size(found) < layout.size:
        raise FleetlingError(
            f"The board's bootloader is set to {flash_size(found) >> 20} MB of flash, the layout "
            f"{layout.name} needs {layout.size >> 20}",
            hint,
        )


def _check_chip(bootloader: bytes, chip: str, what: str) -> None:
    try:
        found = ImageHeader.from_bytes(bootloader).chip_id.chip_name
    except ValueError as e:
        raise FleetlingError(f"{what} is no image: {e}", "Give a .bin of ESP-IDF.") from e
    if found != chip:
        raise FleetlingError(
            f"{what} is for {found}, the firmware for {chip}", "Take two of the same chip."
        )


def pieces(region: Region) -> list[tuple[int, bytes]]:
    """The region as (offset, data), with long blank stretches as pieces of their own."""
    sectors = range(0, len(region.data), SECTOR)
    blank = [region.data[at : at + SECTOR] == _BLANK for at in sectors]
    made: list[tuple[int, int, bool]] = []
    first = 0
    for is_blank, group in groupby(blank):
        last = first + len(list(group))
        apart = (is_blank and (last - first) * SECTOR >= _STRETCH) or all(blank)
        if made and not apart and not made[-1][2]:
            made[-1] = (made[-1][0], last, False)
        else:
            made.append((first, last, apart))
        first = last
    return [
        (region.offset + first * SECTOR, region.data[first * SECTOR : last * SECTOR])
        for first, last, _ in made
    ]
