# SPDX-License-Identifier: MIT
"""The 88 bytes in front of a payload's frames (docs/payload.md), little-endian.

Nothing here is trusted: each field is held against the format, against what the reader has
memory for, and against what the signed metadata says, before anything uses it.
"""

import struct
from binascii import crc32

from micropython import const

from agent.errors import Refused

SIZE = const(88)
SECTOR = const(4096)
WHOLE = const(0)
DELTA = const(1)
_FORMAT = "<4sBBBBII32sI32sI"
_MAGIC = b"FLPL"
_VERSION = const(1)
_IMAGE_MOST = const(0x1000000)  # 16 MB: the largest flash there is; keeps integers small


class Header:
    """kind, window (bits), frame (bytes of image in a frame), size and sha256 of the image,
    length (bytes of the payload in all), base_size and base_sha256, and crc as its own name.
    """

    def __init__(self, data):
        """Refused unless the 88 bytes are a header of this version."""
        fields = struct.unpack(_FORMAT, data)
        magic, version, kind, window, sectors, size, length, image, base_size, base, crc = fields
        if magic != _MAGIC or crc32(data[: SIZE - 4]) != crc:
            raise Refused("payload-format")
        if version != _VERSION or kind > DELTA:
            raise Refused("payload-version")
        if not (9 <= window <= 15 and 1 <= sectors <= 4 and SIZE < length <= 2 * _IMAGE_MOST):
            raise Refused("payload-format")
        if not 0 < size <= _IMAGE_MOST or base_size > _IMAGE_MOST:
            raise Refused("payload-format")
        if (kind == DELTA) != (base_size > 0):
            raise Refused("payload-format")
        self.crc = crc
        self.kind = kind
        self.window = window
        self.frame = sectors * SECTOR
        self.size = size
        self.length = length
        self.sha256 = image
        self.base_size = base_size
        self.base_sha256 = base

    def frames(self):
        return (self.size + self.frame - 1) // self.frame
