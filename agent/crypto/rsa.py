# SPDX-License-Identifier: MIT
"""RSA verification with SHA-256 (RFC 8017): RSASSA-PSS with MGF1, and RSASSA-PKCS1-v1_5.

Optional: a build may leave this file out. Keys of 2,048 to 4,096 bits. A PSS salt may have any
length, as securesystemslib takes it. Public data only, nothing is constant-time.
"""

from binascii import unhexlify
from hashlib import sha256

from agent.crypto import der

_ENCRYPTION = unhexlify(b"2a864886f70d010101")  # rsaEncryption (RFC 8017, A.1)
_DIGEST_INFO = unhexlify(b"3031300d060960864801650304020105000420")  # RFC 8017, 9.2, note 1


def verify(spki, scheme, digest, signature):
    """The modulus, as bytes, if the signature is the key's, else None. ValueError, Refused: DER.

    `scheme`: "rsassa-pss-sha256" or "rsa-pkcs1v15-sha256"; `spki`: SubjectPublicKeyInfo.
    """
    modulus, exponent = _read_key(spki)
    size = len(modulus)
    n = int.from_bytes(modulus, "big")
    s = int.from_bytes(signature, "big")
    if not 256 <= size <= 512 or not 3 <= exponent < 1 << 32 or not n & exponent & 1:
        return None
    if len(signature) != size or s >= n:
        return None
    block = pow(s, exponent, n).to_bytes(size, "big")
    if scheme == "rsassa-pss-sha256":
        valid = _is_pss(block, digest, modulus[0])
    elif scheme == "rsa-pkcs1v15-sha256":
        tail = b"\x00" + _DIGEST_INFO + digest
        valid = block == b"\x00\x01" + b"\xff" * (size - 2 - len(tail)) + tail
    else:
        valid = False
    return modulus if valid else None


def _is_pss(block, digest, top):
    """EMSA-PSS-VERIFY (RFC 8017, 9.1.2). `top`: first byte of the modulus."""
    # The block has one bit less than the modulus, which may leave a whole byte out.
    if top == 1:
        if block[0]:
            return False
        block = block[1:]
    mask = 0xFF
    while top > 1 and mask >= top:
        mask >>= 1
    if block[-1] != 0xBC or block[0] & ~mask & 0xFF:
        return False
    h = block[-33:-1]
    padded = bytearray(block[:-33])
    for counter in range((len(padded) + 31) // 32):
        part = sha256(h + counter.to_bytes(4, "big")).digest()
        at = counter * 32
        for i in range(min(32, len(padded) - at)):
            padded[at + i] ^= part[i]
    padded[0] &= mask
    salt = 0
    while salt < len(padded) and not padded[salt]:
        salt += 1
    if salt == len(padded) or padded[salt] != 1:
        return False
    return sha256(bytes(8) + digest + bytes(padded[salt + 1 :])).digest() == h


def _read_key(spki):
    """(modulus as bytes without leading zeros, exponent) of a SubjectPublicKeyInfo."""
    at, end = der.whole(spki, der.SEQUENCE)
    start, stop = der.inside(spki, at, end, der.SEQUENCE)
    bits, bits_end = der.inside(spki, stop, end, der.BIT_STRING)
    start, stop = der.inside(spki, start, stop, der.OID)
    if bits_end != end or spki[start:stop] != _ENCRYPTION or spki[bits : bits + 1] != b"\x00":
        raise ValueError
    at, end = der.inside(spki, bits + 1, bits_end, der.SEQUENCE)
    start, stop = der.inside(spki, at, end, der.INTEGER)
    first, last = der.inside(spki, stop, end, der.INTEGER)
    if last != end or end != bits_end or spki[start : start + 1] == b"":
        raise ValueError
    der.integer(spki, start, stop)  # refuses a negative or padded one
    modulus = spki[start + 1 : stop] if spki[start] == 0 else spki[start:stop]
    return bytes(modulus), der.integer(spki, first, last)
