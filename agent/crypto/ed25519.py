# SPDX-License-Identifier: MIT
"""Ed25519 verification (RFC 8032, 5.1.7). Optional: a build may leave this file out.

Strict, as the cofactorless check of RFC 8032 allows: S below the group order, both points
canonically encoded. Every malformed input is False. Public data only, nothing is constant-time.
"""

from agent.crypto.sha512 import Sha512

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = 0x52036CEE2B6FFE738CC740797779E89800700A4D4141D8AB75EB4DCA135978A3
_ROOT = 0x2B8324804FC1DF0B2B4D00993DFBD7A72F431806AD2FE478C4EE1B274A0EA0B0  # of -1
_BASE_X = 0x216936D3CD6E53FEC0A4E231FDD6DC5C692CC7609525A7B2C9562D608F25D51A
_BASE_Y = 0x6666666666666666666666666666666666666666666666666666666666666658


def verify_steps(public, signature, feed):
    """Generator of steps; returns whether the signature is the key's.

    `feed(update)` is a generator that streams the message; it is run once.
    """
    if len(public) != 32 or len(signature) != 64:
        return False
    a = _decode(public)
    r = _decode(signature[:32])
    s = _little(signature[32:])
    if a is None or r is None or s >= _ORDER:
        return False
    digest = Sha512()
    digest.update(signature[:32])
    digest.update(public)
    yield from feed(digest.update)
    k = _little(digest.digest()) % _ORDER
    yield
    # [S]B - [k]A is R; both products share their doublings.
    base = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)
    x, y, z, t = a
    minus_a = (_P - x, y, z, _P - t)
    both = _add(base, minus_a)
    total = (0, 1, 1, 0)
    for bit in range(252, -1, -1):
        total = _add(total, total)
        in_s, in_k = s >> bit & 1, k >> bit & 1
        if in_s or in_k:
            total = _add(total, both if in_s and in_k else base if in_s else minus_a)
        if not bit & 7:
            yield
    x, y, z, t = total
    return (x - r[0] * z) % _P == 0 and (y - r[1] * z) % _P == 0


def _add(first, second):
    """The complete addition of RFC 8032, 5.1.4, in extended coordinates."""
    p = _P
    x1, y1, z1, t1 = first
    x2, y2, z2, t2 = second
    a = (y1 - x1) * (y2 - x2) % p
    b = (y1 + x1) * (y2 + x2) % p
    c = 2 * _D * t1 % p * t2 % p
    d = 2 * z1 * z2 % p
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % p, g * h % p, f * g % p, e * h % p


def _decode(data):
    """The point of 32 bytes in extended coordinates, or None."""
    y = _little(data)
    sign = y >> 255
    y &= (1 << 255) - 1
    if y >= _P:
        return None
    # x**2 = u / v; its root is u v**3 (u v**7)**((p - 5) / 8), maybe times a root of -1.
    u = (y * y - 1) % _P
    v = (_D * y * y + 1) % _P
    v3 = v * v % _P * v % _P
    x = u * v3 % _P * pow(u * v3 % _P * v3 % _P * v % _P, (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P:
        x = x * _ROOT % _P
        if (v * x * x - u) % _P:
            return None
    if not x and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _little(data):
    return int.from_bytes(data, "little")
