# SPDX-License-Identifier: MIT
"""An application's bundle on the server: head, manifest, a payload for each file.

The manifest is the one whose SHA-256 is signed, and nothing is done by it before that is clear.
"""

import struct
from binascii import crc32, hexlify
from hashlib import sha256

from micropython import const

from agent.errors import Refused
from agent.update import manifest

_HEAD = "<4sBxxxII"
_HEAD_SIZE = const(16)
_FILES = const(128)
_MANIFEST = const(16384)


class Bundle:
    """`await fetch(offset, buffer)` reads the file on the server; `offer` is the signed one.

    Attributes after `open`: manifest (bytes, to be dropped once it is stored), content (its
    SHA-256 in hex), size (bytes of all files).
    """

    def __init__(self, offer, fetch):
        self._offer = offer
        self._fetch = fetch

    async def open(self):
        """Reads head and manifest, and looks at all of it."""
        length = self._offer["size"]
        if length > _MANIFEST:
            raise Refused("bundle-manifest", "long")
        head = await self._read(0, _HEAD_SIZE)
        magic, version, found, count = struct.unpack(_HEAD, head)
        if magic != b"FLAP" or version != 1 or found != length or not 0 < count <= _FILES:
            raise Refused("bundle-format")
        self._table = await self._read(_HEAD_SIZE, 4 * count + 4)
        crc = struct.unpack_from("<I", self._table, 4 * count)[0]
        if crc32(self._table[:-4], crc32(head)) != crc:
            raise Refused("bundle-format", "crc")
        self._start = _HEAD_SIZE + len(self._table)
        self.manifest = await self._read(self._start, length)
        self._start += length
        self.content = hexlify(sha256(self.manifest).digest()).decode()
        if self.content != self._offer["sha256"]:
            raise Refused("bundle-manifest", "hash")
        self._check(count)

    def _check(self, count):
        self.size = number = 0
        end = self._start
        for _, size, _ in manifest.rows(manifest.Reader(self.manifest).read):
            if number == count or (self.packed(number) == 0) != (size == 0):
                raise Refused("bundle-format", "length")
            self.size += size
            end += self.packed(number)
            number += 1
        if number != count or end != self._offer["length"]:
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

    async def _read(self, offset, length):
        data = bytearray(length)
        view = memoryview(data)
        done = 0
        while done < length:
            count = await self._fetch(offset + done, view[done:])
            if not count:
                raise Refused("payload-short")
            done += count
        return data
