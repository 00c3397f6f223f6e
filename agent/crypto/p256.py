# SPDX-License-Identifier: MIT
"""ECDSA verification on NIST P-256, on MicroPython's big integers.

- Every input gives an answer: anything out of range, off the curve or badly encoded is False.
- Public data only. Nothing here is constant-time; secrets belong in `sign`.
- Points are 65 bytes, 04 || X || Y (SEC 1, 2.3.3). Compressed points are refused.
- Every point addition is complete: equal, opposite and infinite points take their own branch.

Where the time goes: `%` costs more than two multiplications, and both outweigh all else, so the
formulas are chosen and merged for few of them. The check u1 * G + u2 * Q shares one chain of 256
doublings (Straus), with scalars in non-adjacent form over affine tables of odd multiples. A key
that is used again gets the same table of 2**128 * Q: from then on the scalars are four halves,
and the chain has 128 doublings.
Sources: FIPS 186-5, 6.4.2; Hankerson, Menezes, Vanstone: Guide to Elliptic Curve Cryptography,
algorithms 3.35 and 3.51; Longa, Miri: co-Z precomputation; formulas dbl-2001-b and madd.
"""

from agent.crypto.der import read_signature
from agent.crypto.generator import TABLE
from agent.crypto.steps import finish
from agent.errors import Refused

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B

_last = [(None, b"")]  # the last key and its table: a pure cache of one


def inverse(a, modulus):
    """1/a for 0 < a < modulus, by Euclid: a seventh of the time of a power. Not for secrets."""
    u, v, r, s = a, modulus, 1, 0
    while u:
        q = v // u
        v, u = u, v - q * u
        s, r = r, s - q * r
    return s % modulus


def double(x, y, z, times):
    """2**times * (x, y, z) in Jacobian coordinates; z == 0 is infinity and stays so."""
    p = P
    for _ in range(times):
        zz = z * z % p
        y2 = y + y
        z = y2 * z % p
        b = y2 * y % p
        c = (x + x) * b % p
        m = 3 * (x - zz) * (x + zz) % p
        x = (m * m - c - c) % p
        y = (m * (c - x) - 2 * b * b) % p
    return x, y, z


def add(x, y, z, x2, y2):
    """(x, y, z) + the affine point (x2, y2)."""
    if not z:
        return x2, y2, 1
    p = P
    zz = z * z % p
    h = (x2 * zz - x) % p
    r = (zz * z % p * y2 - y) % p
    if not h:
        return (1, 1, 0) if r else double(x, y, z, 1)
    hh = h * h % p
    v = x * hh % p
    hh = hh * h % p
    x = (r * r - hh - v - v) % p
    return x, (r * (v - x) - y * hh) % p, z * h % p


def entry(table, index, negative):
    """Point `index` of a table as (x, y), or its opposite."""
    at = index * 64
    y = int.from_bytes(table[at + 32 : at + 64], "big")
    return int.from_bytes(table[at : at + 32], "big"), (y, P - y)[negative]


def multiples(x, y, z, count):
    """1, 3, 5 ... times a point that is not infinity: `count` affine points in 64 bytes each.

    The doubled point is carried along with the Z of the newest entry, so that an addition takes
    7 multiplications; each Z is the one before times `ratio`, so that one inverse serves all.
    """
    p = P
    zz = z * z % p
    yy = y * y % p
    m = 3 * (x - zz) * (x + zz) % p
    # The point itself, with the Z of its double.
    x, z, y = 4 * x * yy % p, 2 * y * z % p, 8 * yy * yy % p
    double_x = (m * m - x - x) % p
    double_y = (m * (x - double_x) - y) % p
    points = [(x, y, 1)]
    while len(points) < count:
        ratio = double_x - x
        square = ratio * ratio % p
        w = x * square % p
        double_x = double_x * square % p
        slope = double_y - y
        double_y = double_y * (double_x - w) % p
        x = (slope * slope - double_x - w) % p
        y = (slope * (double_x - x) - double_y) % p
        z = z * ratio % p
        points.append((x, y, ratio))
    table = bytearray(64 * count)
    at = len(table)
    z = inverse(z, p)
    while points:
        x, y, ratio = points.pop()
        zz = z * z % p
        table[at - 64 : at - 32] = (x * zz % p).to_bytes(32, "big")
        table[at - 32 : at] = (zz * z % p * y % p).to_bytes(32, "big")
        z = z * ratio % p
        at -= 64
    return bytes(table)


def coordinates(point):
    """(x, y) of an uncompressed point; Refused("key-point") for anything but one of the curve."""
    x = int.from_bytes(point[1:33], "big")
    y = int.from_bytes(point[33:], "big")
    if len(point) != 65 or point[0] != 4 or x >= P or y >= P:
        raise Refused("key-point")
    if (x * x * x - 3 * x + _B - y * y) % P:
        raise Refused("key-point")
    return x, y


def _table_steps(point):
    """Generator; returns the table of a key: eight multiples, from its second use on sixteen."""
    known, table = _last[0]
    if known != point:
        table = multiples(*coordinates(point), 1, 8)
    elif len(table) == 512:
        x, y = entry(table, 0, 0)
        z = 1
        for _ in range(32):
            x, y, z = double(x, y, z, 4)
            yield
        table += multiples(x, y, z, 8)
    yield
    _last[0] = bytes(point), table
    return table


def _recode(k, width, digits, lane, lanes):
    """Non-adjacent form: odd digits below 2**(width - 1) as signed bytes, `lanes` side by side."""
    full = 1 << width
    while k:
        if k & 1:
            digit = k & full - 1
            if digit >= full >> 1:
                digit -= full
            digits[lane] = digit & 255
            k = (k - digit) >> width
            lane += width * lanes
        else:
            k >>= 1
            lane += lanes


def _sum_steps(u1, u2, table):
    """Generator; returns u1 * G + u2 * (the point of `table`) in Jacobian coordinates."""
    if len(table) == 512:
        top = 256
        terms = (u1, 6, TABLE, 0), (u2, 5, table, 0)
    else:
        top = 128
        low = (1 << 128) - 1
        terms = (
            (u1 & low, 6, TABLE, 0),
            (u1 >> 128, 6, TABLE, 16),
            (u2 & low, 5, table, 0),
            (u2 >> 128, 5, table, 8),
        )
    lanes = len(terms)
    digits = bytearray(lanes * (top + 1))
    for lane in range(lanes):
        _recode(terms[lane][0], terms[lane][1], digits, lane, lanes)
    yield
    x = y = 1
    z = waiting = 0
    for position in range(top, -1, -1):
        waiting += 1
        for lane in range(lanes):
            digit = digits[position * lanes + lane]
            if digit:
                x, y, z = double(x, y, z, waiting)
                waiting = 0
                negative = digit > 127
                _, _, of, first = terms[lane]
                index = first + ((256 - digit if negative else digit) >> 1)
                x, y, z = add(x, y, z, *entry(of, index, negative))
        if not position & 3:
            x, y, z = double(x, y, z, waiting)
            waiting = 0
            yield
    return x, y, z


def verify_steps(point, digest, r, s):
    """Generator; returns whether (r, s) is the key's signature of a digest.

    Of a digest longer than 32 bytes the first 32 count (FIPS 186-5, 6.4).
    """
    if not (0 < r < N and 0 < s < N):
        return False
    try:
        table = yield from _table_steps(point)
    except Refused:
        return False
    w = inverse(s, N)
    yield
    u1 = int.from_bytes(digest[:32], "big") * w % N
    x, _, z = yield from _sum_steps(u1, r * w % N, table)
    if not z:
        return False
    # x / z**2 is taken modulo P, then modulo N: it may be r, or r + N.
    zz = z * z % P
    return not (r * zz - x) % P or (r + N < P and not ((r + N) * zz - x) % P)


def verify(point, digest, signature):
    """Whether `signature`, in strict DER, is the key's signature of the digest."""
    try:
        r, s = read_signature(signature)
    except Refused:
        return False
    return finish(verify_steps(point, digest, r, s))
