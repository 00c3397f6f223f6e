# SPDX-License-Identifier: MIT
"""The agent's JSON and signature code beside its references: CPython's json, securesystemslib,
and cryptography."""

from __future__ import annotations

import importlib
import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical

ROOT = Path(__file__).parents[2]
for folder in (ROOT, ROOT / "tools/fleetling/simboard/shims"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
errors: Any = importlib.import_module("agent.errors")
steps: Any = importlib.import_module("agent.crypto.steps")
der: Any = importlib.import_module("agent.crypto.der")
device_rsa: Any = importlib.import_module("agent.crypto.rsa")
grammar: Any = importlib.import_module("agent.update.tuf.grammar")
canonical: Any = importlib.import_module("agent.update.tuf.canonical")
document: Any = importlib.import_module("agent.update.tuf.document")

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18) + 1, 10**18 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=25,
)


def check(data: bytes) -> bool:
    """Whether the device takes the document; anything but Refused("tuf-format") is an error."""
    try:
        steps.finish(grammar.check(data, 32))
    except errors.Refused as e:
        assert e.code == "tuf-format"
        return False
    return True


def canonical_form(data: bytes) -> bytes:
    out = bytearray()
    steps.finish(canonical.canonical(data, document.blank(data, 0), out.extend))
    return bytes(out)


@given(VALUES, st.sampled_from([None, 1]), st.booleans(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_canonical_form_is_securesystemslibs(
    value: Any, indent: int | None, ascii_only: bool, sort: bool
) -> None:
    data = json.dumps(value, indent=indent, ensure_ascii=ascii_only, sort_keys=sort).encode()
    assert check(data)
    expected = encode_canonical(value)
    assert expected is not None
    assert canonical_form(data) == expected.encode()
    assert document.plain(data, document.blank(data, 0)) == value


def refuse_constant(name: str) -> None:
    raise ValueError(name)


def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(items)) != len(items):
        raise ValueError("twice")
    return dict(items)


@given(
    st.lists(
        st.sampled_from([*'{}[]",:-01a\\', "true", "null", '"a"', '"b":', " ", "\\u0041", "1.5"]),
        max_size=14,
    )
)
@settings(max_examples=3000, deadline=None)
def test_what_is_json_is_what_the_json_module_says(parts: list[str]) -> None:
    """Apart from what nobody can sign: fractions, and a name twice, which `canonical` refuses."""
    data = "".join(parts).encode()
    taken = check(data)
    try:
        json.loads(data, parse_float=refuse_constant, parse_constant=refuse_constant)
        valid = True
    except ValueError:
        valid = False
    assert taken == valid
    if taken:
        try:
            json.loads(data, object_pairs_hook=pairs)
            unique = True
        except ValueError:
            unique = False
        try:
            canonical_form(data)
            assert unique
        except errors.Refused as e:
            assert e.code == "tuf-format" and not unique


@given(st.binary(max_size=60))
@settings(max_examples=1000, deadline=None)
def test_any_bytes_are_taken_or_refused(data: bytes) -> None:
    for form in (data, b'"' + data + b'"', b'{"' + data + b'":1}'):
        if check(form):
            json.loads(form.decode(), strict=False)


@pytest.mark.parametrize("bits", [2048, 2049, 2055, 3072])
def test_rsa_is_cryptographys(bits: int) -> None:
    key = rsa.generate_private_key(65537, bits)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    n = key.public_key().public_numbers().n
    modulus = n.to_bytes((n.bit_length() + 7) // 8, "big")
    message = b"message %d" % bits
    digest = sha256(message).digest()

    def verify(scheme: str, signature: bytes, of: bytes = digest) -> Any:
        return device_rsa.verify(public, scheme, of, signature)

    pss, pkcs = "rsassa-pss-sha256", "rsa-pkcs1v15-sha256"
    made = {pkcs: [key.sign(message, padding.PKCS1v15(), hashes.SHA256())], pss: []}
    for salt in (0, 20, 32, padding.PSS.MAX_LENGTH):
        pad = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
        made[pss].append(key.sign(message, pad, hashes.SHA256()))
    for scheme, signatures in made.items():
        other = pss if scheme == pkcs else pkcs
        for signature in signatures:
            assert verify(scheme, signature) == modulus
            assert verify(other, signature) is None
            assert verify("rsa-none", signature) is None
            assert verify(scheme, signature, bytes(32)) is None
            for at in (0, len(signature) // 2, len(signature) - 1):
                changed = bytearray(signature)
                changed[at] ^= 1
                assert verify(scheme, bytes(changed)) is None
            # The same number plus the modulus, with a zero in front, cut short: other bytes.
            number = int.from_bytes(signature, "big") + int.from_bytes(modulus, "big")
            if number < 1 << 8 * len(signature):
                assert verify(scheme, number.to_bytes(len(signature), "big")) is None
            assert verify(scheme, b"\x00" + signature) is None
            assert verify(scheme, signature[:-1]) is None


def test_rsa_keys_that_are_too_small_or_even_do_not_count() -> None:
    small = rsa.generate_private_key(65537, 1024)
    public = small.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = small.sign(b"m", padding.PKCS1v15(), hashes.SHA256())
    digest = sha256(b"m").digest()
    assert device_rsa.verify(public, "rsa-pkcs1v15-sha256", digest, signature) is None
    # With exponent 1 the padded digest itself would be a signature, with an even one anything.
    modulus = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    info = bytes.fromhex("3031300d060960864801650304020105000420") + digest
    block = b"\x00\x01" + b"\xff" * (253 - len(info)) + b"\x00" + info
    assert len(block) == 256
    for n, exponent in ((modulus, 1), (modulus, 2), (modulus - 1, 65537)):
        public = public_key(n, exponent)
        assert device_rsa.verify(public, "rsa-pkcs1v15-sha256", digest, block) is None


def public_key(n: int, exponent: int) -> bytes:
    """SubjectPublicKeyInfo of an RSA key that no library would make."""
    numbers = der.write(
        der.SEQUENCE,
        der.write(der.INTEGER, b"\x00" + n.to_bytes(256, "big")),
        der.write(der.INTEGER, exponent.to_bytes(exponent.bit_length() // 8 + 1, "big")),
    )
    algorithm = der.write(der.OID, bytes.fromhex("2a864886f70d010101")) + b"\x05\x00"
    made: bytes = der.write(
        der.SEQUENCE,
        der.write(der.SEQUENCE, algorithm),
        der.write(der.BIT_STRING, b"\x00" + numbers),
    )
    return made
