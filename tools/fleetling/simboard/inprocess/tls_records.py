# SPDX-License-Identifier: MIT
"""Records of the virtual TLS: framed as RFC 8446 section 5.1 has it, but neither encrypted nor
interoperable. What is real is who proves what to whom: certificates, names, times, signatures.

    board  -> server   hello: nonce, server name
    server -> board    server: signature over the board's nonce, own nonce, certificates...
    board  -> server   client: signature over the server's nonce, certificates... (both may lack)
    server -> board    finished
"""

from __future__ import annotations

import struct

__all__ = ["ALERT", "DATA", "HANDSHAKE", "NotTls", "Records", "frame", "pack", "unpack"]

HANDSHAKE = 0x16
ALERT = 0x15
DATA = 0x17

_HEAD = ">BHH"
_VERSION = 0x0303
MAX_PLAIN = 16384


class NotTls(Exception):
    """What arrives is not TLS."""


def frame(kind: int, payload: bytes | bytearray | memoryview) -> bytes:
    return struct.pack(_HEAD, kind, _VERSION, len(payload)) + bytes(payload)


def pack(*fields: bytes) -> bytes:
    """A handshake payload of several fields."""
    return b"".join(struct.pack(">H", len(field)) + field for field in fields)


def unpack(payload: bytes) -> list[bytes]:
    fields = []
    while payload:
        if len(payload) < 2:
            raise NotTls
        (length,) = struct.unpack_from(">H", payload)
        fields.append(payload[2 : 2 + length])
        payload = payload[2 + length :]
    return fields


class Records:
    """Takes bytes as they arrive and gives whole records."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        self._buffer += data
        records = []
        while len(self._buffer) >= struct.calcsize(_HEAD):
            kind, version, length = struct.unpack_from(_HEAD, self._buffer)
            if kind not in (HANDSHAKE, ALERT, DATA) or version != _VERSION:
                raise NotTls
            end = struct.calcsize(_HEAD) + length
            if len(self._buffer) < end:
                break
            records.append((kind, bytes(self._buffer[struct.calcsize(_HEAD) : end])))
            del self._buffer[:end]
        return records
