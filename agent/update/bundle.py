# SPDX-License-Identifier: MIT
"""An application's bundle on the server: head, manifest, a payload for each file.

The manifest is the one whose SHA-256 is signed, and nothing is done by it before that is clear.
"""

import json
import struct
from binascii import crc32, hexlify
from hashlib import sha256

from micropython import const

from agent.errors import Refused

_HEAD = "<4sBxxxII"
_HEAD_SIZE = const(16)
_FILES = const(128)
_MANIFEST = const(16384)
_NAME = const(64)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/"


class Bundle:
    """`await fetch(offset, buffer)` reads the file on the server; `offer` is the signed one."""

    def __init__(self, offer, fetch):
        self._offer = offer
        self._fetch = fetch

    async def open(self):
        """Reads head and manifest: `manifest` (bytes), `content` (its SHA-256 in hex), `rows`
        [[path, size, SHA-256 in hex, offset, length of the payload]]."""
        size = self._offer["size"]
        if size > _MANIFEST:
            raise Refused("bundle-manifest", "long")
        head = await self._read(0, _HEAD_SIZE)
        magic, version, length, count = struct.unpack(_HEAD, head)
        if magic != b"FLAP" or version != 1 or length != size or not 0 < count <= _FILES:
            raise Refused("bundle-format")
        rest = await self._read(_HEAD_SIZE, 4 * count + 4)
        if crc32(rest[:-4], crc32(head)) != struct.unpack_from("<I", rest, 4 * count)[0]:
            raise Refused("bundle-format", "crc")
        at = _HEAD_SIZE + len(rest)
        self.manifest = await self._read(at, length)
        self.content = hexlify(sha256(self.manifest).digest()).decode()
        if self.content != self._offer["sha256"]:
            raise Refused("bundle-manifest", "hash")
        self.rows = rows(self.manifest)
        if len(self.rows) != count:
            raise Refused("bundle-format", "count")
        at += length
        for i in range(count):
            row = self.rows[i]
            packed = struct.unpack_from("<I", rest, 4 * i)[0]
            if (packed == 0) != (row[1] == 0):
                raise Refused("bundle-format", "length")
            row.append(at)
            row.append(packed)
            at += packed
        if at != self._offer["length"]:
            raise Refused("bundle-format", "length")

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


def rows(manifest):
    """[[path, size, SHA-256 hex]] of a manifest's bytes, each row checked; or Refused."""
    try:
        found = json.loads(manifest)["files"]
    except (ValueError, KeyError, TypeError):
        raise Refused("bundle-manifest")
    if not isinstance(found, list) or len(found) > _FILES:
        raise Refused("bundle-manifest")
    paths = set()
    for row in found:
        if not isinstance(row, list) or len(row) != 3:
            raise Refused("bundle-manifest")
        path, size, digest = row
        if not _is_path(path) or path in paths:
            raise Refused("bundle-path", str(path)[:_NAME])
        paths.add(path)
        if type(size) is not int or size < 0 or not isinstance(digest, str) or len(digest) != 64:
            raise Refused("bundle-manifest", path)
    return found


def _is_path(path):
    if not isinstance(path, str) or not 0 < len(path) <= _NAME or path == "manifest.json":
        return False
    if any([c not in _LETTERS for c in path]):
        return False
    return all([part not in ("", ".", "..") for part in path.split("/")])
