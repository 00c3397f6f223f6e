# SPDX-License-Identifier: MIT
"""HMAC, keys and signatures: published vectors, and that secrets do not steer the work."""

from binascii import unhexlify
from hashlib import sha256

from support import raises

from agent.crypto import csr, der, p256, sign
from agent.crypto.hmac import equal, hmac_sha256
from agent.crypto.steps import finish
from agent.errors import Refused

N = p256.N
# RFC 6979, A.2.5.
KEY = unhexlify("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
X = 0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
Y = 0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299
SIGNED = {
    b"sample": (
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    ),
    b"test": (
        0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
        0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
    ),
}


def number(value):
    return value.to_bytes(32, "big")


class Source:
    """A random source that gives what it is told to, then 1, 2, 3 ..."""

    def __init__(self, *values):
        self.values = list(values)
        self.calls = 0

    def __call__(self, count):
        assert count == 32
        self.calls += 1
        return self.values.pop(0) if self.values else number(self.calls)


def test_hmac_of_rfc_4231():
    for key, data, code in (
        (b"\x0b" * 20, b"Hi There",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", b"what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
    ):  # fmt: skip
        assert hmac_sha256(key, data) == unhexlify(code)


def test_equal():
    for size in (0, 1, 32):
        a = bytes(range(size))
        assert equal(a, bytearray(a)) and not equal(a, a + b"\x00")
        for i in range(size):
            b = bytearray(a)
            b[i] ^= 0x80
            assert not equal(a, b)


def test_the_vectors_of_rfc_6979():
    assert finish(sign.public_key_steps(KEY)) == b"\x04" + number(X) + number(Y)
    for message, (r, s) in SIGNED.items():
        signature = finish(sign.sign_steps(KEY, sha256(message).digest()))
        assert signature == der.write_signature(r, s)


def test_signatures_of_extreme_keys_and_digests_verify():
    for d in (1, 2, 3, 31, 62, (1 << 128) - 1, 1 << 128, N >> 1, N - 62, N - 2, N - 1):
        point = finish(sign.public_key_steps(number(d)))
        for digest in (bytes(32), b"\xff" * 32, number(N), number(N - 1)):
            signature = finish(sign.sign_steps(number(d), digest))
            assert p256.verify(point, digest, signature)
            assert not p256.verify(point, number(7), signature)


def test_small_and_large_multiples_of_g():
    gx, gy = p256.entry(p256.TABLE, 0, 0)
    x, y, z = gx, gy, 1
    for k in range(1, 80):
        zz = p256.inverse(z * z % p256.P, p256.P)
        z_3 = p256.inverse(z * z * z % p256.P, p256.P)
        point = number(x * zz % p256.P), number(y * z_3 % p256.P)
        assert finish(sign.public_key_steps(number(k))) == b"\x04" + point[0] + point[1], k
        opposite = finish(sign.public_key_steps(number(N - k)))
        assert opposite[1:33] == point[0] and opposite[33:] != point[1], k
        x, y, z = p256.add(x, y, z, gx, gy)


def test_the_work_is_the_same_for_every_secret():
    seen = set()
    done = []
    add, double, invert = sign.add, sign.double, p256.inverse

    def spied(name, call):
        def spy(*args):
            done.append(name + str(args[3]) if name == "double" else name)
            return call(*args)

        return spy

    def forbidden(a, modulus):
        raise AssertionError("Euclid on a secret")

    sign.add, sign.double, p256.inverse = spied("add", add), spied("double", double), forbidden
    try:
        for k in (1, 2, 31, 1 << 64, (1 << 128) - 1, 1 << 255, N >> 1, N - 1, X % N, Y % N):
            done[:] = []
            steps = len(list(sign.public_key_steps(number(k))))
            seen.add((steps, "".join(done)))
            finish(sign.sign_steps(number(k), bytes(32)))
    finally:
        sign.add, sign.double, p256.inverse = add, double, invert
    assert len(seen) == 1 and "add" in str(seen)


def test_a_key_is_below_the_order_and_not_zero():
    for refused in (bytes(32), number(N), b"\xff" * 32):
        source = Source(number(9), refused, number(5))
        assert sign.make_key(source, True) == number(5)
    assert sign.make_key(Source(bytes(32), number(N - 1)), True) == number(N - 1)
    assert sign.make_key(Source(number(9), number(1)), True) == number(1)


def test_no_key_without_entropy():
    source = Source()
    assert raises(Refused, sign.make_key, source, False).code == "key-no-entropy"
    assert source.calls == 0
    for dead in (
        lambda count: bytes(count),
        lambda count: b"\x55" * count,
        lambda count: b"short",
        Source(number(1), number(N), number(N)),
        Source(*[number(N + i) for i in range(100)]),
    ):
        assert raises(Refused, sign.make_key, dead, True).code == "key-no-entropy"


def test_what_is_no_key_or_digest_signs_nothing():
    for bad in (bytes(32), number(N), b"\xff" * 32, KEY[1:], KEY + b"\x00", b""):
        assert raises(Refused, finish, sign.public_key_steps(bad)).code == "key-range"
        assert raises(Refused, finish, sign.sign_steps(bad, bytes(32))).code == "key-range"
    for bad in (b"", bytes(31), bytes(33)):
        assert raises(Refused, finish, sign.sign_steps(KEY, bad)).code == "key-digest"


def test_a_nonce_out_of_range_is_replaced():
    # The generator's first output is above the order once in 2**32 times: hand one in.
    codes = []

    def spy(key, data):
        code = hmac_sha256(key, data)
        codes.append(code)
        return b"\xff" * 32 if len(codes) in (5, 8) else code

    sign.hmac_sha256 = spy
    try:
        digest = sha256(b"sample").digest()
        signature = finish(sign.sign_steps(KEY, digest))
    finally:
        sign.hmac_sha256 = hmac_sha256
    assert len(codes) == 11, len(codes)
    assert signature != der.write_signature(*SIGNED[b"sample"])
    assert p256.verify(b"\x04" + number(X) + number(Y), digest, signature)


def test_signing_yields_often():
    assert len(list(sign.sign_steps(KEY, bytes(32)))) > 50
    assert len(list(sign.public_key_steps(KEY))) > 40


def test_a_request_is_the_same_bytes_each_time():
    point = finish(sign.public_key_steps(KEY))
    request = finish(csr.request_steps(KEY, "board-1"))
    assert request == finish(csr.request_steps(KEY, "board-1", point))
    start, stop = der.whole(request, der.SEQUENCE)
    _, end = der.inside(request, start, stop, der.SEQUENCE)
    first, last = der.inside(request, end + 12, stop, der.BIT_STRING)
    assert request[end : end + 12] == der.ECDSA_SHA256 and last == len(request)
    digest = sha256(request[start:end]).digest()
    assert p256.verify(point, digest, request[first + 1 :])
    assert b"\x0c\x07board-1" in request and point + b"\xa0\x00" in request
    assert request != finish(csr.request_steps(KEY, "board-2"))


def test_public_keys_are_read_in_their_one_encoding():
    point = finish(sign.public_key_steps(KEY))
    spki = der.P256_KEY + point
    assert der.read_key(spki) == point
    for bad in (b"", spki[:-1], spki + b"\x00", point, b"\x30\x81" + spki[1:]):
        assert raises(Refused, der.read_key, bad).code == "der"
    for i in range(26):
        bad = bytearray(spki)
        bad[i] ^= 1
        assert raises(Refused, der.read_key, bad).code == "der"


def test_signatures_are_read_in_their_one_encoding():
    assert der.read_signature(b"\x30\x06\x02\x01\x05\x02\x01\x07") == (5, 7)
    assert der.read_signature(b"\x30\x07\x02\x02\x00\x80\x02\x01\x07") == (128, 7)
    for bad in (
        "3007020200050201 07", "30060201850201 07", "3081060201050201 07", "30800201050201070000",
        "30070201050201 0700", "3006020105020107 00", "300502010502 00", "3003020105", "3000", "",
        "310602010502 0107", "3006030105020107", "300702810105020107", "3f06020105020107",
        "3084000000060201050201 07", "308200060201050201 07", "3007020105020107",
    ):  # fmt: skip
        bad = unhexlify(bad.replace(" ", ""))
        assert raises(Refused, der.read_signature, bad).code == "der"
