# SPDX-License-Identifier: MIT
"""DER, strict (X.690): exactly one encoding of each value is read, and only that is written.

Lengths are definite and shortest, integers shortest, nothing follows the outermost element.
Whatever deviates raises Refused("der"), and nothing else is ever raised for bytes.
"""

from binascii import unhexlify

from micropython import const

from agent.errors import Refused

BOOLEAN = const(0x01)
INTEGER = const(0x02)
BIT_STRING = const(0x03)
OCTETS = const(0x04)
OID = const(0x06)
UTF8 = const(0x0C)
SEQUENCE = const(0x30)
SET = const(0x31)

# SubjectPublicKeyInfo of an uncompressed P-256 point up to the point: id-ecPublicKey, secp256r1,
# 65 bytes (RFC 5480, 2). DER has no other form of it, so reading is comparing.
P256_KEY = unhexlify(b"3059301306072a8648ce3d020106082a8648ce3d030107034200")
ECDSA_SHA256 = unhexlify(b"300a06082a8648ce3d040302")  # AlgorithmIdentifier (RFC 5758, 3.2)
COMMON_NAME = unhexlify(b"550403")  # id-at-commonName (RFC 5280, appendix A.1)


def refuse():
    raise Refused("der")


def element(data, at, end):
    """The element at `at`: (tag, where its content starts, where it ends), all before `end`."""
    if end - at < 2:
        refuse()
    tag, length = data[at], data[at + 1]
    at += 2
    if tag & 31 == 31:
        refuse()
    if length > 127:
        size = length & 127
        # Four bytes of length say more than any board can hold.
        if not 0 < size < 4 or end - at < size:
            refuse()
        length = int.from_bytes(data[at : at + size], "big")
        if length < 128 or length >> 8 * (size - 1) == 0:
            refuse()
        at += size
    if length > end - at:
        refuse()
    return tag, at, at + length


def inside(data, at, end, tag):
    """The content of the element at `at`, which must have this tag: (start, end)."""
    found, start, stop = element(data, at, end)
    if found != tag:
        refuse()
    return start, stop


def whole(data, tag):
    """Like `inside`, for an element that fills all of `data`."""
    start, stop = inside(data, 0, len(data), tag)
    if stop != len(data):
        refuse()
    return start, stop


def integer(data, start, stop):
    """The value of an INTEGER's content; negative ones are refused, nobody here needs them."""
    if start == stop or data[start] > 127:
        refuse()
    if stop - start > 1 and data[start] == 0 and data[start + 1] < 128:
        refuse()
    return int.from_bytes(data[start:stop], "big")


def read_signature(data):
    """(r, s) of an ECDSA signature (RFC 3279, 2.2.3). Their range is for the verifier to check."""
    at, end = whole(data, SEQUENCE)
    start, stop = inside(data, at, end, INTEGER)
    r = integer(data, start, stop)
    start, stop = inside(data, stop, end, INTEGER)
    if stop != end:
        refuse()
    return r, integer(data, start, stop)


def read_key(spki):
    """The 65 bytes of the point in a SubjectPublicKeyInfo; whether it is one is not checked."""
    if len(spki) != 91 or spki[:26] != P256_KEY:
        refuse()
    return spki[26:]


def write(tag, *parts):
    """An element with the given contents, one after the other."""
    content = b"".join(parts)
    length = len(content)
    if length < 128:
        return bytes((tag, length)) + content
    if length < 256:
        return bytes((tag, 0x81, length)) + content
    return bytes((tag, 0x82, length >> 8, length & 255)) + content


def write_integer(value):
    """The INTEGER of a value from 0 to 2**256 - 1."""
    content = value.to_bytes(33, "big")
    at = 0
    while at < 32 and content[at] == 0 and content[at + 1] < 128:
        at += 1
    return write(INTEGER, content[at:])


def write_signature(r, s):
    return write(SEQUENCE, write_integer(r), write_integer(s))
