# SPDX-License-Identifier: MIT
"""The partition table: 32-byte rows at flash 0x8000, closed by an MD5 row.

Source: ESP-IDF Programming Guide, "Partition Tables". Each row is AA 50, type, subtype, address,
size, label of 16 bytes, flags; the closing row is EB EB, fourteen FF, MD5 of all rows before it.
An entry here is (type, subtype, addr, size, label, encrypted), as `Partition.info()` has it.
"""

import hashlib
import struct

from micropython import const

ADDRESS = const(0x8000)
SIZE = const(0xC00)

TYPE_APP = const(0)
TYPE_DATA = const(1)
SUBTYPE_FACTORY = const(0)
SUBTYPE_OTA = const(16)
SUBTYPE_OTADATA = const(0)
SUBTYPE_PHY = const(1)
SUBTYPE_NVS = const(2)
SUBTYPE_FAT = const(129)

ROW = "<2sBBII16sI"
ENCRYPTED = const(1)


class TableError(Exception):
    """The table in flash is not one that a bootloader accepts."""


def parse(flash):
    """The entries of the table in `flash`; raises TableError where the bootloader would stop."""
    entries = []
    digest = hashlib.md5()  # noqa: S324 - the format
    for addr in range(ADDRESS, ADDRESS + SIZE, 32):
        row = flash.read(addr, 32)
        magic, kind, subtype, start, size, label, flags = struct.unpack(ROW, row)
        if magic == b"\xff\xff":
            break
        if magic == b"\xeb\xeb":
            if row[16:] != digest.digest():
                raise TableError("MD5 does not match")
            break
        if magic != b"\xaa\x50":
            raise TableError("bad magic in row {}".format(len(entries)))
        if start + size > flash.size:
            raise TableError("partition {} ends outside of the flash".format(len(entries)))
        digest.update(row)
        name = label.split(b"\0")[0].decode()
        entries.append((kind, subtype, start, size, name, bool(flags & ENCRYPTED)))
    if not entries:
        raise TableError("no partition table")
    return entries


def find(entries, label):
    """The entry with this label, or None."""
    for entry in entries:
        if entry[4] == label:
            return entry
    return None


def first(entries, kind, subtype):
    """The first entry of this type and subtype, or None."""
    for entry in entries:
        if entry[0] == kind and entry[1] == subtype:
            return entry
    return None


def ota_slots(entries):
    """The OTA app partitions, in the order of their numbers."""
    slots = [e for e in entries if e[0] == TYPE_APP and SUBTYPE_OTA <= e[1] < SUBTYPE_OTA + 16]
    return sorted(slots, key=lambda e: e[1])
