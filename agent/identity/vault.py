# SPDX-License-Identifier: MIT
"""Where the board keeps the keys that it made itself, and the certificates for them.

Invariants:
- `proven` is the identity that has logged in; `next` is the one on its way there, if any;
- each is a record in two copies in NVS; a proven identity has a third copy in a file, because
  stock firmware may erase all of NVS by itself;
- a key is stored before its request leaves the board, and stays until another identity is proven;
- `promote` may be cut anywhere: repeating it ends with the same one identity.
"""

from micropython import const

from agent.errors import AgentError
from agent.storage import files, nvsmap, records

# What has happened to `next`. Each is stored before the step that leaves it.
KEYED = const(1)  # the key was made
REQUESTED = const(2)  # its request may have left the board
ENROLLED = const(3)  # its certificate is here

_KEY_SIZE = const(32)
_PATH = "/fl/identity"

# ECPrivateKey (RFC 5915) of a P-256 scalar, without the optional public key: mbed TLS works it
# out.
_SEC1 = (b"\x30\x31\x02\x01\x01\x04\x20", b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07")


def pack(state, key, certificate):
    return bytes((1, state)) + key + certificate


def unpack(data):
    """(state, private scalar, certificate DER) or None."""
    if data is None or len(data) < 2 + _KEY_SIZE or data[0] != 1:
        return None
    return data[1], data[2 : 2 + _KEY_SIZE], data[2 + _KEY_SIZE :]


class Vault:
    """`store` is the NVS namespace fl_id; `path` the file of the third copy."""

    def __init__(self, store, log, path=_PATH):
        self._store = store
        self._log = log
        self._path = path
        self._proven = records.Record(store, "ident")
        self._next = records.Record(store, "next")

    def proven(self):
        """(key, certificate) of the identity that has logged in, or None."""
        found = unpack(self._proven.load()) or self._restore()
        return found[1:] if found else None

    def _restore(self):
        kept = files.read(self._path)
        stored = records.unpack(kept[len(files.SECRET) :]) if kept else None
        found = unpack(stored[1]) if stored else None
        if found:
            self._log.warning("identity", "restored from its file")
            self._proven.save(stored[1])
        return found

    def next(self):
        """(state, key, certificate) of the identity on its way, or None."""
        found = unpack(self._next.load())
        proven = unpack(self._proven.load())
        if found and proven and found[1] == proven[1]:
            return None  # promoted, and the power went before it was erased
        return found

    def forget_next(self):
        """Gives up the identity on its way, before a certificate was made for it."""
        self._store.erase("next0")
        self._store.erase("next1")

    def set_next(self, state, key, certificate=b""):
        self._next.save(pack(state, key, certificate))

    def promote(self):
        """The identity on its way has logged in: it is the proven one now."""
        state, key, certificate = unpack(self._next.load())
        payload = pack(state, key, certificate)
        self._proven.save(payload)
        try:
            files.replace(self._path, files.SECRET + records.pack(1, payload))
        except AgentError as e:
            self._log.error("identity", e.code)  # two copies are left
        self.forget_next()


def open_vault(board, log):
    return Vault(nvsmap.open_nvs(board, "fl_id"), log)


def identities(board, log, own, promote=False):
    """(proven, next, when to renew): two of `own` having their keys, or None; Unix seconds.

    `promote`: after the one on its way has become the proven one.
    """
    vault = open_vault(board, log)
    if promote:
        vault.promote()
        log.info("identity", "proven")
    proven, new = vault.proven(), vault.next()
    renew_at = None
    if proven:
        renew_at = _renew_at(proven[1])
        proven = _having(own, proven[0], proven[1])
    if new:
        new = _having(own, new[1], new[2]) if new[0] == ENROLLED else None
    return proven, new, renew_at


def _having(own, key, certificate):
    return own.having(certificate, _SEC1[0] + key + _SEC1[1])


def _renew_at(certificate):
    """Two thirds of the way from the certificate's first second to its last."""
    from agent.crypto import x509  # not before there is a certificate

    try:
        found = x509.read(certificate)
    except AgentError:
        return 0  # whatever it is, another one is better
    return found.not_before + (found.not_after - found.not_before) * 2 // 3
