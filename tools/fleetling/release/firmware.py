# SPDX-License-Identifier: MIT
"""Reads firmware: a bare ESP-IDF app image, or MicroPython's download with bootloader and all.

Both begin with the same byte, so it is not the first byte that decides: the first image is walked,
and where a partition table stands behind it, the file is a download and the app is where the
table says. The app is taken exactly as long as its segments say, with checksum and hash checked,
and with the sector of secure boot's signatures where one follows; nothing else after it goes
into a release.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass, field

from esp_idf_defs import AppDescription, ChipId, ImageHeader, PartitionTable

from fleetling.errors import FleetlingError

__all__ = ["Firmware", "image_length", "read_firmware"]

# Where the download begins in flash, by chip: 0x1000 on ESP32 and S2, 0x2000 on P4 and C5, else 0.
_STARTS = (0x1000, 0x0, 0x2000)
_TABLE = 0x8000
_TABLE_SIZE = 0xC00
_TABLE_MAGIC = b"\xaa\x50"
_SEGMENT = struct.Struct("<II")
_SEGMENT_MOST = 0x1000000  # 16 MB, as the bootloader has it
_HASH_SIZE = 32
# Secure boot v2: the image filled up to a whole sector, and a sector with one to three of these.
_SIGNATURES = 4096
_SIGNATURE = struct.Struct("<BB2x32s")  # magic, version, SHA-256 of the filled image
_MACHINE = re.compile(rb"\0; ([ -~]{1,128} with [ -~]{1,40})\0")  # the banner's second half
_MICROPYTHON = re.compile(rb"MicroPython (v[0-9][\w.+-]{0,60}) on ")


@dataclass(frozen=True)
class Firmware:
    """An app image that the bootloader will accept, and what it says about itself.

    Attributes:
        image: exactly the app image, with its signatures.
        chip: such as "esp32" or "esp32s3".
        version, project, idf: of the app descriptor; official MicroPython leaves the first two
            empty.
        micropython: the version in MicroPython's banner, or "".
        machine: what its `os.uname()` will say, as the banner has it, or "".
        secure_version: the anti-rollback counter of the descriptor.
        elf_sha256: of the build, in hex.
        built: date and time of the build, or "".
        bootloader: of a download, exactly its image; b"" where the file was an app image.
        bootloader_at: where in flash a download begins.
    """

    image: bytes
    chip: str
    version: str
    project: str
    idf: str
    micropython: str
    secure_version: int
    elf_sha256: str
    built: str
    machine: str = ""
    bootloader: bytes = field(default=b"", compare=False)
    bootloader_at: int = field(default=0, compare=False)

    @property
    def sha256(self) -> str:
        """SHA-256 of the image, in hex."""
        return hashlib.sha256(self.image).hexdigest()

    def check_fits(self, slot: int, *, chip: str | None = None) -> None:
        """Refuses an image that a board with slots of `slot` bytes cannot take.

        Raises:
            FleetlingError: it is too large, or for another chip.
        """
        if chip and chip != self.chip:
            raise FleetlingError(
                f"The image is for {self.chip}, the boards are {chip}.",
                "Take the firmware for that chip.",
            )
        if len(self.image) > slot:
            raise FleetlingError(
                f"The image has {len(self.image):,} bytes, {len(self.image) - slot:,} more than a "
                f"slot of {slot:,}.",
                "Take a build for OTA (ESP32_GENERIC-OTA), or a layout with larger slots.",
            )


def read_firmware(data: bytes) -> Firmware:
    """Finds and checks the app image in a file.

    Raises:
        FleetlingError: there is none, or it is damaged.
    """
    image, contained = _bare_or_contained(data)
    chip = _header(image).chip_id
    assert isinstance(chip, ChipId)
    try:
        description = AppDescription.from_bytes(image[AppDescription.FIRMWARE_BINARY_OFFSET :])
    except ValueError as e:
        raise FleetlingError(f"The image has no readable app descriptor: {e}.") from e
    banner = _MICROPYTHON.search(image)
    machines = set(_MACHINE.findall(image))
    return Firmware(
        image=image,
        chip=chip.chip_name,
        version=description.version,
        project=description.project_name,
        idf=description.idf_version,
        micropython=banner[1].decode() if banner else "",
        secure_version=description.secure_version,
        elf_sha256=description.elf_sha256.hex(),
        built=description.compiled or "",
        machine=machines.pop().decode() if len(machines) == 1 else "",
        bootloader=data[: _image_length(data, 0)] if contained else b"",
        bootloader_at=contained.flash_start if contained else 0,
    )


def image_length(data: bytes) -> int:
    """Bytes of the image at the start of `data`, with checksum and hash checked.

    Raises:
        FleetlingError: there is none, or it is damaged.
    """
    return _image_length(data, 0)


@dataclass(frozen=True)
class _Download:
    """Where a download begins in flash, and where its app begins in the file."""

    flash_start: int
    app: int


def _bare_or_contained(data: bytes) -> tuple[bytes, _Download | None]:
    """The app image: the file itself, or the one that the partition table in it points at."""
    found = _download(data)
    if found is not None:
        if found.app >= len(data):
            raise FleetlingError("The file ends before its app image.", "Download it again.")
        return data[found.app : found.app + _signed_length(data, found.app)], found
    length = _signed_length(data, 0)
    if length != len(data):
        raise FleetlingError(
            f"The file has {len(data) - length:,} bytes after its app image.",
            "Give a MicroPython .bin as downloaded, or an app image (micropython.bin).",
        )
    return data, None


def _download(data: bytes) -> _Download | None:
    """What the partition table in a download says; None in an app image."""
    for start in _STARTS:
        at = _TABLE - start
        if data[at : at + 2] != _TABLE_MAGIC or not _is_bootloader(data, at):
            continue
        try:
            table = PartitionTable.from_binary(data[at : at + _TABLE_SIZE])
        except (RuntimeError, struct.error) as e:
            raise FleetlingError(f"The file's partition table is damaged: {e}.") from e
        apps = sorted(entry.offset for entry in table if entry.type == 0)
        if not apps:
            raise FleetlingError("The file's partition table has no app.")
        return _Download(start, int(apps[0]) - start)
    return None


def _is_bootloader(data: bytes, most: int) -> bool:
    """Whether an intact image ends before the partition table."""
    try:
        return _image_length(data, 0) <= most
    except FleetlingError:
        return False


def _header(image: bytes) -> ImageHeader:
    try:
        return ImageHeader.from_bytes(image)
    except ValueError as e:
        raise FleetlingError(
            f"This is not an ESP-IDF image: {e}.", "Give a .bin file of an ESP32."
        ) from e


def _image_length(data: bytes, start: int) -> int:
    """Walks the image at `start`: segments, checksum, hash. Returns its length."""
    header = _header(data[start : start + ImageHeader.SIZE])
    at: int = start + ImageHeader.SIZE
    checksum = 0xEF
    for number in range(header.segment_count):
        if at + _SEGMENT.size > len(data):
            raise _truncated(number)
        _, length = _SEGMENT.unpack_from(data, at)
        at += _SEGMENT.size
        if length > _SEGMENT_MOST or at + length > len(data):
            raise _truncated(number)
        checksum ^= _xor(data[at : at + length])
        at += length
    # One checksum byte ends the next block of 16.
    at = start + ((at - start) // 16 + 1) * 16
    if at > len(data):
        raise _truncated(header.segment_count)
    if data[at - 1] != checksum:
        raise FleetlingError("The image's checksum is wrong.", "Download or build it again.")
    if not header.hash_appended:
        return at - start
    digest = hashlib.sha256(data[start:at]).digest()
    found = data[at : at + _HASH_SIZE]
    if len(found) < _HASH_SIZE:
        raise _truncated(header.segment_count)
    if found != digest:
        raise FleetlingError("The image's SHA-256 is wrong.", "Download or build it again.")
    return at + _HASH_SIZE - start


def _signed_length(data: bytes, start: int) -> int:
    """The image's length with secure boot's signatures, if they stand behind it."""
    length = _image_length(data, start)
    filled = (length + _SIGNATURES - 1) // _SIGNATURES * _SIGNATURES
    sector = data[start + filled : start + filled + _SIGNATURES]
    if len(sector) < _SIGNATURES:
        return length
    magic, _, digest = _SIGNATURE.unpack_from(sector)
    if magic != 0xE7:
        return length
    if digest != hashlib.sha256(data[start : start + filled]).digest():
        raise FleetlingError(
            "The image's signature for secure boot is of another image.", "Sign it again."
        )
    return filled + _SIGNATURES


def _truncated(number: int) -> FleetlingError:
    return FleetlingError(f"The image ends in segment {number}.", "Download or build it again.")


def _xor(data: bytes) -> int:
    """All bytes XORed: the whole as one number, folded in halves."""
    folded = int.from_bytes(data, "little")
    bits = 8 * max(1, 1 << (len(data) - 1).bit_length()) if data else 8
    while bits > 8:
        bits //= 2
        folded = (folded >> bits) ^ (folded & ((1 << bits) - 1))
    return folded
