# SPDX-License-Identifier: MIT
"""The two app partitions: what they hold, and what the bootloader thinks of it.

Source: ESP-IDF Programming Guide, "App Image Format" and "Over The Air Updates"; measured in
docs/hardware.md. An image is a header of 24 bytes, segments of 8 + length bytes, padding so that
a checksum ends a block of 16, and a SHA-256. otadata has two entries; the valid one with the
higher sequence says which partition boots, and whether it is on trial. Loaded for an update.
"""

import asyncio
import struct
from binascii import crc32, hexlify
from hashlib import sha256

from micropython import const

from agent import facts
from agent.errors import Refused, StorageError

_SECTOR = const(4096)
_MAGIC = const(0xE9)
_SEGMENTS = const(16)
_OTA = const(16)  # the subtype of ota_0
_ENTRY = "<I20sII"
_BLANK = const(0xFFFFFFFF)
NEW, PENDING, VALID, INVALID, ABORTED = 0, 1, 2, 3, 4


class Slot:
    """An app partition: label, number (0 for ota_0), size in bytes."""

    def __init__(self, partition):
        self.partition = partition
        _, subtype, _, self.size, self.label, _ = partition.info()
        self.number = subtype - _OTA

    def read(self, offset, buffer):
        try:
            self.partition.readblocks(offset // _SECTOR, buffer, offset % _SECTOR)
        except OSError as e:
            raise StorageError("flash-read", str(e.args[0]))

    def write(self, offset, sector):
        """Erases and writes the 4096 bytes at `offset`."""
        try:
            self.partition.writeblocks(offset // _SECTOR, sector)
        except OSError as e:
            raise StorageError("flash-write", str(e.args[0]))

    def chip(self):
        """The chip's number in the image's header."""
        head = bytearray(24)
        self.read(0, head)
        return head[12] | head[13] << 8

    def length(self):
        """Bytes of the image that stands there; Refused when there is none."""
        head = bytearray(24)
        self.read(0, head)
        if head[0] != _MAGIC or not 0 < head[1] <= _SEGMENTS:
            raise Refused("firmware-image", self.label)
        at = 24
        segment = bytearray(8)
        for _ in range(head[1]):
            if at + 8 > self.size:
                raise Refused("firmware-image", self.label)
            self.read(at, segment)
            at += 8 + struct.unpack_from("<I", segment, 4)[0]
        at = (at + 16) & ~15
        if head[23] == 1:
            at += 32
        if at > self.size:
            raise Refused("firmware-image", self.label)
        return at

    async def digest(self, length, pause):
        """SHA-256 of the first `length` bytes; `await pause()` between sectors."""
        found = sha256()
        sector = memoryview(bytearray(_SECTOR))
        for at in range(0, length, _SECTOR):
            piece = sector[: min(_SECTOR, length - at)]
            self.read(at, piece)
            found.update(piece)
            if not at & 0xFFFF:
                await pause()
        return found.digest()

    async def holds(self, content, length, pause):
        """Whether it is the image with this SHA-256 (hex)."""
        return text(await self.digest(length, pause)) == content

    def choose(self):
        """The bootloader starts this one next; it checks the whole image first."""
        try:
            self.partition.set_boot()
        except OSError as e:
            raise StorageError("firmware-boot", str(e.args[0]))


def slots():
    """(the slot that runs, the other one); StorageError where the table has no two."""
    running, other = facts.app_partitions()
    return Slot(running), Slot(other)


def boot_state(number):
    """What otadata says of app partition `number`: a state as above, _BLANK for UNDEFINED; None
    where the newest valid entry is not its."""
    partition = facts.data_partition("otadata")
    raw = bytearray(32)
    newest = found = None
    for sector in (0, 1):
        partition.readblocks(sector, raw, 0)
        sequence, _, state, crc = struct.unpack(_ENTRY, raw)
        known = sequence not in (0, _BLANK) and state not in (INVALID, ABORTED)
        if not known or crc != crc32(struct.pack("<I", sequence), _BLANK):
            continue
        if newest is None or sequence > newest:
            newest = sequence
            found = state if (sequence - 1) % 2 == number else None
    return found


def on_trial(slot):
    """Whether a reset without a confirmation would bring the other slot back."""
    return boot_state(slot.number) == PENDING


def confirm(slot):
    """The running slot stays. Never to be called once another one was chosen."""
    if boot_state(slot.number) != VALID:
        try:
            facts.confirm_firmware()
        except OSError as e:
            raise StorageError("firmware-boot", str(e.args[0]))
        if boot_state(slot.number) != VALID:
            raise StorageError("firmware-boot", "not confirmed")


async def pause():
    """For those who have no deadline of their own."""
    await asyncio.sleep(0)


def text(digest):
    return hexlify(digest).decode()
