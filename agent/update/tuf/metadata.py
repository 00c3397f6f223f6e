# SPDX-License-Identifier: MIT
"""The fields that TUF defines, each with its type (specification 1.0.34, section 4).

Fields that TUF does not define are signed along with the rest and otherwise left alone. What a
reader here returns is small, and holds no reference to the document.
"""

import gc
from binascii import unhexlify
from hashlib import sha256

from agent.errors import Refused
from agent.update.tuf.canonical import canonical
from agent.update.tuf.document import (
    blank,
    boolean,
    elements,
    fields,
    integer,
    members,
    refuse,
    text,
)
from agent.update.tuf.grammar import check

TOP_LEVEL = ("root", "timestamp", "snapshot", "targets")
_COMMON = ("_type", "spec_version", "version", "expires")


class Limits:
    """What a build accepts; an instance with other values goes to the client.

    Lengths are in bytes. One document at a time is in the heap, in one piece, with about a tenth
    of its size beside it while it is read.
    """

    root = 16384
    timestamp = 4096
    snapshot = 16384
    targets = 32768
    depth = 16  # of objects and lists in one another
    rotations = 32  # root versions in one refresh
    visits = 32  # roles that one search may look into
    roles = 64  # delegations of one role, and files that a snapshot lists
    keys = 16  # keys and signatures of one role
    name = 64  # bytes of a role's name


class Message:
    """A signed document: bytes, position of what is signed, {key id: signature}, SHA-256."""

    def __init__(self, data, signed, signatures, digest):
        self.data = data
        self.signed = signed
        self.signatures = signatures
        self.digest = digest
        self.verified = {}  # key -> what `keys.verify` said

    def feed(self, update):
        """Generator of steps: streams what is signed, in canonical form."""
        return canonical(self.data, self.signed, update)


def read(data, longest, limits):
    """Generator of steps; returns the Message in `data`, whose signatures are yet unverified."""
    if len(data) > longest:
        raise Refused("tuf-length", str(len(data)))
    yield from check(data, limits.depth)
    outer = _required(data, blank(data, 0), ("signatures", "signed"))
    signatures = {}
    for at in elements(data, outer["signatures"]):
        one = _required(data, at, ("keyid", "sig"))
        key_id = text(data, one["keyid"], 128)
        if key_id in signatures:
            refuse("signed twice by " + key_id)
        if len(signatures) == limits.keys:
            refuse("too many signatures")
        signatures[key_id] = text(data, one["sig"], 2048)
    digest = sha256()
    yield from canonical(data, outer["signed"], digest.update)
    gc.collect()  # see trust.require
    return Message(data, outer["signed"], signatures, digest.digest())


def unsigned(data):
    """The position of what is signed in a document that was verified before."""
    return fields(data, blank(data, 0), ("signed",))["signed"]


class Role:
    """What every role's metadata has: version, expires (Unix seconds), `at` (name -> position)."""

    def __init__(self, data, signed, kind, names):
        self.at = at = fields(data, signed, _COMMON + names)
        for name in _COMMON:
            if name not in at:
                refuse("no " + name)
        if text(data, at["_type"]) != kind:
            refuse("not " + kind)
        parts = text(data, at["spec_version"], 16).split(".")
        if len(parts) not in (2, 3) or not all([_is_decimal(part) for part in parts]):
            refuse("spec_version")
        if parts[0] != "1":
            raise Refused("tuf-spec", ".".join(parts))
        self.version = integer(data, at["version"], 1)
        self.expires = unix_time(text(data, at["expires"], 20))


def read_root(message, limits):
    """A Role with `consistent` (bool) and `roles`: {name: (threshold, {key id: key})}."""
    data = message.data
    role = Role(data, message.signed, "root", ("keys", "roles", "consistent_snapshot"))
    at = role.at
    if "keys" not in at or "roles" not in at:
        refuse("no keys or roles")
    role.consistent = "consistent_snapshot" in at and boolean(data, at["consistent_snapshot"])
    role.roles = {}
    for name, one in _required(data, at["roles"], TOP_LEVEL).items():
        role.roles[name] = read_authority(data, one, at["keys"], limits)
    return role


def read_timestamp(message, limits):
    """A Role with `meta`: (version, length or None, hashes or None) of the snapshot."""
    data = message.data
    role = Role(data, message.signed, "timestamp", ("meta",))
    role.meta = _listed(data, _required(data, _meta(role), ("snapshot.json",))["snapshot.json"])
    return role


def read_snapshot(message, limits):
    """A Role with `meta`: {file name: (version, length or None, hashes or None)}."""
    data = message.data
    role = Role(data, message.signed, "snapshot", ("meta",))
    role.meta = {}
    for name, at in members(data, _meta(role)):
        if len(role.meta) == limits.roles:
            refuse("too many files")
        role.meta[name] = _listed(data, at)
    return role


def read_authority(data, at, keys, limits):
    """(threshold, {key id: key}): who signs for a role. Ids without a key are left out.

    `keys` is the position of the object that the ids look up.
    """
    role = _required(data, at, ("keyids", "threshold"))
    key_ids = []
    for one in elements(data, role["keyids"]):
        key_id = text(data, one, 128)
        if key_id in key_ids:
            refuse("key id twice: " + key_id)
        if len(key_ids) == limits.keys:
            refuse("too many keys")
        key_ids.append(key_id)
    known = fields(data, keys, key_ids)
    gc.collect()  # see trust.require
    chosen = {key_id: _read_key(data, one) for key_id, one in known.items()}
    return integer(data, role["threshold"], 1), chosen


def _read_key(data, at):
    """(keytype, scheme, public part as it stands there)."""
    key = _required(data, at, ("keytype", "scheme", "keyval"))
    public = _required(data, key["keyval"], ("public",))["public"]
    return text(data, key["keytype"]), text(data, key["scheme"]), text(data, public)


def read_hashes(data, at):
    """{algorithm: digest} of those that this build can compute; at least one stands there."""
    hashes = {}
    count = 0
    for name, one in members(data, at):
        count += 1
        value = text(data, one, 128)
        if name in ("sha256", "sha512"):
            try:
                hashes[name] = unhexlify(value)
            except ValueError:
                refuse("hash")
            if len(hashes[name]) != (32 if name == "sha256" else 64):
                refuse("hash")
    if not count:
        refuse("no hash")
    return hashes


def unix_time(stamp):
    """Seconds since 1970 of "YYYY-MM-DDTHH:MM:SSZ"."""
    form = "0000-00-00T00:00:00Z"
    if len(stamp) != len(form):
        refuse("expires")
    for i in range(len(form)):
        if not _is_decimal(stamp[i]) if form[i] == "0" else stamp[i] != form[i]:
            refuse("expires")
    year, month, day = int(stamp[:4]), int(stamp[5:7]), int(stamp[8:10])
    hour, minute, second = int(stamp[11:13]), int(stamp[14:16]), int(stamp[17:19])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not (1 <= month <= 12 and 1 <= day <= lengths[month - 1]):
        refuse("expires")
    if hour > 23 or minute > 59 or second > 59 or not year:
        refuse("expires")
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719162
    days += sum(lengths[: month - 1]) + day - 1
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def _listed(data, at):
    """(version, length or None, hashes or None) of a file in a timestamp or snapshot."""
    found = fields(data, at, ("version", "length", "hashes"))
    if "version" not in found:
        refuse("no version")
    length = integer(data, found["length"], 0) if "length" in found else None
    hashes = read_hashes(data, found["hashes"]) if "hashes" in found else None
    return integer(data, found["version"], 1), length, hashes


def _meta(role):
    if "meta" not in role.at:
        refuse("no meta")
    return role.at["meta"]


def _required(data, at, names):
    found = fields(data, at, names)
    for name in names:
        if name not in found:
            refuse("no " + name)
    return found


def _is_decimal(text):
    for c in text:
        if not "0" <= c <= "9":
            return False
    return bool(text)
