# SPDX-License-Identifier: MIT
"""Point arithmetic and verification against a slow affine model written for this test alone.

With a known private key any pair (u1, u2) can be dressed up as a signature: R = u1 * G + u2 * Q,
r = R.x, s = r / u2, digest = u1 * s. That is how the partial sums are steered into each other.
"""

from support import raises

from agent.crypto import p256
from agent.crypto.der import write_signature
from agent.crypto.steps import finish
from agent.errors import Refused

P, N, TABLE = p256.P, p256.N, p256.TABLE
G = p256.entry(TABLE, 0, False)


def affine_add(a, b):
    """The group law as in the textbook; None is infinity."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = (3 * a[0] * a[0] - 3) * p256.inverse(2 * a[1] % P, P)
    else:
        slope = (b[1] - a[1]) * p256.inverse((b[0] - a[0]) % P, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(k, point):
    total = None
    while k:
        if k & 1:
            total = affine_add(total, point)
        point = affine_add(point, point)
        k >>= 1
    return total


def encoded(point):
    return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def same(jacobian, point):
    x, y, z = jacobian
    if point is None or not z:
        return point is None and not z
    return not (point[0] * z * z - x) % P and not (point[1] * z * z * z - y) % P


def verified(point, digest, r, s):
    """The one answer of a first, second and third use of a key: each takes another path."""
    p256._last[0] = (None, b"")
    answers = [finish(p256.verify_steps(point, digest, r, s)) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2], answers
    return answers[0]


def dressed_up(u1, u2, r):
    s = r * p256.inverse(u2, N) % N
    return (u1 * s % N).to_bytes(32, "big"), r, s


def test_the_table_of_g_is_what_it_says():
    assert p256.multiples(G[0], G[1], 1, 16) == TABLE[:1024]
    assert p256.multiples(*p256.double(G[0], G[1], 1, 128), 16) == TABLE[1024:]
    for index in (0, 1, 15):
        assert p256.entry(TABLE, index, False) == times(2 * index + 1, G)
    assert p256.entry(TABLE, 18, True) == times(N - (5 << 128), G)


def test_addition_is_complete():
    two = affine_add(G, G)
    for z in (1, 2, P - 1, G[0]):
        x, y = G[0] * z * z % P, G[1] * z * z * z % P
        assert same(p256.add(x, y, z, *G), two)
        assert same(p256.add(x, y, z, G[0], P - G[1]), None)
        assert same(p256.add(x, y, z, *two), times(3, G))
        assert same(p256.double(x, y, z, 5), times(32, G))
    assert same(p256.add(1, 1, 0, *G), G)
    assert same(p256.double(1, 1, 0, 3), None)
    assert same(p256.add(*p256.double(1, 1, 0, 1), *two), two)


def test_partial_sums_that_meet():
    checked = infinite = 0
    near = (1 << 128) + 1
    for d in (1, 2, N - 1, N - 2, (N + 1) // 2, 1 << 128, N - (1 << 128)):
        q = times(d, G)
        for u1 in (0, 1, 2, 3, 31, near, N - 1):
            for u2 in (1, 2, 15, near, N - 1):
                point = times((u1 + u2 * d) % N, G)
                if point is None:
                    infinite += 1
                    assert not verified(encoded(q), *dressed_up(u1, u2, G[0] % N))
                else:
                    checked += 1
                    r = point[0] % N
                    assert verified(encoded(q), *dressed_up(u1, u2, r)), (d, u1, u2)
    assert checked > 200 and infinite > 5, (checked, infinite)


def test_x_between_n_and_p():
    # No multiple of G with such an x is known, so the key is made to fit: Q = R - u1 * G.
    x = N
    while True:
        square = (x * x * x - 3 * x + p256._B) % P
        y = pow(square, (P + 1) // 4, P)
        if y * y % P == square:
            break
        x += 1
    u1 = 12345
    q = affine_add((x, y), times(N - u1, G))
    assert x - N > 0 and verified(encoded(q), *dressed_up(u1, 1, x - N))
    # Taken modulo N, the signature's r is x as well; only the one below N is a signature.
    digest, _, s = dressed_up(u1, 1, x - N)
    assert not verified(encoded(q), digest, x, s)
    # The same with an x for which r + N is no field element: only r itself may count.
    point = times(7, G)
    digest, r, s = dressed_up(3, 1, point[0])
    assert r + N > P and verified(encoded(times(4, G)), digest, r, s)
    assert not verified(encoded(times(4, G)), digest, r + 1, s)


def test_r_and_s_out_of_range():
    digest, r, s = dressed_up(5, 7, times(5 + 7 * 9, G)[0])
    q = encoded(times(9, G))
    assert verified(q, digest, r, s) and verified(q, digest, r, N - s)
    for bad_r, bad_s in ((0, s), (r, 0), (r + N, s), (r, s + N), (N, s), (r, N), (-r, s), (r, -s)):
        assert not verified(q, digest, bad_r, bad_s)
    assert not verified(q, digest, s, r) and not verified(q, bytes(32), r, s)


def test_digests_of_other_lengths():
    q = times(9, G)
    digest, r, s = dressed_up(5, 7, times(5 + 7 * 9, G)[0])
    assert verified(encoded(q), digest + b"more", r, s)
    assert not verified(encoded(q), b"\x01" + digest, r, s)
    digest, r, s = dressed_up(0, 7, times(7 * 9, G)[0])
    assert digest == bytes(32) and verified(encoded(q), digest, r, s)


def test_keys_that_are_no_points():
    digest, r, s = dressed_up(5, 7, times(5 + 7 * 9, G)[0])
    q = encoded(times(9, G))
    zero_x = b"\x04" + bytes(32) + pow(p256._B, (P + 1) // 4, P).to_bytes(32, "big")
    assert p256.coordinates(zero_x)[0] == 0
    bad = [
        b"", b"\x00", b"\x04", q[:-1], q + b"\x00", b"\x05" + q[1:], b"\x06" + q[1:],
        b"\x02" + q[1:33], b"\x03" + q[1:33], q[:64] + bytes((q[64] ^ 1,)), bytes(65),
        b"\x04" + bytes(64), b"\x04" + P.to_bytes(32, "big") + zero_x[33:],
        zero_x[:33] + b"\xff" * 32,
    ]  # fmt: skip
    for point in bad:
        assert raises(Refused, p256.coordinates, point).code == "key-point"
        assert not verified(point, digest, r, s)
    assert verified(q, digest, r, s)


def test_a_refused_key_does_not_take_the_place_of_the_last_one():
    digest, r, s = dressed_up(5, 7, times(5 + 7 * 9, G)[0])
    q = bytearray(encoded(times(9, G)))
    assert verified(q, digest, r, s)
    q[64] ^= 1
    assert not finish(p256.verify_steps(q, digest, r, s))
    other = encoded(times(10, G))
    assert not finish(p256.verify_steps(other, digest, r, s))
    q[64] ^= 1
    assert finish(p256.verify_steps(q, digest, r, s))


def test_verify_takes_strict_der_only():
    digest, r, s = dressed_up(5, 7, times(5 + 7 * 9, G)[0])
    q, signature = encoded(times(9, G)), write_signature(r, s)
    assert p256.verify(q, digest, signature)
    assert not p256.verify(q, digest, signature + b"\x00")
    assert not p256.verify(q, digest, b"")


def test_it_yields_often():
    digest, r, s = dressed_up(N - 5, N // 3, times((N - 5 + N // 3 * 9) % N, G)[0])
    p256._last[0] = (None, b"")
    for least in (60, 60, 30):
        steps = len(list(p256.verify_steps(encoded(times(9, G)), digest, r, s)))
        assert steps > least, steps
