# SPDX-License-Identifier: MIT
"""Pairs of images as releases make them, derived from one image by a seed."""

from __future__ import annotations

import random
import struct

from esp_idf_defs import ImageMetadata


def like_firmware(size: int, seed: int = 1) -> bytes:
    """Bytes that deflate about as well as machine code: words that come again, and numbers."""
    rng = random.Random(seed)
    words = [rng.randbytes(rng.randrange(3, 17)) for _ in range(400)]
    out = bytearray()
    while len(out) < size:
        out += rng.choice(words) if rng.random() < 0.75 else rng.randbytes(rng.randrange(1, 6))
    return bytes(out[:size])


def edited(image: bytes, edits: int, seed: int = 2) -> bytes:
    """Small edits all over, of the same length: changed constants."""
    rng = random.Random(seed)
    out = bytearray(image)
    for _ in range(edits):
        at = rng.randrange(len(out) - 16)
        out[at : at + 8] = rng.randbytes(8)
    return bytes(out)


def grown(image: bytes, added: int, edits: int = 0, seed: int = 3) -> bytes:
    """Bytes put in at a third, some taken out at two thirds, and small edits."""
    rng = random.Random(seed)
    third = len(image) // 12 * 4
    out = image[:third] + rng.randbytes(added) + image[third : 2 * third]
    out += image[2 * third + added // 2 :]
    return edited(out, edits, seed) if edits else out


def relinked(app: bytes, added: int, seed: int = 4) -> bytes:
    """Code put into the largest segment, with all pointers behind it moved, as a linker would."""
    rng = random.Random(seed)
    segment = max(ImageMetadata.from_bytes(app).segments, key=lambda each: each.length)
    at = segment.offset + segment.length // 12 * 4
    first = segment.address + at - segment.offset
    last = segment.address + segment.length
    out = bytearray(app[:at] + rng.randbytes(added) + app[at:])
    for place in range(0, len(out) - 3, 4):
        (value,) = struct.unpack_from("<I", out, place)
        if first <= value < last:
            struct.pack_into("<I", out, place, value + added)
    return bytes(out)
