# SPDX-License-Identifier: MIT
"""An application's bundle on the server: head, manifest, a payload for each file.

The manifest is the one whose SHA-256 is signed, and nothing is done by it before that is clear.
"""

import struct
from binascii import crc32, hexlify
from hashlib import sha256

from micropython import const

from agent.errors import Refused

_HEAD = "<4sBxxxII"
_HEAD_SIZE = const(16)
_FILES = const(160)
_MANIFEST = const(16384)
_PIECE = const(512)


class Bundle:
    """`await fetch(offset, buffer)` reads the file on the server; `offer` is the signed one.

    Attributes: content (SHA-256 of the manifest in hex), length (of the manifest), size (bytes of
    all files; signed).
    """

    def __init__(self, offer, fetch):
        self.content = offer["sha256"]
        self.length = offer["size"]
        self.size = offer["bytes"]
        self._whole = offer["length"]
        self._fetch = fetch

    async def open(self):
        """Reads the head."""
        if self.length > _MANIFEST:
            raise Refused("bundle-manifest", "long")
        head = bytearray(_HEAD_SIZE)
        await self._fill(0, head)
        magic, version, length, count = struct.unpack(_HEAD, head)
        if magic != b"FLAP" or version != 1 or length != self.length or not 0 < count <= _FILES:
            raise Refused("bundle-format")
        self._count = count
        self._table = bytearray(4 * count + 4)
        await self._fill(_HEAD_SIZE, self._table)
        crc = struct.unpack_from("<I", self._table, 4 * count)[0]
        if crc32(memoryview(self._table)[:-4], crc32(head)) != crc:
            raise Refused("bundle-format", "crc")
        self._start = _HEAD_SIZE + len(self._table) + length

    async def manifest(self, take):
        """Hands the manifest to `take` in pieces; its CRC-32. Refused if it is not the signed
        one."""
        found = sha256()
        checked = 0
        piece = memoryview(bytearray(_PIECE))
        for at in range(0, self.length, _PIECE):
            data = piece[: min(_PIECE, self.length - at)]
            await self._fill(self._start - self.length + at, data)
            found.update(data)
            checked = crc32(data, checked)
            take(data)
        if hexlify(found.digest()).decode() != self.content:
            raise Refused("bundle-manifest", "hash")
        return checked

    def check(self, rows):
        """Refused unless the lengths of the payloads fit the manifest's rows."""
        number = size = 0
        end = self._start
        for row in rows:
            if number == self._count or (self.packed(number) == 0) != (row[1] == 0):
                raise Refused("bundle-format", "length")
            size += row[1]
            end += self.packed(number)
            number += 1
        if number != self._count or end != self._whole or size != self.size:
            raise Refused("bundle-format", "length")

    def packed(self, number):
        """The length of the payload of file `number`."""
        return struct.unpack_from("<I", self._table, 4 * number)[0]

    def start(self, number):
        """Where it begins in the bundle."""
        at = self._start
        for i in range(number):
            at += self.packed(i)
        return at

    async def _fill(self, offset, buffer):
        view = memoryview(buffer)
        done = 0
        while done < len(view):
            count = await self._fetch(offset + done, view[done:])
            if not count:
                raise Refused("payload-short")
            done += count
