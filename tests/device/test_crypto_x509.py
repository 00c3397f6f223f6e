# SPDX-License-Identifier: MIT
"""Certificates, written here piece by piece so that each piece can be wrong.

tests/host/test_crypto_certificates.py does the same with those of the fleet's own authority.
"""

from binascii import unhexlify
from hashlib import sha256

from support import raises

from agent.crypto import der, sign, x509
from agent.crypto.steps import finish
from agent.errors import Refused

AUTHORITY_KEY = b"\x11" * 32
BOARD_KEY = b"\x22" * 32
AUTHORITY_POINT = finish(sign.public_key_steps(AUTHORITY_KEY))
BOARD_POINT = finish(sign.public_key_steps(BOARD_KEY))
NOW = 1780000000  # in May 2026

OCTETS, OID, SEQUENCE = der.OCTETS, der.OID, der.SEQUENCE
TRUE = b"\x01\x01\xff"
LEAF = b"\x30\x00"
AUTHORITY = b"\x30\x03" + TRUE
CLIENT, SERVER = unhexlify("2b06010505070302"), unhexlify("2b06010505070301")


def attribute(value, tag=der.UTF8, kind=der.COMMON_NAME):
    return der.write(SEQUENCE, der.write(OID, kind), der.write(tag, value))


def named(*attributes):
    return der.write(SEQUENCE, *[der.write(der.SET, one) for one in attributes])


def extension(last, content, critical=TRUE):
    name = der.write(OID, b"\x55\x1d" + last)
    return der.write(SEQUENCE, name, critical, der.write(OCTETS, content))


def purposes(*names):
    return extension(b"\x25", der.write(SEQUENCE, *[der.write(OID, name) for name in names]), b"")


def usage(*octets):
    return extension(b"\x0f", der.write(der.BIT_STRING, bytes(octets)))


ISSUER = named(attribute(b"Fleet CA"))
BEFORE = b"\x17\x0d260101000000Z"
AFTER = b"\x17\x0d271231235959Z"
DEFAULT = extension(b"\x13", LEAF), usage(7, 0x80), purposes(CLIENT)


class Parts:
    """The parts of a certificate; a test replaces some and takes the `made` one."""

    def __init__(self, **other):
        self.version = b"\xa0\x03\x02\x01\x02"
        self.serial = b"\x02\x01\x05"
        self.inner = self.outer = der.ECDSA_SHA256
        self.issuer = ISSUER
        self.validity = der.write(SEQUENCE, BEFORE, AFTER)
        self.subject = named(attribute(b"board-1"))
        self.spki = der.P256_KEY + BOARD_POINT
        self.unique = b""
        self.extensions = DEFAULT
        self.key = AUTHORITY_KEY
        self.unused = b"\x00"
        self.more = b""
        for name, value in other.items():
            setattr(self, name, value)

    def made(self):
        extensions = b""
        if self.extensions is not None:
            extensions = der.write(0xA3, der.write(SEQUENCE, *self.extensions))
        tbs = der.write(
            SEQUENCE, self.version, self.serial, self.inner, self.issuer, self.validity,
            self.subject, self.spki, self.unique, extensions,
        )  # fmt: skip
        signature = finish(sign.sign_steps(self.key, sha256(tbs).digest()))
        signature = der.write(der.BIT_STRING, self.unused, signature)
        return der.write(SEQUENCE, tbs, self.outer, signature, self.more)


def made(**other):
    return Parts(**other).made()


def authority(**other):
    parts = {
        "subject": ISSUER,
        "spki": der.P256_KEY + AUTHORITY_POINT,
        "extensions": (extension(b"\x13", AUTHORITY), usage(1, 0x06)),
    }
    parts.update(other)
    return made(**parts)


FLEET = authority()
GOOD = made()


def verdict(data, now=NOW, ca=FLEET, point=BOARD_POINT, name="board-1"):
    try:
        finish(x509.check_steps(data, ca, point, name, now))
    except Refused as e:
        return e.code
    return None


def malformed(data):
    assert raises(Refused, x509.read, data).code == "certificate-malformed"
    return verdict(data) == "certificate-malformed"


def test_a_good_one():
    found = x509.read(GOOD)
    assert found.name == "board-1" and found.point == BOARD_POINT
    assert found.subject == named(attribute(b"board-1")) and found.issuer == ISSUER
    assert found.not_before == 1767225600 and found.not_after == 1830297599
    assert found.tbs in GOOD and not found.is_authority and found.is_client
    assert x509.read(FLEET).is_authority and not x509.read(FLEET).is_client
    assert verdict(GOOD) is None
    assert verdict(made(subject=named(attribute(b"board-1", 0x13)))) is None
    other = attribute(b"Acme", der.UTF8, b"\x55\x04\x0a")
    assert verdict(made(subject=named(other, attribute(b"board-1")))) is None


def test_one_for_somebody_else():
    assert verdict(GOOD, point=AUTHORITY_POINT) == "certificate-key"
    assert verdict(GOOD, name="board-2") == "certificate-name"
    for value in (b"board-1\x00", b"board-10", b"Board-1", b"", b"board-1 "):
        assert verdict(made(subject=named(attribute(value)))) == "certificate-name"
    assert verdict(made(subject=named())) == "certificate-name"
    organisation = attribute(b"board-1", der.UTF8, b"\x55\x04\x0a")
    assert verdict(made(subject=named(organisation))) == "certificate-name"


def test_time():
    assert verdict(GOOD, now=1767225600) is None
    assert verdict(GOOD, now=1830297599) is None
    assert verdict(GOOD, now=1767225599) == "certificate-future"
    assert verdict(GOOD, now=1830297600) == "certificate-expired"
    assert verdict(GOOD, now=946684800) == "certificate-future"


def test_one_that_this_authority_did_not_sign():
    assert verdict(made(key=BOARD_KEY)) == "certificate-ca"
    assert verdict(made(issuer=named(attribute(b"Fleet CB")))) == "certificate-ca"
    forged = bytearray(GOOD)
    forged[GOOD.index(b"271231")] = 0x33
    assert x509.read(forged).not_after > 1830297599 and verdict(forged) == "certificate-ca"
    assert verdict(GOOD, ca=GOOD) == "certificate-ca"
    for ca in (
        b"", FLEET[:-1], b"\x30\x00",
        authority(extensions=(extension(b"\x13", LEAF),)),
        authority(extensions=None),
        authority(extensions=(extension(b"\x13", AUTHORITY), usage(7, 0x80))),
        authority(extensions=(extension(b"\x13", AUTHORITY), extension(b"\x1e", LEAF))),
        authority(spki=der.P256_KEY + b"\x04" + bytes(64)),
    ):  # fmt: skip
        assert verdict(GOOD, ca=ca) == "certificate-ca"
    assert verdict(GOOD, ca=authority(extensions=(extension(b"\x13", AUTHORITY),))) is None


def test_one_that_is_not_for_clients():
    basic, digital, client = DEFAULT
    for extensions in (
        (basic, digital, purposes(SERVER)),
        (basic, usage(5, 0x20), client),
        (extension(b"\x13", AUTHORITY), digital, client),
        DEFAULT + (extension(b"\x11", LEAF),),
        DEFAULT + (extension(b"\x99", b""),),
    ):
        assert verdict(made(extensions=extensions)) == "certificate-use"
    for extensions in (
        None,
        (basic,),
        (digital,),
        (basic, digital, purposes(SERVER, CLIENT)),
        (basic, digital, purposes(b"\x55\x1d\x25\x00")),
        DEFAULT + (extension(b"\x11", LEAF, b""),),
    ):
        assert verdict(made(extensions=extensions)) is None


def test_what_deviates_from_der_or_rfc_5280():
    basic = DEFAULT[0]
    name = attribute(b"board-1")
    for other in (
        {"version": b"\xa0\x03\x02\x01\x01"}, {"version": b""}, {"serial": b"\x02\x01\x00"},
        {"serial": b"\x02\x01\x85"}, {"serial": der.write(2, b"\x01" * 21)},
        {"serial": b"\x02\x00"}, {"inner": der.write(SEQUENCE, b"\x06\x01\x2a")},
        {"outer": der.write(SEQUENCE, b"\x06\x01\x2a")}, {"unused": b""}, {"unused": b"\x01"},
        {"more": b"\x05\x00"}, {"unique": b"\x81\x02\x00\x00"},
        {"spki": der.P256_KEY + BOARD_POINT[:-1]},
        {"subject": named(name, name)}, {"subject": named(name + name)},
        {"subject": named(attribute(b"board-1", 0x1E))}, {"subject": named(b"")},
        {"subject": named(der.write(SEQUENCE, der.write(OID, der.COMMON_NAME)))},
        {"subject": named(attribute(b"\xff\xff"))},
        {"extensions": ()}, {"extensions": (basic, basic)}, {"extensions": (b"\x30\x00",)},
        {"extensions": (extension(b"\x13", LEAF, b"\x01\x01\x00"),)},
        {"extensions": (extension(b"\x13", b"\x30\x03\x01\x01\x00"),)},
        {"extensions": (extension(b"\x13", LEAF + b"\x00"),)},
        {"extensions": (extension(b"\x13", b"\x30\x03\x02\x01\xff"),)},
        {"extensions": (extension(b"\x13", b""),)},
        {"extensions": (usage(7),)}, {"extensions": (usage(),)}, {"extensions": (usage(8, 0),)},
        {"extensions": (usage(7, 0x81),)}, {"extensions": (usage(0, 1, 1, 1),)},
        {"extensions": (purposes(),)}, {"extensions": (extension(b"\x25", b"\x30\x02\x05\x00"),)},
    ):  # fmt: skip
        assert malformed(made(**other)), other
    assert malformed(GOOD + b"\x00") and malformed(b"") and malformed(bytes(5000))
    assert malformed(made(subject=named(attribute(b"x" * 4000))))


def test_times_of_rfc_5280():
    def seconds(encoded):
        return x509.read(made(validity=der.write(SEQUENCE, encoded, AFTER))).not_before

    assert seconds(b"\x17\x0d500101000000Z") == -631152000
    assert seconds(b"\x17\x0d491231235959Z") == 2524607999
    assert seconds(b"\x17\x0d700101000001Z") == 1
    assert seconds(b"\x17\x0d000229120000Z") == 951825600
    assert seconds(b"\x17\x0d240301000000Z") == 1709251200
    assert seconds(b"\x18\x0f20500101000000Z") == 2524608000
    assert seconds(b"\x18\x0f99991231235959Z") == 253402300799
    for bad in (
        b"\x17\x0d250229000000Z", b"\x17\x0d261301000000Z", b"\x17\x0d260001000000Z",
        b"\x17\x0d260100000000Z", b"\x17\x0d260132000000Z", b"\x17\x0d260101240000Z",
        b"\x17\x0d260101006000Z", b"\x17\x0d260101000060Z", b"\x17\x0d2601010000000",
        b"\x17\x0b2601010000Z", b"\x17\x0d-60101000000Z", b"\x17\x0d26 101000000Z",
        b"\x17\x0d\xb260101000000Z", b"\x18\x0f20260101000000Z", b"\x18\x0f2100022900000Z0",
        b"\x18\x0f21000229000000Z", b"\x18\x1120500101000000.0Z", b"\x16\x0d260101000000Z",
        b"\x17\x00", b"\x18\x00",
    ):  # fmt: skip
        assert malformed(made(validity=der.write(SEQUENCE, bad, AFTER))), bad
    assert malformed(made(validity=der.write(SEQUENCE, BEFORE)))
    assert malformed(made(validity=der.write(SEQUENCE, BEFORE, AFTER, AFTER)))


def test_cut_anywhere_it_is_malformed():
    for size in range(len(GOOD)):
        assert raises(Refused, x509.read, GOOD[:size]).code == "certificate-malformed"


def test_with_any_bit_flipped_it_is_refused():
    # Reading alone, so that it is quick; signatures are only checked where reading went well.
    readable = 0
    bad = bytearray(GOOD)
    for place in range(8 * len(GOOD)):
        at, bit = place >> 3, 1 << (place & 7)
        bad[at] ^= bit
        try:
            x509.read(bad)
            readable += 1
            assert readable & 15 or verdict(bad) is not None, place
        except Refused as e:
            assert e.code == "certificate-malformed"
        bad[at] ^= bit
    assert 500 < readable < 1800, readable


def test_noise_gets_an_answer():
    state = 1
    for size in range(300):
        data = bytearray(GOOD[: size // 2])
        for _ in range(size):
            state = state * 1103515245 + 12345 & 0x7FFFFFFF
            data.append(state >> 16 & 255)
        assert raises(Refused, x509.read, data).code == "certificate-malformed"
