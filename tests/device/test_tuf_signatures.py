# SPDX-License-Identifier: MIT
"""SHA-512, Ed25519 and RSA on both runtimes, with the vectors of FIPS 180 and RFC 8032."""

from binascii import unhexlify

from agent.crypto import ed25519, sha512
from agent.crypto.steps import finish
from agent.update.tuf import keys

# RFC 8032, 7.1, tests 1 to 3: public key, message, signature.
VECTORS = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
        "f9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
        "f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984d"
        "c6594a7c15e9716ed28dc027beceea1ec40a",
    ),
)
_ORDER = 2**252 + 27742317777372353535851937790883648493


class Message:
    def __init__(self, data):
        self.data = data
        self.digest = bytes(32)

    def feed(self, update):
        for at in range(len(self.data)):
            update(memoryview(self.data)[at : at + 1])
            yield


def valid(public, message, signature):
    return finish(ed25519.verify_steps(public, signature, Message(message).feed))


def test_sha512():
    for data, start in (
        (b"", "cf83e1357eefb8bd"),
        (b"abc", "ddaf35a193617aba"),
        (b"a" * 111, "fa9121c7b32b9e01"),
        (b"a" * 112, "c01d080efd492776"),
        (b"a" * 128, "b73d1929aa615934"),
    ):
        for cut in (0, len(data) // 3, len(data)):
            digest = sha512._Sha512()
            digest.update(data[:cut])
            digest.update(memoryview(data)[cut:])
            assert digest.digest()[:8] == unhexlify(start), data
            assert digest.digest()[:8] == unhexlify(start)


def test_ed25519_takes_the_vectors_and_nothing_near_them():
    for public, message, signature in VECTORS:
        public, message, signature = unhexlify(public), unhexlify(message), unhexlify(signature)
        assert valid(public, message, signature)
        assert not valid(public, message + b"\x00", signature)
        for at in (0, 31, 32, 63):
            changed = bytearray(signature)
            changed[at] ^= 1
            assert not valid(public, message, bytes(changed))
            changed = bytearray(public)
            changed[at % 32] ^= 1
            assert not valid(bytes(changed), message, signature)


def test_ed25519_is_strict():
    public, message, signature = [unhexlify(part) for part in VECTORS[1]]
    # S + order is the same number modulo the order: only one of the two may be valid.
    s = int.from_bytes(signature[32:], "little") + _ORDER
    assert not valid(public, message, signature[:32] + s.to_bytes(32, "little"))
    prime = 2**255 - 19
    for y in (prime, prime + 1, 2**255 - 1, 2, 1 + (1 << 255)):
        assert not valid(y.to_bytes(32, "little"), message, signature)
    for wrong in (b"", signature[:-1], signature + b"\x00"):
        assert not valid(public, message, wrong)
    for wrong in (b"", public[:-1], public + b"\x00"):
        assert not valid(wrong, message, signature)


def test_what_is_no_key_or_signature_does_not_count():
    public, message, signature = VECTORS[0]
    message = Message(unhexlify(message))

    def material(*key_and_signature):
        key, sig = key_and_signature[:3], key_and_signature[3]
        return finish(keys.verify(key, sig, message))

    assert material("ed25519", "ed25519", public, signature) == b"ed25519" + unhexlify(public)
    assert material("ed25519", "ed25519", public.upper(), signature.upper()) is not None
    for wrong in (
        ("ed25519", "ecdsa-sha2-nistp256", public, signature),
        ("ecdsa", "ed25519", public, signature),
        ("ed25519", "ed25519", "", signature),
        ("ed25519", "ed25519", "xyz", signature),
        ("ed25519", "ed25519", public, "\xe9"),
        ("ed25519", "ed25519", public, signature[:-1]),
        ("rsa", "rsassa-pss-sha256", public, signature),
        ("rsa", "rsassa-pss-sha256", "-----BEGIN PUBLIC KEY-----", signature),
        ("rsa", "rsassa-pss-sha256", pem("AAAA"), signature),
        ("rsa", "rsassa-pss-sha256", pem(""), signature),
        ("rsa", "rsassa-pss-sha256", pem("?"), signature),
        (
            "ecdsa",
            "ecdsa-sha2-nistp256",
            pem("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"),
            "3006020101",
        ),
        ("ecdsa", "ecdsa-sha2-nistp256", pem("MFkwEwYHKoZIzj0C"), "3006020101020101"),
        ("", "", "", ""),
    ):
        assert material(*wrong) is None, wrong


def pem(text):
    return "-----BEGIN PUBLIC KEY-----\n" + text + "\n-----END PUBLIC KEY-----\n"
