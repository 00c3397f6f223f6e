# SPDX-License-Identifier: MIT
"""Records: small values that survive a power cut at any instant.

Invariants:
- a record is `magic, version, length, sequence, payload, CRC-32` and the CRC covers all before it;
- it stands in two copies; the valid one with the newer sequence is the value;
- a save never rewrites the copy that holds the value, so a cut leaves the old value or the new
  one;
- sequences are compared modulo 2**32, so they may wrap.
"""

import binascii
import struct

from micropython import const

_MAGIC = const(0x4C46)  # "FL"
_VERSION = const(1)
_HEAD = "<HBxHI"
_HEAD_SIZE = const(10)

OVERHEAD = _HEAD_SIZE + 4  # bytes that a record needs beside its payload


def pack(sequence, payload):
    """The bytes of a record."""
    body = struct.pack(_HEAD, _MAGIC, _VERSION, len(payload), sequence & 0xFFFFFFFF) + payload
    return body + struct.pack("<I", binascii.crc32(body))


def unpack(data):
    """(sequence, payload) of a record's bytes, or None when they are not one."""
    if data is None or len(data) < OVERHEAD:
        return None
    magic, version, length, sequence = struct.unpack_from(_HEAD, data)
    end = _HEAD_SIZE + length
    if magic != _MAGIC or version != _VERSION or len(data) < end + 4:
        return None
    if struct.unpack_from("<I", data, end)[0] != binascii.crc32(data[:end]):
        return None
    return sequence, bytes(data[_HEAD_SIZE:end])


def newer(a, b):
    """Whether sequence `a` comes after `b`, modulo 2**32 (serial numbers as in RFC 1982)."""
    return 0 < ((a - b) & 0xFFFFFFFF) < 0x80000000


class Record:
    """One value in two copies, under `name` + "0" and "1" of a store.

    The store has `get(key)` -> bytes or None and `set(key, data)`, which may raise StorageError.
    """

    def __init__(self, store, name):
        self._store = store
        self._keys = (name + "0", name + "1")

    def _newest(self):
        best = None
        for copy, key in enumerate(self._keys):
            found = unpack(self._store.get(key))
            if found and (best is None or newer(found[0], best[1])):
                best = (copy, found[0], found[1])
        return best

    def load(self):
        """The payload, or None when there is no valid copy."""
        best = self._newest()
        return best[2] if best else None

    def save(self, payload):
        """Writes `payload` as the new value; nothing is written when it is the value already."""
        best = self._newest()
        if best is None:
            self._store.set(self._keys[0], pack(1, payload))
        elif best[2] != payload:
            self._store.set(self._keys[1 - best[0]], pack(best[1] + 1, payload))
