# SPDX-License-Identifier: MIT
"""Reads X.509 v3 certificates on P-256 (RFC 5280), strictly, and checks the board's own.

Invariants:
- any bytes give a `Certificate` or Refused("certificate-malformed"), in time linear in their size;
- what is read was signed: nothing is taken from outside of `tbs` but the signature;
- an extension that is critical and not known here makes the certificate unusable (4.2).

A path has one step: the fleet's CA signs leaves. mbed TLS checks the broker; this is for the
certificate that a board is about to store, so that a wrong one does not cost it its identity.
"""

from hashlib import sha256

from micropython import const

from agent.crypto import der
from agent.errors import Refused

_LONGEST = const(4096)  # more fits neither a message nor NVS
_UTC_TIME = const(0x17)
_GENERALIZED_TIME = const(0x18)
_PRINTABLE = const(0x13)
_VERSION_3 = b"\xa0\x03\x02\x01\x02"
# Below id-ce, 2.5.29.
_BASIC_CONSTRAINTS = b"\x55\x1d\x13"
_KEY_USAGE = b"\x55\x1d\x0f"
_EXTENDED_KEY_USAGE = b"\x55\x1d\x25"
_ANY_PURPOSE = b"\x55\x1d\x25\x00"
_CLIENT_AUTH = b"\x2b\x06\x01\x05\x05\x07\x03\x02"
_DAYS = b"\x1f\x1c\x1f\x1e\x1f\x1e\x1f\x1f\x1e\x1f\x1e\x1f"
_DIGITAL_SIGNATURE = const(0x80)
_KEY_CERT_SIGN = const(0x04)


class Certificate:
    """`name`: the subject's CN or None; times in Unix seconds; `point`: 65 bytes, unchecked.

    `tbs`, `issuer`, `subject`: DER. `is_authority`, `is_client`: what its extensions allow.
    """


def read(data):
    try:
        return _read(data)
    except Refused:
        raise Refused("certificate-malformed")


def check_steps(data, authority, point, name, now):
    """Generator; refuses a certificate that is not for the key of `point` and for `name`, signed
    by the certificate `authority`, valid `now` (Unix seconds), and good for a TLS client.
    """
    from agent.crypto.p256 import verify_steps

    found = read(data)
    if found.point != point:
        raise Refused("certificate-key")
    if found.name != name:
        raise Refused("certificate-name")
    if not found.is_client:
        raise Refused("certificate-use")
    if now > found.not_after:
        raise Refused("certificate-expired")
    if now < found.not_before:
        raise Refused("certificate-future")
    try:
        signer = _read(authority)
    except Refused:
        raise Refused("certificate-ca")
    if not signer.is_authority or signer.subject != found.issuer:
        raise Refused("certificate-ca")
    digest = sha256(found.tbs).digest()
    if not (yield from verify_steps(signer.point, digest, found.r, found.s)):
        raise Refused("certificate-ca")


def _read(data):
    if len(data) > _LONGEST:
        der.refuse()
    found = Certificate()
    start, end = der.whole(data, der.SEQUENCE)
    at, stop = der.inside(data, start, end, der.SEQUENCE)
    found.tbs = data[start:stop]
    rest = stop + len(der.ECDSA_SHA256)
    if data[stop:rest] != der.ECDSA_SHA256:
        der.refuse()
    first, last = der.inside(data, rest, end, der.BIT_STRING)
    if last != end or data[first : first + 1] != b"\x00":
        der.refuse()
    found.r, found.s = der.read_signature(data[first + 1 : last])
    _read_tbs(found, data, at, stop)
    return found


def _read_tbs(found, data, at, end):
    if data[at : at + 5] != _VERSION_3:
        der.refuse()
    start, stop = der.inside(data, at + 5, end, der.INTEGER)
    if stop - start > 20 or not der.integer(data, start, stop):  # the serial number, 4.1.2.2
        der.refuse()
    at = stop + len(der.ECDSA_SHA256)
    if data[stop:at] != der.ECDSA_SHA256:
        der.refuse()
    _, stop = der.inside(data, at, end, der.SEQUENCE)
    found.issuer = data[at:stop]
    start, at = der.inside(data, stop, end, der.SEQUENCE)
    found.not_before, start = _time(data, start, at)
    found.not_after, start = _time(data, start, at)
    if start != at:
        der.refuse()
    start, stop = der.inside(data, at, end, der.SEQUENCE)
    found.subject = data[at:stop]
    found.name = _common_name(data, start, stop)
    at = stop + 91
    found.point = der.read_key(data[stop:at])
    # No unique identifiers: RFC 5280 forbids authorities to write them.
    found.is_authority, found.is_client = False, True
    if at != end:
        start, stop = der.inside(data, at, end, 0xA3)
        if stop != end:
            der.refuse()
        at, stop = der.inside(data, start, stop, der.SEQUENCE)
        if stop != end or at == stop:
            der.refuse()
        _read_extensions(found, data, at, stop)


def _read_extensions(found, data, at, end):
    seen = set()
    authority = False
    usage = 0xFF
    purpose = usable = True
    while at < end:
        start, at = der.inside(data, at, end, der.SEQUENCE)
        first, last = der.inside(data, start, at, der.OID)
        name = bytes(data[first:last])
        if not name or name in seen:
            der.refuse()
        seen.add(name)
        critical, last = _flag(data, last, at)
        start, stop = der.inside(data, last, at, der.OCTETS)
        if stop != at:
            der.refuse()
        if name == _BASIC_CONSTRAINTS:
            authority = _basic_constraints(data, start, stop)
        elif name == _KEY_USAGE:
            usage = _key_usage(data, start, stop)
        elif name == _EXTENDED_KEY_USAGE:
            purpose = _allows_client(data, start, stop)
        elif critical:
            usable = False
    found.is_authority = bool(usable and authority and usage & _KEY_CERT_SIGN)
    found.is_client = bool(usable and not authority and purpose and usage & _DIGITAL_SIGNATURE)


def _flag(data, at, end):
    """(value, end) of a BOOLEAN DEFAULT FALSE at `at`; DER leaves it out when it is false."""
    if data[at : min(at + 1, end)] != b"\x01":
        return False, at
    start, stop = der.inside(data, at, end, der.BOOLEAN)
    if data[start:stop] != b"\xff":
        der.refuse()
    return True, stop


def _basic_constraints(data, at, end):
    at, stop = der.inside(data, at, end, der.SEQUENCE)
    authority, at = _flag(data, at, stop)
    if at != stop:
        start, at = der.inside(data, at, stop, der.INTEGER)
        der.integer(data, start, at)  # a path's length; a leaf needs none
    if at != stop or stop != end:
        der.refuse()
    return authority


def _key_usage(data, at, end):
    """The first eight bits of the named bits (4.2.1.3)."""
    at, stop = der.inside(data, at, end, der.BIT_STRING)
    if stop != end or not 2 <= stop - at <= 3:
        der.refuse()
    unused = data[at]
    if unused > 7 or data[stop - 1] & ((1 << unused) - 1):
        der.refuse()
    return data[at + 1]


def _allows_client(data, at, end):
    at, stop = der.inside(data, at, end, der.SEQUENCE)
    if stop != end or at == stop:
        der.refuse()
    allowed = False
    while at < stop:
        start, at = der.inside(data, at, stop, der.OID)
        allowed = allowed or data[start:at] in (_CLIENT_AUTH, _ANY_PURPOSE)
    return allowed


def _common_name(data, at, end):
    """The CN of a name that has one; two are refused, because the broker may take the other."""
    name = None
    while at < end:
        start, at = der.inside(data, at, end, der.SET)
        if start == at:
            der.refuse()
        while start < at:
            first, start = der.inside(data, start, at, der.SEQUENCE)
            first, last = der.inside(data, first, start, der.OID)
            is_name = data[first:last] == der.COMMON_NAME
            tag, first, last = der.element(data, last, start)
            if last != start:
                der.refuse()
            if is_name:
                if name is not None or tag not in (der.UTF8, _PRINTABLE):
                    der.refuse()
                try:
                    name = bytes(data[first:last]).decode()
                except (ValueError, UnicodeError):
                    der.refuse()
    return name


def _time(data, at, end):
    """(Unix seconds, where the next element starts) of a Time (4.1.2.5)."""
    tag, start, stop = der.element(data, at, end)
    text = bytes(data[start:stop])
    if tag == _UTC_TIME and len(text) == 13:
        text = (b"19" if text >= b"5" else b"20") + text
    elif tag != _GENERALIZED_TIME or text < b"205":
        der.refuse()  # years up to 2049 are UTCTime
    if len(text) != 15 or text[14] != 0x5A or any([not 48 <= c <= 57 for c in text[:14]]):
        der.refuse()
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    hour, minute, second = int(text[8:10]), int(text[10:12]), int(text[12:14])
    if not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 59:
        der.refuse()
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= day <= (29 if month == 2 and leap else _DAYS[month - 1]):
        der.refuse()
    # Days since 1970 of a year that begins in March, so that a leap day is its last.
    if month < 3:
        year, month = year - 1, month + 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day
    return ((days - 719469) * 24 + hour) * 3600 + minute * 60 + second, stop
