# SPDX-License-Identifier: MIT
"""App images: the check that the bootloader and `set_boot` make before they trust one.

Source: ESP-IDF Programming Guide, "App Image Format". A header of 24 bytes (magic 0xE9, number of
segments, chip id at 12, "hash appended" at 23), segments of 8 + length bytes, padding so that the
checksum (XOR of all segment data, from 0xEF) is the last byte of a block of 16, then, where byte
23 is 1, the SHA-256 of all before it.
"""

import hashlib
import struct

from micropython import const

MAGIC = const(0xE9)
CHIP_IDS = {"ESP32": 0, "ESP32-S2": 2, "ESP32-C3": 5, "ESP32-S3": 9, "ESP32-C6": 13}
CHECKSUM = const(0xEF)
_MAX_SEGMENTS = const(16)
_BLOCK = const(4096)


class BadImage(Exception):
    """`args[0]` says what is wrong, in few words."""


def verify(flash, addr, size, family="ESP32", thorough=True):
    """The length of the image in flash at `addr`, at most `size`; raises BadImage.

    Not `thorough`: only that header and segments make sense, as after a deep sleep.
    """
    head = flash.read(addr, 24)
    if head[0] != MAGIC:
        raise BadImage("magic")
    if struct.unpack_from("<H", head, 12)[0] != CHIP_IDS[family]:
        raise BadImage("chip")
    if head[1] > _MAX_SEGMENTS:
        raise BadImage("segments")
    position = 24
    checksum = CHECKSUM
    for _ in range(head[1]):
        if position + 8 > size:
            raise BadImage("length")
        length = struct.unpack("<II", flash.read(addr + position, 8))[1]
        position += 8
        if length % 4 or position + length > size:
            raise BadImage("length")
        if thorough:
            checksum ^= _xor(flash, addr + position, length)
        position += length
    length = (position + 16) & ~15
    if length > size:
        raise BadImage("length")
    if thorough and flash.read(addr + length - 1, 1)[0] != checksum:
        raise BadImage("checksum")
    if head[23] != 1:
        return length
    if length + 32 > size:
        raise BadImage("length")
    if thorough and flash.read(addr + length, 32) != _sha256(flash, addr, length):
        raise BadImage("sha256")
    return length + 32


def _xor(flash, addr, length):
    checksum = 0
    for start in range(0, length, _BLOCK):
        checksum ^= fold(flash.read(addr + start, min(_BLOCK, length - start)))
    return checksum


def fold(data):
    """XOR of all bytes: halves of one long integer on each other, which is C speed."""
    bits = 8
    while bits < 8 * len(data):
        bits *= 2
    value = int.from_bytes(data, "little")
    while bits > 8:
        bits //= 2
        value = (value >> bits) ^ (value & ((1 << bits) - 1))
    return value


def _sha256(flash, addr, length):
    digest = hashlib.sha256()
    for start in range(0, length, _BLOCK):
        digest.update(flash.read(addr + start, min(_BLOCK, length - start)))
    return digest.digest()
