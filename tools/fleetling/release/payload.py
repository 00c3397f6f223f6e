# SPDX-License-Identifier: MIT
"""Writes payloads, and reads them back. The format is docs/payload.md.

Invariants: the same input gives the same bytes; what is written has been read back and compared;
what is read is never trusted, malformed bytes are a FleetlingError.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from fleetling.errors import FleetlingError
from fleetling.release import delta

__all__ = ["FRAME", "WINDOW", "Header", "Kind", "best", "pack", "read_header", "unpack"]

# Measured on official firmware (docs/payload.md): 16 KB frames save 0.4 % more and cost the board
# 8 KB; a window of 4 KB saves 0.4 % more and costs 2 KB.
FRAME = 8192
WINDOW = 11

# A delta replaces the whole image only where it is at most this share of it: each one more is a
# file to sign, store and test, and needs the right base on the board.
WORTH = 0.8

IMAGE_MOST = 0x1000000
_HEADER = struct.Struct("<4sBBBBII32sI32s")
_CRC = struct.Struct("<I")
_FRAME_HEAD = struct.Struct("<HHI")
_FLUSH = b"\0\0\xff\xff"
_MAGIC = b"FLPL"
_VERSION = 1
_SECTOR = 4096
HEADER_SIZE = _HEADER.size + _CRC.size


class Kind(IntEnum):
    """What the frames hold."""

    WHOLE = 0
    DELTA = 1


@dataclass(frozen=True)
class Header:
    """The fields in front of the frames; hashes are SHA-256 digests."""

    kind: Kind
    window: int
    frame: int
    size: int
    length: int
    sha256: bytes
    base_size: int
    base_sha256: bytes

    def frames(self) -> int:
        """How many frames follow."""
        return -(-self.size // self.frame)


def pack(
    image: bytes, base: bytes | None = None, *, frame: int = FRAME, window: int = WINDOW
) -> bytes:
    """Packs an image, whole or as a delta against `base`.

    Args:
        image: 1 byte to 16 MB.
        base: the image that the board must be running.
        frame: bytes of image in a frame: 4096, 8192, 12288 or 16384.
        window: DEFLATE's window, as a power of two, 9 to 12.

    Raises:
        FleetlingError: the image is empty or too large, or it cannot be a delta within the
            limits that boards hold.
    """
    if not 0 < len(image) <= IMAGE_MOST:
        raise FleetlingError(f"An image has 1 byte to 16 MB; this one has {len(image)} bytes.")
    if frame % _SECTOR or not _SECTOR <= frame <= 4 * _SECTOR or not 9 <= window <= 12:
        raise ValueError(f"frame {frame}, window {window}")
    if base is None:
        pieces = [image[at : at + frame] for at in range(0, len(image), frame)]
    else:
        pieces = delta.cut(delta.thin(delta.lite(base, image), len(image)), len(image), frame)
    body = b"".join(_pack_frame(piece, frame, window) for piece in pieces)
    head = _HEADER.pack(
        _MAGIC,
        _VERSION,
        Kind.WHOLE if base is None else Kind.DELTA,
        window,
        frame // _SECTOR,
        len(image),
        HEADER_SIZE + len(body),
        hashlib.sha256(image).digest(),
        len(base) if base else 0,
        hashlib.sha256(base).digest() if base else bytes(32),
    )
    payload = head + _CRC.pack(zlib.crc32(head)) + body
    if unpack(payload, base) != image:
        raise AssertionError("the payload does not give the image back")
    return payload


def best(image: bytes, base: bytes, whole: bytes, *, worth: float = WORTH) -> bytes | None:
    """The delta against `base`, or None where it does not clearly beat the whole payload."""
    try:
        made = pack(image, base)
    except delta.TooDense:
        return None
    return made if len(made) <= worth * len(whole) else None


def _pack_frame(raw: bytes, frame: int, window: int) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -window, 9)
    # Not finished: one decompressor goes through all frames, and keeps its window.
    packed = deflate.compress(raw) + deflate.flush(zlib.Z_FULL_FLUSH)
    if len(packed) >= len(raw):
        packed = raw
    if len(packed) > frame or len(raw) > 0xFFFF:
        raise delta.TooDense("A frame of this delta is larger than boards take.")
    lengths = struct.pack("<HH", len(packed), len(raw))
    return lengths + _CRC.pack(zlib.crc32(packed, zlib.crc32(lengths))) + packed


def read_header(payload: bytes) -> Header:
    """Reads and checks the header.

    Raises:
        FleetlingError: it is not the header of a payload of this version.
    """
    if len(payload) < HEADER_SIZE or payload[:4] != _MAGIC:
        raise FleetlingError("This is not a payload.", "Make one with `fleetling release build`.")
    head, (crc,) = payload[: _HEADER.size], _CRC.unpack_from(payload, _HEADER.size)
    if zlib.crc32(head) != crc:
        raise FleetlingError("The payload's header is damaged.")
    _, version, kind, window, sectors, size, length, image, base_size, base = _HEADER.unpack(head)
    if version != _VERSION or kind not in iter(Kind):
        raise FleetlingError(f"The payload is of version {version}, kind {kind}.")
    sound = 9 <= window <= 15 and 1 <= sectors <= 4 and 0 < size <= IMAGE_MOST
    if not sound or (kind == Kind.WHOLE) != (base_size == 0) or base_size > IMAGE_MOST:
        raise FleetlingError("The payload's header makes no sense.")
    return Header(Kind(kind), window, sectors * _SECTOR, size, length, image, base_size, base)


def unpack(payload: bytes, base: bytes | None = None) -> bytes:
    """Gives the image back, all checked.

    Raises:
        FleetlingError: the payload is malformed, or `base` is not what it is a delta against.
    """
    header = read_header(payload)
    if header.length != len(payload):
        raise FleetlingError(f"The payload has {len(payload)} bytes, not {header.length}.")
    pieces, offset = [], HEADER_SIZE
    for _ in range(header.frames()):
        raw, offset = _unpack_frame(payload, offset, header.window)
        pieces.append(raw)
    if offset != len(payload):
        raise FleetlingError("The payload has bytes after its last frame.")
    image = b"".join(pieces)
    if header.kind == Kind.DELTA:
        if base is None or hashlib.sha256(base).digest() != header.base_sha256:
            raise FleetlingError("The delta is against another base.")
        image = delta.apply(image, base, header.size)
    if len(image) != header.size or hashlib.sha256(image).digest() != header.sha256:
        raise FleetlingError("The payload does not make the image that its header names.")
    return image


def _unpack_frame(payload: bytes, offset: int, window: int) -> tuple[bytes, int]:
    start = offset + _FRAME_HEAD.size
    if start > len(payload):
        raise FleetlingError("The payload ends inside a frame.")
    packed_size, size, crc = _FRAME_HEAD.unpack_from(payload, offset)
    packed = payload[start : start + packed_size]
    if len(packed) != packed_size or packed_size > size:
        raise FleetlingError("A frame's length is wrong.")
    if zlib.crc32(packed, zlib.crc32(payload[offset : offset + 4])) != crc:
        raise FleetlingError("A frame is damaged.")
    if packed_size == size:
        return packed, start + packed_size
    inflate = zlib.decompressobj(-window)
    try:
        raw = inflate.decompress(packed, size)
        more = inflate.decompress(inflate.unconsumed_tail, 1)
    except zlib.error as e:
        raise FleetlingError(f"A frame does not unpack: {e}.") from e
    if len(raw) != size or more or inflate.eof or not packed.endswith(_FLUSH):
        raise FleetlingError("A frame does not unpack to its length.")
    return raw, start + packed_size
