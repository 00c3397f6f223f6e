# SPDX-License-Identifier: MIT
"""Secure boot v2: the digest of a key, and whose signatures an image carries.

Source: ESP-IDF Programming Guide, "Secure Boot V2". After an image, filled up with 0xFF to 4 KB,
comes a sector of up to three blocks of 1216 bytes: magic 0xE7, version 2, SHA-256 of the filled
image, the RSA-3072 key (modulus, exponent and two values derived from them, little-endian), the
signature (PSS, SHA-256, salt of 32 bytes), CRC32. A chip holds the SHA-256 of the key's part.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

from fleetling.errors import FleetlingError

__all__ = ["key_digest", "signers"]

SECTOR = 4096
BLOCK = 1216
BITS = 3072
KEY = slice(36, 812)


def key_digest(path: Path) -> bytes:
    """What a chip holds of the key in a PEM file, public or private without a passphrase.

    Raises:
        FleetlingError: it is no such key.
    """
    hint = (
        "Make one with `fleetling secure keys`, or give a PEM file with an RSA key of 3072 bits."
    )
    data = path.read_bytes()
    try:
        if b"PRIVATE KEY" in data:
            key = load_pem_private_key(data, None).public_key()
        else:
            key = load_pem_public_key(data)
    except TypeError as e:
        raise FleetlingError(f"{path} has a passphrase", "Give the public key.") from e
    except ValueError as e:
        raise FleetlingError(f"{path} is not a key in PEM", hint) from e
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != BITS:
        raise FleetlingError(f"{path} is not a key for secure boot v2", hint)
    numbers = key.public_numbers()
    length = BITS // 8
    # What the chip's multiplier wants beside the key: R squared mod n, and -1/n mod 2**32.
    square = (1 << 2 * BITS) % numbers.n
    inverse = -pow(numbers.n, -1, 1 << 32) % (1 << 32)
    packed = numbers.n.to_bytes(length, "little") + struct.pack("<I", numbers.e)
    packed += square.to_bytes(length, "little") + struct.pack("<I", inverse)
    return hashlib.sha256(packed).digest()


def signers(image: bytes) -> list[bytes]:
    """The digests of the keys whose signatures on the image are good."""
    found: list[bytes] = []
    if len(image) <= SECTOR or len(image) % SECTOR:
        return found
    digest = hashlib.sha256(image[:-SECTOR]).digest()
    sector = image[-SECTOR:]
    for at in range(0, 3 * BLOCK, BLOCK):
        block = sector[at : at + BLOCK]
        magic, version, signed = struct.unpack_from("<BB2x32s", block)
        (crc,) = struct.unpack_from("<I", block, 1196)
        if (magic, version, signed) != (0xE7, 2, digest) or crc != zlib.crc32(block[:1196]):
            continue
        modulus, exponent = struct.unpack_from("<384sI", block, 36)
        key = rsa.RSAPublicNumbers(exponent, int.from_bytes(modulus, "little")).public_key()
        try:
            key.verify(
                block[812:1196][::-1],
                digest,
                padding.PSS(padding.MGF1(hashes.SHA256()), 32),
                Prehashed(hashes.SHA256()),
            )
        except InvalidSignature:
            continue
        found.append(hashlib.sha256(block[KEY]).digest())
    return found
