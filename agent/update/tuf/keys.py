# SPDX-License-Identifier: MIT
"""One signature by one key. A key is (keytype, scheme, public): what a metadata file says of it.

The id of a key is only a name (TAP 12); what counts is its material, so that one key under several
ids counts once. A scheme that this build does not have, a malformed key or signature, and a wrong
one are all the same: the signature does not count.
"""

from binascii import a2b_base64, unhexlify

from agent.errors import Refused

_ECDSA = "ecdsa-sha2-nistp256"


def verify(key, signature, message):
    """Generator of steps; returns the key's material if it signed the message, else None.

    `signature` is hexadecimal; `message` has `digest` (SHA-256) and `feed(update)`.
    """
    keytype, scheme, public = key
    try:
        signature = unhexlify(signature)
        if scheme == _ECDSA and keytype in ("ecdsa", _ECDSA):
            return (yield from _ecdsa(_pem(public), signature, message))
        if keytype == "rsa":
            from agent.crypto import rsa

            spki = _pem(public)
            modulus = rsa.verify(spki, scheme, message.digest, signature)
            return modulus and b"rsa" + modulus
        if keytype == scheme == "ed25519":
            from agent.crypto import ed25519

            point = unhexlify(public)
            valid = yield from ed25519.verify_steps(point, signature, message.feed)
            return b"ed25519" + point if valid else None
    except (ImportError, ValueError, Refused):
        return None  # not in this build, not hexadecimal or base64, not DER
    return None


def _ecdsa(spki, signature, message):
    from agent.crypto import der, p256

    point = der.read_key(spki)
    r, s = der.read_signature(signature)
    valid = yield from p256.verify_steps(point, message.digest, r, s)
    return b"ecdsa" + point if valid else None


def _pem(public):
    """The DER inside a PEM public key (RFC 7468)."""
    begin, end = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
    public = public.strip()
    if not (public.startswith(begin) and public.endswith(end)):
        raise ValueError
    return a2b_base64(public[len(begin) : -len(end)])
