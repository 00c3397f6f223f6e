# SPDX-License-Identifier: MIT
"""The board's ECDSA against published vectors, and against `cryptography`; on MicroPython."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cryptography_vectors
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fleetling.pki import make_authority

CONFORMANCE = Path(__file__).parents[1] / "conformance"
VECTORS = Path(cryptography_vectors.__file__).parent / "asymmetric/ECDSA/FIPS_186-3"
KEY = (0x1234567 << 200) + 89
MICROPYTHON = os.environ.get("MICROPYTHON") or str(Path(sys.executable).with_name("micropython"))


def verdicts(cases: list[tuple[bytes, bytes, bytes]]) -> list[bool]:
    lines = [
        json.dumps({"key": key.hex(), "msg": message.hex(), "sig": signature.hex()})
        for key, message, signature in cases
    ]
    done = subprocess.run(
        [sys.executable, CONFORMANCE / "ecdsa-verify"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [{"valid": True, "invalid": False}[line] for line in done.stdout.splitlines()]


def board(*calls: list[Any]) -> list[Any]:
    """The results of crypto_calls.py; bytes in the arguments are passed as such."""
    lines = [
        json.dumps([f"hex:{part.hex()}" if isinstance(part, bytes) else part for part in call])
        for call in calls
    ]
    done = subprocess.run(
        [MICROPYTHON, CONFORMANCE / "crypto_calls.py"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def section(file: str, title: str) -> list[dict[str, str]]:
    """The records of one curve (and hash) in a file of NIST's."""
    text = (VECTORS / file).read_text().partition(f"[{title}]")[2]
    text = re.split(r"\n\[[PKB]-", text)[0]
    found = [dict(re.findall(r"^(\w+) = (\S+)", part, re.M)) for part in text.split("\n\n")]
    return [record for record in found if record]


def point(record: dict[str, str]) -> bytes:
    return bytes.fromhex("04" + record["Qx"].zfill(64) + record["Qy"].zfill(64))


def signature(record: dict[str, str]) -> bytes:
    return encode_dss_signature(int(record["R"], 16), int(record["S"], 16))


def test_nist_signatures() -> None:
    records = [r for r in section("SigVer.rsp", "P-256,SHA-256") if "Result" in r]
    cases = [(point(r), bytes.fromhex(r["Msg"]), signature(r)) for r in records]
    expected = [r["Result"] == "P" for r in records]
    assert len(cases) == 15 and {True, False} == set(expected)
    assert verdicts(cases) == expected
    records = [r for r in section("SigGen.txt", "P-256,SHA-256") if "S" in r]
    cases = [(point(r), bytes.fromhex(r["Msg"]), signature(r)) for r in records]
    assert len(cases) == 15 and all(verdicts(cases))


def test_nist_keys() -> None:
    records = [r for r in section("KeyPair.rsp", "P-256") if "Qx" in r]
    assert len(records) == 10
    made = board(*[["sign", "public_key_steps", bytes.fromhex(r["d"])] for r in records])
    assert made == [point(r).hex() for r in records]


def test_random_signatures_both_ways() -> None:
    cases, calls = [], []
    for i in range(40):
        key = ec.derive_private_key(KEY + i // 4, ec.SECP256R1())
        message = b"message" * i * i
        signed = key.sign(message, ec.ECDSA(hashes.SHA256()))
        spki = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        cases += [(spki, message, signed), (spki[26:], message + b"x", signed)]
        digest = hashlib.sha256(message).digest()
        calls.append(["sign", "sign_steps", (KEY + i // 4).to_bytes(32, "big"), digest])
    assert verdicts(cases) == [True, False] * 40
    for i, made in enumerate(board(*calls)):
        public = ec.derive_private_key(KEY + i // 4, ec.SECP256R1()).public_key()
        public.verify(bytes.fromhex(made), b"message" * i * i, ec.ECDSA(hashes.SHA256()))


def test_a_request_becomes_a_certificate_that_the_board_takes() -> None:
    key = KEY.to_bytes(32, "big")
    request, made_point = board(
        ["csr", "request_steps", key, "board-1"], ["sign", "public_key_steps", key]
    )
    csr = x509.load_der_x509_csr(bytes.fromhex(request))
    assert csr.is_signature_valid and csr.subject.rfc4514_string() == "CN=board-1"
    assert len(list(csr.attributes)) == 0
    assert b"\x0c\x07board-1" in csr.public_bytes(serialization.Encoding.DER)
    fleet, stranger = make_authority("Fleet"), make_authority("Fleet")
    certificate = fleet.sign_request(csr)
    der = certificate.public_bytes(serialization.Encoding.DER)
    start = int(certificate.not_valid_before_utc.timestamp())
    end = int(certificate.not_valid_after_utc.timestamp())
    own = bytes.fromhex(made_point)

    def check(ca: bytes, name: str, now: int) -> list[Any]:
        return ["x509", "check_steps", der, ca, own, name, now]

    ca = fleet.identity.certificate_der
    assert board(
        ["x509", "read", der],
        check(ca, "board-1", start),
        check(ca, "board-1", end),
        check(ca, "board-1", end + 1),
        check(ca, "board-1", 946684800),
        check(ca, "board-2", start),
        check(stranger.identity.certificate_der, "board-1", start),
    ) == [
        ["board-1", start, end],
        None,
        None,
        ["refused", "certificate-expired"],
        ["refused", "certificate-future"],
        ["refused", "certificate-name"],
        ["refused", "certificate-ca"],
    ]


def test_whatever_is_malformed_is_invalid() -> None:
    lines = [
        b"", b"null", b"[]", b"{", b'{"key": 1, "msg": 2, "sig": 3}', b'{"key": "04"}', b"\xff",
        b'{"key": "0", "msg": "", "sig": ""}', b'{"key": "30", "msg": "", "sig": ""}',
        b"[" * 100_000, b'{"key": "", "msg": "zz", "sig": ""}', b" " * 5_000_000,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, CONFORMANCE / "ecdsa-verify"],
        input=b"\n".join(lines) + b"\n",
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == [b"invalid"] * len(lines)
