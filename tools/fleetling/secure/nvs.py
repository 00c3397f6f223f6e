# SPDX-License-Identifier: MIT
"""A provisioned NVS image as firmware with NVS encryption reads it, and the keys for it.

Source: ESP-IDF Programming Guide, "NVS Encryption". Each entry of 32 bytes is one sector of
AES-256-XTS, whose number is the entry's address in the partition. Page headers and bitmaps stay
plain. The two keys of 32 bytes are derived from one in eFuses (HMAC scheme), or lie in a partition
of 4 KB with their CRC32.
"""

from __future__ import annotations

import hmac
import struct
import zlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fleetling.errors import FleetlingError

__all__ = ["KEYS_SIZE", "derived_keys", "encrypt", "key_partition"]

KEYS_SIZE = 64
PAGE, ENTRY, ENTRIES = 0x1000, 32, 126
BITMAP_AT, FIRST_AT = 32, 64
BLANK = b"\xff" * ENTRY
WRITTEN = 0b10


def derived_keys(key: bytes) -> bytes:
    """The NVS keys that a chip derives from the key in its eFuses with the purpose HMAC_UP."""
    seeds = (bytes.fromhex("5a5abeae"), bytes.fromhex("a5a5dece"))
    return b"".join(hmac.digest(key, seed * 8, "sha256") for seed in seeds)


def key_partition(keys: bytes, size: int = PAGE) -> bytes:
    """The bytes of the partition nvs_key; flash encryption encrypts them at the first boot."""
    # The CRC is that of ESP-IDF: it starts from all ones and is not inverted before.
    return (keys + struct.pack("<I", zlib.crc32(keys, 0xFFFFFFFF))).ljust(size, b"\xff")


def encrypt(image: bytes, keys: bytes) -> bytes:
    """A plain NVS image, fresh from `fleetling provision`, encrypted.

    Raises:
        FleetlingError: it is no such image.
    """
    if not image or len(image) % PAGE or len(keys) != KEYS_SIZE:
        raise FleetlingError("This is not an NVS image", "Provision the board again.")
    made = bytearray(image)
    for page in range(0, len(image), PAGE):
        bitmap = int.from_bytes(image[page + BITMAP_AT : page + FIRST_AT], "little")
        for number in range(ENTRIES):
            at = page + FIRST_AT + number * ENTRY
            entry = image[at : at + ENTRY]
            if bitmap >> 2 * number & 3 != WRITTEN:
                if entry != BLANK:
                    raise FleetlingError(
                        "This NVS was in use already, or is encrypted",
                        "Take the image that `fleetling provision` made.",
                    )
                continue
            sector = Cipher(algorithms.AES(keys), modes.XTS(at.to_bytes(16, "little")))
            encryptor = sector.encryptor()
            made[at : at + ENTRY] = encryptor.update(entry) + encryptor.finalize()
    return bytes(made)
