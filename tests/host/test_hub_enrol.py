# SPDX-License-Identifier: MIT
"""What the hub signs, and what it refuses."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from sqlalchemy import create_engine, text

from fleetling import registry
from fleetling.errors import FleetlingError
from fleetling.hub.enrol import Enroller
from fleetling.hub.request import EnrolRefused, parse
from fleetling.registry import Store

Key = ec.EllipticCurvePrivateKey
CA_KEY = ec.generate_private_key(ec.SECP256R1())
CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fleet CA")])


def sign(csr: x509.CertificateSigningRequest) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(CA_NAME)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=30))
    )
    return builder.sign(CA_KEY, hashes.SHA256())


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def csr(name: str, key: Any, *more: x509.NameAttribute[str]) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), *more])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)
    return request.public_bytes(serialization.Encoding.DER)


def payload(der: bytes) -> bytes:
    return json.dumps({"csr": base64.b64encode(der).decode()}).encode()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/hub.db"
    else:
        url = request.getfixturevalue("postgresql")
        _empty(url)
    store = Store(url)
    store.expect(["dev-1", "dev-2"])
    return store


def _empty(url: str) -> None:
    with create_engine(url).begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))


@pytest.fixture
def enroller(store: Store) -> Enroller:
    return Enroller(store, sign)


def ask(enroller: Enroller, device: str, request: bytes) -> dict[str, Any]:
    """By the device's claim."""
    return renew(enroller, f"claim-{device}", request)


def renew(enroller: Enroller, device: str, request: bytes) -> dict[str, Any]:
    answer = json.loads(enroller.answer(device, request))
    assert isinstance(answer, dict)
    return answer


def test_a_device_on_the_list_is_signed_once(enroller: Enroller, store: Store) -> None:
    der = csr("dev-1", new_key())
    answer = ask(enroller, "dev-1", payload(der))
    certificate = x509.load_der_x509_certificate(base64.b64decode(answer["certificate"]))
    assert certificate.subject.rfc4514_string() == "CN=dev-1"
    assert ask(enroller, "dev-1", payload(der)) == answer
    assert len(store.device("dev-1").certificates) == 1
    assert ask(enroller, "dev-1", payload(csr("dev-1", new_key())))["error"] == "enrol-used"


@pytest.mark.filterwarnings("ignore:Attribute's length")
def test_no_byte_of_a_request_ends_the_hub() -> None:
    # It comes again to each hub that is started until one answers.
    der, codes = csr("dev-1", new_key()), Counter[str]()
    for at in range(len(der)):
        for value in {0, 3, 9, 0x13, 0x30, 0x7F, 0xFF, der[at] ^ 1, der[at] ^ 0x80} - {der[at]}:
            try:
                parse("claim-dev-1", payload(der[:at] + bytes([value]) + der[at + 1 :]))
            except EnrolRefused as e:
                codes[e.code] += 1
    assert set(codes) == {"enrol-malformed", "enrol-key", "enrol-signature"}, codes


def test_who_may_not_is_refused(enroller: Enroller, store: Store) -> None:
    assert ask(enroller, "dev-9", payload(csr("dev-9", new_key())))["error"] == "enrol-unknown"
    assert ask(enroller, "dev-1", payload(csr("dev-2", new_key())))["error"] == "enrol-name"
    more = x509.NameAttribute(NameOID.COMMON_NAME, "dev-2")
    assert ask(enroller, "dev-1", payload(csr("dev-1", new_key(), more)))["error"] == "enrol-name"
    store.revoke("dev-1")
    assert ask(enroller, "dev-1", payload(csr("dev-1", new_key())))["error"] == "enrol-revoked"
    assert store.device("dev-2").certificates == []


def test_a_request_must_be_signed_by_its_own_key(enroller: Enroller) -> None:
    der = bytearray(csr("dev-1", new_key()))
    der[-1] ^= 1
    assert ask(enroller, "dev-1", payload(bytes(der)))["error"] == "enrol-signature"


def test_keys_of_other_kinds_are_refused(enroller: Enroller) -> None:
    for key in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
        assert ask(enroller, "dev-1", payload(csr("dev-1", key)))["error"] == "enrol-key"


def test_a_key_that_was_seen_before_is_refused(enroller: Enroller, store: Store) -> None:
    key = new_key()
    assert "certificate" in ask(enroller, "dev-1", payload(csr("dev-1", key)))
    answer = ask(enroller, "dev-2", payload(csr("dev-2", key)))
    assert answer["error"] == "enrol-key-reused"
    store.allow_again("dev-1")
    other_request = csr("dev-1", key)  # ECDSA's own randomness makes it another one
    assert ask(enroller, "dev-1", payload(other_request))["error"] == "enrol-key-reused"


def test_the_operator_may_allow_one_more(enroller: Enroller, store: Store) -> None:
    ask(enroller, "dev-1", payload(csr("dev-1", new_key())))
    store.allow_again("dev-1")
    assert "certificate" in ask(enroller, "dev-1", payload(csr("dev-1", new_key())))
    assert ask(enroller, "dev-1", payload(csr("dev-1", new_key())))["error"] == "enrol-used"


def test_a_renewal_needs_a_certificate_in_force(enroller: Enroller, store: Store) -> None:
    request = payload(csr("dev-1", new_key()))
    assert renew(enroller, "dev-1", request)["error"] == "enrol-lapsed"
    ask(enroller, "dev-1", payload(csr("dev-1", new_key())))
    answer = renew(enroller, "dev-1", request)
    assert renew(enroller, "dev-1", request) == answer and "certificate" in answer
    assert "certificate" in renew(enroller, "dev-1", payload(csr("dev-1", new_key())))
    assert ask(enroller, "dev-1", payload(csr("dev-1", new_key())))["error"] == "enrol-used"
    assert renew(enroller, "dev-1", payload(csr("dev-2", new_key())))["error"] == "enrol-name"
    store.revoke("dev-1")
    assert renew(enroller, "dev-1", payload(csr("dev-1", new_key())))["error"] == "enrol-revoked"


def test_what_is_not_a_request_is_refused(enroller: Enroller) -> None:
    for data in (
        b"",
        b"{}",
        b"[]",
        b"7",
        b'{"csr":7}',
        b'{"csr":"?"}',
        b"\xff",
        bytes(5000),
        b"[" * 3000,
    ):
        assert ask(enroller, "dev-1", data)["error"] == "enrol-malformed", data
    noise = payload(b"\x30\x03abc")
    assert ask(enroller, "dev-1", noise)["error"] == "enrol-malformed"


def test_racing_requests_of_one_device_end_with_one_certificate(
    enroller: Enroller, store: Store
) -> None:
    requests = [payload(csr("dev-1", new_key())) for _ in range(4)] * 2
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda request: ask(enroller, "dev-1", request), requests))
    assert len(store.device("dev-1").certificates) == 1
    signed = {answer["certificate"] for answer in answers if "certificate" in answer}
    assert len(signed) == 1
    assert all(answer.get("error", "enrol-used") == "enrol-used" for answer in answers)


def test_the_store_tells_what_is_wrong(store: Store) -> None:
    with pytest.raises(FleetlingError, match="No device"):
        store.device("nope")
    with pytest.raises(FleetlingError, match="Not a database"):
        Store("nonsense")
    with pytest.raises(FleetlingError, match="does not answer"):
        Store("sqlite:////no/such/folder/hub.db")


def test_a_database_that_does_not_answer_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def locked(*_: object) -> None:  # as after ten seconds, each time
        asked.append(1)
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(registry, "_sqlite_settings", locked)
    with pytest.raises(FleetlingError, match="database is locked"):
        Store(f"sqlite:///{tmp_path}/hub.db")
    assert len(asked) == 1


def test_the_list_of_devices(enroller: Enroller, store: Store) -> None:
    assert store.expect(["dev-2", "dev-3"]) == 1
    ask(enroller, "dev-1", payload(csr("dev-1", new_key())))
    assert store.revoke("dev-2") == 0 and store.revoke("dev-1") == 1
    assert [(device.id, device.status) for device in store.devices()] == [
        ("dev-1", "revoked"),
        ("dev-2", "revoked"),
        ("dev-3", "expected"),
    ]
    assert [made.device_id for made in store.revoked()] == ["dev-1"]


def test_a_revocation_between_the_question_and_the_signature_wins(store: Store) -> None:
    ask(Enroller(store, sign), "dev-1", payload(csr("dev-1", new_key())))

    def revoked_meanwhile(request: x509.CertificateSigningRequest) -> x509.Certificate:
        store.revoke("dev-1")
        return sign(request)

    slow = Enroller(store, revoked_meanwhile)
    assert renew(slow, "dev-1", payload(csr("dev-1", new_key())))["error"] == "enrol-revoked"
    device = store.device("dev-1")
    assert [row.revoked_at is not None for row in device.certificates] == [True]
