# SPDX-License-Identifier: MIT
"""What a new board has on its flash, the partition table and an app image, and a board to try.

For those who make boards and images; a running board imports none of this. Sources: ESP-IDF
Programming Guide, "Partition Tables" and "App Image Format". The app descriptor is the first thing
in the first segment, at 0x20 of the image.
"""

import hashlib
import struct

from . import image, table
from .chip import Chip
from .flash import Flash, MemoryStore

# The official ESP32_GENERIC-OTA build for 4 MB.
ENTRIES = (
    (table.TYPE_DATA, table.SUBTYPE_NVS, 0x9000, 0x4000, "nvs", False),
    (table.TYPE_DATA, table.SUBTYPE_OTADATA, 0xD000, 0x2000, "otadata", False),
    (table.TYPE_DATA, table.SUBTYPE_PHY, 0xF000, 0x1000, "phy_init", False),
    (table.TYPE_APP, table.SUBTYPE_OTA, 0x10000, 0x180000, "ota_0", False),
    (table.TYPE_APP, table.SUBTYPE_OTA + 1, 0x190000, 0x180000, "ota_1", False),
    (table.TYPE_DATA, table.SUBTYPE_FAT, 0x310000, 0xF0000, "vfs", False),
)
_DESCRIPTOR = "<II8s32s32s16s16s32s32s80s"
_DROM = 0x3F400000


def build_table(entries):
    """The bytes of a table, padded to the 0xC00 that the bootloader reads."""
    rows = b""
    for kind, subtype, addr, size, label, encrypted in entries:
        name = label.encode()
        if len(name) > 16:
            raise table.TableError("label too long: " + label)
        flags = table.ENCRYPTED if encrypted else 0
        rows += struct.pack(table.ROW, b"\xaa\x50", kind, subtype, addr, size, name, flags)
    rows += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(rows).digest()  # noqa: S324 - the format
    if len(rows) > table.SIZE:
        raise table.TableError("too many partitions")
    return rows + b"\xff" * (table.SIZE - len(rows))


TABLE = build_table(ENTRIES)


def build_image(segments, hash_appended=True, chip_id=0):
    """An image of [(load address, data)]; data is padded to whole words."""
    head = bytearray(24)
    head[0] = image.MAGIC
    head[1] = len(segments)
    head[23] = 1 if hash_appended else 0
    struct.pack_into("<H", head, 12, chip_id)
    made = bytes(head)
    checksum = image.CHECKSUM
    for load_addr, data in segments:
        data = bytes(data) + bytes(-len(data) % 4)
        made += struct.pack("<II", load_addr, len(data)) + data
        checksum ^= image.fold(data)
    made += bytes(15 - len(made) % 16) + bytes((checksum,))
    return made + hashlib.sha256(made).digest() if hash_appended else made


def build_app(version="v1.25.0", body=b"", project="micropython", secure_version=0, chip_id=0):
    """An app image with a descriptor, as small as `body` lets it be."""
    descriptor = struct.pack(
        _DESCRIPTOR,
        0xABCD5432,
        secure_version,
        b"",
        version.encode(),
        project.encode(),
        b"12:00:00",
        b"Apr 15 2025",
        b"v5.4.2",
        hashlib.sha256(body).digest(),
        b"",
    )
    return build_image([(_DROM, descriptor + body)], chip_id=chip_id)


def put(flash, addr, data):
    """Erases what `data` covers and programs it."""
    sector = 4096
    flash.erase(addr, (len(data) + sector - 1) // sector * sector)
    flash.program(addr, data)


def furnish(flash, app=None, entries=ENTRIES):
    """A board from the shop: the table, and the app in the first app partition."""
    put(flash, table.ADDRESS, build_table(entries))
    first = next(entry for entry in entries if entry[0] == table.TYPE_APP)
    put(flash, first[2], app or build_app())


class Clock:
    """Stands still until somebody moves `ms`."""

    def __init__(self):
        self.ms = 1000

    def ticks_ms(self):
        return self.ms

    def true_unix(self):
        return 1760000000 + self.ms // 1000

    def advance(self, ms):
        self.ms += ms


def new_chip(app=None, entries=ENTRIES, **options):
    """A furnished chip in memory, powered on, with its `clock`; `options` are Chip's."""
    flash = Flash(MemoryStore(0x400000))
    furnish(flash, app, entries)
    clock = Clock()
    chip = Chip(flash, clock.ticks_ms, clock.true_unix, **options)
    chip.clock = clock
    chip.sleep_ms = clock.advance
    chip.power_on()
    return chip
