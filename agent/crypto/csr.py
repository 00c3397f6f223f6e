# SPDX-License-Identifier: MIT
"""Writes what a board asks for a certificate with (PKCS#10, RFC 2986)."""

from hashlib import sha256

from agent.crypto import der
from agent.crypto.sign import public_key_steps, sign_steps

_VERSION_1 = b"\x02\x01\x00"
_NO_ATTRIBUTES = b"\xa0\x00"


def request_steps(key, name, point=None):
    """Generator; returns the request of a private key, the same bytes each time.

    Its subject is `name` as the only CN. `point` saves half of the time where it is known.
    """
    if point is None:
        point = yield from public_key_steps(key)
    attribute = der.write(
        der.SEQUENCE, der.write(der.OID, der.COMMON_NAME), der.write(der.UTF8, name.encode())
    )
    info = der.write(
        der.SEQUENCE,
        _VERSION_1,
        der.write(der.SEQUENCE, der.write(der.SET, attribute)),
        der.P256_KEY,
        point,
        _NO_ATTRIBUTES,
    )
    signature = yield from sign_steps(key, sha256(info).digest())
    return der.write(
        der.SEQUENCE, info, der.ECDSA_SHA256, der.write(der.BIT_STRING, b"\x00", signature)
    )
