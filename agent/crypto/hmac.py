# SPDX-License-Identifier: MIT
"""HMAC-SHA256 (RFC 2104) and a comparison that takes the same time wherever two values differ.

The hash comes from hashlib and is as constant-time as that is; the comparison runs over every
byte, in an interpreter whose small integers take no path that depends on their value.
"""

from hashlib import sha256

from micropython import const

_BLOCK = const(64)


def hmac_sha256(key, data):
    """The 32 bytes of the code of `data`; the key may have any length."""
    if len(key) > _BLOCK:
        key = sha256(key).digest()
    inner = bytearray(b"\x36" * _BLOCK)
    outer = bytearray(b"\x5c" * _BLOCK)
    for i in range(len(key)):
        inner[i] ^= key[i]
        outer[i] ^= key[i]
    code = sha256(inner)
    code.update(data)
    outer.extend(code.digest())
    return sha256(outer).digest()


def equal(a, b):
    """Whether two byte strings are the same. Their lengths are no secret."""
    if len(a) != len(b):
        return False
    difference = 0
    for i in range(len(a)):
        difference |= a[i] ^ b[i]
    return not difference
