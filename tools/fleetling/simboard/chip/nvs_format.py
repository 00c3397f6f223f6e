# SPDX-License-Identifier: MIT
"""The on-flash format of NVS in ESP-IDF 5: sizes, states, types, and the CRCs of items.

Source: ESP-IDF Programming Guide, "NVS Internals". A page is a header of 32 bytes (state,
sequence, version, CRC), a bitmap of two bits an entry, and 126 entries of 32 bytes. An item is a
head entry (namespace, type, span, chunk, CRC, key of 16, data of 8), followed by its data where
the type has a length. A blob is BLOB_DATA chunks and a BLOB_INDEX (size, number of chunks, first
chunk). CRCs start at 0xFFFFFFFF.
"""

import struct
from binascii import crc32

from micropython import const

PAGE_SIZE = const(4096)
ENTRIES = const(126)
ENTRY = const(32)
CHUNK_MAX = const(4000)
BITMAP = const(32)
FIRST = const(64)
VERSION = const(0xFE)
SEED = const(0xFFFFFFFF)

# Page states: each one only clears bits of the one before.
UNINITIALIZED = b"\xff\xff\xff\xff"
ACTIVE = b"\xfe\xff\xff\xff"
FULL = b"\xfc\xff\xff\xff"
FREEING = b"\xf8\xff\xff\xff"
CORRUPT = b"\xf0\xff\xff\xff"
INVALID = b"\x00\x00\x00\x00"

EMPTY = const(3)
WRITTEN = const(2)
ERASED = const(0)

U8 = const(0x01)
I32 = const(0x14)
STRING = const(0x21)
BLOB_V1 = const(0x41)
BLOB_DATA = const(0x42)
BLOB_INDEX = const(0x48)
ANY = const(0)
CHUNK_ANY = const(0xFF)

HEAD = "<BBBBI16s8s"


class NewVersion(Exception):
    """A page was written by a later ESP-IDF, whose format this one does not know."""


def has_length(kind):
    return kind in (STRING, BLOB_V1, BLOB_DATA)


def item_crc(entry):
    return crc32(entry[8:32], crc32(entry[:4], SEED))


def item_valid(entry):
    return struct.unpack_from("<I", entry, 4)[0] == item_crc(entry)


def key_of(entry):
    return entry[8:24].split(b"\0")[0]


def head_hash(namespace, key, chunk):
    """1 to 255, for an index of one byte an item."""
    return 1 + crc32(key, namespace << 8 | chunk) % 255
