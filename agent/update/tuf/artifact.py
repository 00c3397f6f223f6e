# SPDX-License-Identifier: MIT
"""Bytes against what was signed about them: length, and every hash that this build can compute."""

import hashlib

from agent.errors import Refused


def matches(hashes, data):
    """Whether `data` has all these hashes. None at all is no match."""
    for name, digest in hashes.items():
        computed = _start(name)
        computed.update(data)
        if computed.digest() != digest:
            return False
    return bool(hashes)


class Check:
    """The bytes of a target as they come in: `update` each piece, then `finish`.

    Raises Refused: "tuf-length" as soon as there are too many bytes, "tuf-hash" at the end.
    """

    def __init__(self, length, hashes):
        if not hashes:
            raise Refused("tuf-hash", "unknown")
        self.left = length
        self.hashes = [(_start(name), digest) for name, digest in hashes.items()]

    def update(self, piece):
        self.left -= len(piece)
        if self.left < 0:
            raise Refused("tuf-length")
        for computed, _ in self.hashes:
            computed.update(piece)

    def finish(self):
        if self.left:
            raise Refused("tuf-length")
        for computed, digest in self.hashes:
            if computed.digest() != digest:
                raise Refused("tuf-hash")


def _start(name):
    if name == "sha256":
        return hashlib.sha256()
    try:
        from agent.crypto.sha512 import Sha512
    except ImportError:
        raise Refused("tuf-hash", name)
    return Sha512()
