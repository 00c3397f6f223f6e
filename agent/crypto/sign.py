# SPDX-License-Identifier: MIT
"""P-256 with secrets: making keys, their public points, signatures (FIPS 186-5; RFC 6979).

Invariants:
- a nonce is derived from key and digest alone, so the same request is always the same bytes, and
  no state of a random source can give a nonce away;
- a secret scalar is written in 26 pairs of odd digits, whatever its value: the sequence of
  doublings and additions, and the sequence of calls that it is made of, are always the same;
- secrets are inverted by a power with a public exponent, never by Euclid.

What that does not give: MicroPython's big integers drop leading zero words, so that the time of
one multiplication depends a little on its operands; which entry of the table is read shows in
the cache; and big integers stay in the heap until it is collected and written over. Against
somebody who measures across a network it is enough; not against a probe at the board, nor against
code that runs beside the agent. `p256.add` takes another path when both points are the same or
opposite, which for random scalars happens once in 2**240 times.

Source of the digits: Joye, Tunstall: Exponent recoding and regular exponentiation algorithms.
"""

from micropython import const

from agent.crypto.der import write_signature
from agent.crypto.generator import TABLE
from agent.crypto.hmac import hmac_sha256
from agent.crypto.p256 import N, P, add, double, entry
from agent.errors import Refused

_DIGITS = const(26)  # of five bits: 130 bits for each half of a scalar
_LOW = (1 << 128) - 1
_ALL = (1 << 130) - 1
_TRIES = const(64)


def make_key(random, radio_on):
    """A private key: 32 bytes, big-endian, 0 < key < N (FIPS 186-5, A.2.2: rejection).

    `random(32)` is the board's hardware source; on an ESP32 that is random only while Wi-Fi or
    Bluetooth runs, which the caller knows. Refused("key-no-entropy") if not, or if the source
    repeats itself.
    """
    last = random(32) if radio_on else b""
    for _ in range(_TRIES):
        key = random(32) if radio_on else b""
        if len(key) != 32 or key == last:
            break
        if 0 < int.from_bytes(key, "big") < N:
            return key
        last = key
    raise Refused("key-no-entropy")


def public_key_steps(key):
    """Generator; returns the point of a private key: 65 bytes, 04 || X || Y."""
    x, y, z = yield from _multiply_steps(_scalar(key))
    z = yield from _inverse_steps(z, P)
    zz = z * z % P
    x = x * zz % P
    return b"\x04" + x.to_bytes(32, "big") + (zz * z % P * y % P).to_bytes(32, "big")


def sign_steps(key, digest):
    """Generator; returns the signature of a SHA-256 digest, in DER."""
    d = _scalar(key)
    if len(digest) != 32:
        raise Refused("key-digest")
    e = int.from_bytes(digest, "big") % N
    # RFC 6979, 3.2. With 32 bytes for digest, order and hash, one output of the generator is one
    # candidate, and bits2octets is the digest modulo N.
    seed = bytes(key) + e.to_bytes(32, "big")
    k = bytes(32)
    v = b"\x01" * 32
    for mark in (b"\x00", b"\x01"):
        k = hmac_sha256(k, v + mark + seed)
        v = hmac_sha256(k, v)
        yield
    while True:
        v = hmac_sha256(k, v)
        nonce = int.from_bytes(v, "big")
        if 0 < nonce < N:
            x, _, z = yield from _multiply_steps(nonce)
            z = yield from _inverse_steps(z, P)
            r = z * z % P * x % P % N
            nonce = yield from _inverse_steps(nonce, N)
            s = (e + r * d) % N * nonce % N
            if r and s:
                return write_signature(r, s)
        k = hmac_sha256(k, v + b"\x00")
        v = hmac_sha256(k, v)


def _scalar(key):
    d = int.from_bytes(key, "big")
    if len(key) != 32 or not 0 < d < N:
        raise Refused("key-range")
    return d


def _multiply_steps(k):
    """Generator; returns k * G in Jacobian coordinates, 0 < k < N."""
    # An odd scalar, as the sum of two odd halves: low + high * 2**128.
    k += N * (1 - (k & 1))
    high = k >> 128 | 1
    low = k - (high << 128)
    # An odd number is the sum of odd digits, -31 to 31, times powers of 32. In binary, the digits
    # of (number + all ones) / 2 are (digit + 31) / 2.
    high = (high + _ALL) >> 1
    low = (low + _ALL) >> 1
    at = 5 * (_DIGITS - 1)
    x, y = _odd_multiple(high >> at, 16)
    x, y, z = add(x, y, 1, *_odd_multiple(low >> at, 0))
    while at:
        at -= 5
        yield
        x, y, z = double(x, y, z, 5)
        x, y, z = add(x, y, z, *_odd_multiple(high >> at, 16))
        x, y, z = add(x, y, z, *_odd_multiple(low >> at, 0))
    return x, y, z


def _odd_multiple(bits, first):
    """The affine point of the digit in the lowest five bits; its table starts at `first`."""
    negative = bits >> 4 & 1 ^ 1
    return entry(TABLE, first + ((bits ^ -negative) & 15), negative)


def _inverse_steps(a, modulus):
    """Generator; returns 1/a as a**(modulus - 2), in windows of four bits of the exponent."""
    powers = [1]
    for _ in range(15):
        powers.append(powers[-1] * a % modulus)
    yield
    exponent = (modulus - 2).to_bytes(32, "big")
    result = 1
    for i in range(64):
        for _ in range(4):
            result = result * result % modulus
        pair = exponent[i >> 1]
        result = result * powers[pair & 15 if i & 1 else pair >> 4] % modulus
        if i & 3 == 3:
            yield
    return result
