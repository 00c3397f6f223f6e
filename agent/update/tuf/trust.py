# SPDX-License-Identifier: MIT
"""What is trusted, and when: the decisions of the client workflow (specification 1.0.34, 5.3-5.6).

Fed with bytes in the order root (one or more), timestamp, snapshot, targets; every `update_*` is a
generator of steps (agent.crypto.steps). It ends with the document accepted, or raises Refused and
leaves what was trusted before as it was. No I/O, no clock: `now` is fixed for one refresh (5.2).

Invariants:
- nothing is looked at before the threshold of distinct keys is reached, but for a new root's own
  keys; a key counts once, whatever its ids;
- a root is signed by the root before it and by itself, and is exactly one version newer;
- versions never go back: of the timestamp, of the snapshot that it lists, of each file that the
  snapshot lists; and none of those files disappears;
- what the timestamp or the snapshot says of a file (version, length, hashes) holds for its bytes;
- a file that has expired (now >= expires) is never trusted anew; as a stored file it still counts
  for the comparison of versions.
"""

import gc
from hashlib import sha256

from agent.errors import Refused
from agent.update.tuf import keys, metadata
from agent.update.tuf.artifact import matches


class TrustedSet:
    def __init__(self, now, limits):
        self.now = now
        self.limits = limits
        self.root = self.timestamp = self.snapshot = None
        # A timestamp or snapshot key was withdrawn: what they signed is forgotten (5.3.11), so
        # that versions which an attacker drove up do not lock the board out.
        self.rotated = False

    def update_root(self, data):
        """The first one is the anchor: the caller vouches for it. Each further one is a step."""
        message = yield from metadata.read(data, self.limits.root, self.limits)
        new = metadata.read_root(message, self.limits)
        old = self.root
        if old:
            yield from require(message, old.roles["root"], "root")
        yield from require(message, new.roles["root"], "root")
        if old:
            if new.version != old.version + 1:
                lower = new.version <= old.version
                raise Refused("tuf-rollback" if lower else "tuf-version", "root")
            for name in ("timestamp", "snapshot"):
                if _withdrawn(old.roles[name], new.roles[name]):
                    self.rotated = True
        self.root = new

    def require_fresh(self, name):
        """Of root, after its last step, and of the timestamp: Refused when it has expired."""
        self._fresh(getattr(self, name), name)

    def update_timestamp(self, data, stored=False):
        """Returns whether it is newer than the trusted one, which otherwise stays.

        `stored`: from the board's own files, where being expired does not matter yet.
        """
        message = yield from metadata.read(data, self.limits.timestamp, self.limits)
        yield from require(message, self.root.roles["timestamp"], "timestamp")
        new = metadata.read_timestamp(message, self.limits)
        old = self.timestamp
        if old:
            if new.version == old.version:
                return False
            if new.version < old.version or new.meta[0] < old.meta[0]:
                raise Refused("tuf-rollback", "timestamp")
        if not stored:
            self._fresh(new, "timestamp")
        self.timestamp = new
        return True

    def update_snapshot(self, data, stored=False):
        """Returns whether it is the one that the timestamp lists; only a stored one may not be."""
        listed = self.timestamp.meta
        if not stored:
            check_bytes(listed, data, "snapshot")
        message = yield from metadata.read(data, self.limits.snapshot, self.limits)
        yield from require(message, self.root.roles["snapshot"], "snapshot")
        new = metadata.read_snapshot(message, self.limits)
        if stored:
            self.snapshot = new
            try:
                check_bytes(listed, data, "snapshot")
            except Refused:
                return False
            return new.version == listed[0] and self.now < new.expires
        if new.version != listed[0]:
            raise Refused("tuf-version", "snapshot")
        if self.snapshot:
            for name, old in self.snapshot.meta.items():
                if name not in new.meta or new.meta[name][0] < old[0]:
                    raise Refused("tuf-rollback", name)
        self._fresh(new, "snapshot")
        self.snapshot = new
        return True

    def listed(self, name):
        """(version, length or None, hashes or None) of a targets role, by the snapshot."""
        try:
            return self.snapshot.meta[name + ".json"]
        except KeyError:
            raise Refused("tuf-missing", name)

    def update_targets(self, data, name, authority):
        """A targets role that `authority` vouches for; returns the Message."""
        listed = self.listed(name)
        check_bytes(listed, data, name)
        message = yield from metadata.read(data, self.limits.targets, self.limits)
        yield from require(message, authority, name)
        new = metadata.Role(message.data, message.signed, "targets", ())
        if new.version != listed[0]:
            raise Refused("tuf-version", name)
        self._fresh(new, name)
        return message

    def _fresh(self, role, name):
        if self.now >= role.expires:
            raise Refused("tuf-expired", name)


def require(message, authority, name):
    """Generator of steps: Refused unless enough distinct keys of the authority signed."""
    threshold, known = authority
    counted = set()
    for key_id, signature in message.signatures.items():
        if len(counted) == threshold:
            break
        key = known.get(key_id)
        if not key:
            continue
        if (key, signature) not in message.verified:
            valid = yield from keys.verify(key, signature, message)
            message.verified[key, signature] = valid
        material = message.verified[key, signature]
        if material:
            counted.add(material)
    # What is kept of a document is small. It must not lie scattered among the garbage that a
    # verification leaves, for the next document needs one piece of the heap.
    gc.collect()
    if len(counted) < threshold:
        raise Refused("tuf-threshold", name)


def check_bytes(listed, data, name):
    """Refused unless the bytes have the length and the hashes that are listed, if any are."""
    _, length, hashes = listed
    if length is not None and len(data) != length:
        raise Refused("tuf-length", name)
    if hashes is not None and not matches(hashes, data):
        raise Refused("tuf-hash", name)


def fingerprint(data, authority):
    """What a verification of these bytes for this authority is remembered by."""
    digest = sha256(data)
    digest.update(repr((authority[0], sorted(authority[1].items()))).encode())
    return digest.digest()


def _withdrawn(old, new):
    """Whether a key of the old authority is not in the new one."""
    kept = set(new[1].values())
    for key in old[1].values():
        if key not in kept:
            return True
    return False
