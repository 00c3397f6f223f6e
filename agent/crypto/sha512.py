# SPDX-License-Identifier: MIT
"""SHA-512 (FIPS 180-4) where hashlib has none, for Ed25519 and for targets that list no SHA-256.

Public data only. Whole 64-bit words as Python integers: small, and slow on a board, where only
an optional key type needs it.
"""

import hashlib
import struct

from micropython import const

_BLOCK = const(128)
_MASK = 0xFFFFFFFFFFFFFFFF

_constants = []  # 80 of the rounds, then 8 of the start (4.2.3, 5.3.5): computed once


def _primes(count):
    found = []
    candidate = 2
    while len(found) < count:
        if all([candidate % prime for prime in found]):
            found.append(candidate)
        candidate += 1
    return found


def _root_fraction(number, degree):
    """The first 64 bits of the fraction of a square or cube root, which the constants are."""
    scaled = number << (64 * degree)
    low, high = 0, 1 << 70
    while high - low > 1:
        middle = (low + high) // 2
        if middle**degree <= scaled:
            low = middle
        else:
            high = middle
    return low & _MASK


class _Sha512:
    def __init__(self):
        if not _constants:
            primes = _primes(80)
            _constants.extend([_root_fraction(prime, 3) for prime in primes])
            _constants.extend([_root_fraction(prime, 2) for prime in primes[:8]])
        self._state = _constants[80:]
        self._rest = b""
        self._length = 0

    def update(self, data):
        self._length += len(data)
        data = self._rest + bytes(data)
        end = len(data) - len(data) % _BLOCK
        for at in range(0, end, _BLOCK):
            self._compress(data, at)
        self._rest = data[end:]

    def digest(self):
        state, rest, length = list(self._state), self._rest, self._length
        padding = b"\x80" + bytes((111 - length) % _BLOCK)
        self.update(padding + (length * 8).to_bytes(16, "big"))
        result = b"".join([word.to_bytes(8, "big") for word in self._state])
        self._state, self._rest, self._length = state, rest, length
        return result

    def _compress(self, data, at):
        m = _MASK
        k = _constants
        w = list(struct.unpack_from(">16Q", data, at))
        a, b, c, d, e, f, g, h = self._state
        for i in range(80):
            if i > 15:
                x, y = w[(i + 1) & 15], w[(i + 14) & 15]
                x = (x >> 1 | x << 63) ^ (x >> 8 | x << 56) ^ x >> 7
                y = (y >> 19 | y << 45) ^ (y >> 61 | y << 3) ^ y >> 6
                w[i & 15] = (w[i & 15] + (x & m) + w[(i + 9) & 15] + (y & m)) & m
            s = (e >> 14 | e << 50) ^ (e >> 18 | e << 46) ^ (e >> 41 | e << 23)
            t = h + (s & m) + (e & f ^ (m ^ e) & g) + k[i] + w[i & 15]
            s = (a >> 28 | a << 36) ^ (a >> 34 | a << 30) ^ (a >> 39 | a << 25)
            u = (s & m) + (a & b ^ a & c ^ b & c)
            a, b, c, d, e, f, g, h = (t + u) & m, a, b, c, (d + t) & m, e, f, g
        for i, word in enumerate((a, b, c, d, e, f, g, h)):
            self._state[i] = (self._state[i] + word) & m


# hashlib's own where there is one: the same methods, and a thousand times faster.
Sha512 = getattr(hashlib, "sha512", _Sha512)
