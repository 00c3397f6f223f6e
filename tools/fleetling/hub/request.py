# SPDX-License-Identifier: MIT
"""Enrolment requests as bytes come in: parse, check what the request can say of itself. No I/O.

A request is JSON `{"csr": base64 of PKCS#10 DER}`. Who sent it is told by the topic: the broker's
rules let an identity publish below its own name only, so `claim-<id>` asks for a first certificate
and `<id>`, which has logged in with one, for a renewal.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fleetling.pki import CLAIM_PREFIX

__all__ = ["EnrolRefused", "Request", "answer_tag", "parse"]

MAX_REQUEST = 4096


class EnrolRefused(Exception):
    """A request that is not signed; `code` goes back to the board."""

    def __init__(self, code: str, detail: str = "", tag: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.tag = tag


@dataclass(frozen=True)
class Request:
    device_id: str
    csr: x509.CertificateSigningRequest
    tag: str
    key_hash: str
    renewal: bool


def answer_tag(csr_der: bytes) -> str:
    """What an answer names its request by: hex of the CSR's SHA-256."""
    return hashlib.sha256(csr_der).hexdigest()


def parse(name: str, payload: bytes) -> Request:
    """Reads a request.

    Args:
        name: the sender's, as the topic has it: a device id, or a claim's name.
        payload: the message.

    Raises:
        EnrolRefused: it is malformed, names another id, or is not signed by its own key.
    """
    device_id = name.removeprefix(CLAIM_PREFIX)
    if len(payload) > MAX_REQUEST:
        raise EnrolRefused("enrol-malformed", "too long")
    try:
        message = json.loads(payload)
        der = base64.b64decode(message["csr"], validate=True)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise EnrolRefused("enrol-malformed", "not a request") from e
    tag = answer_tag(der)
    try:
        csr = x509.load_der_x509_csr(der)
        key = csr.public_key()
        names = [(name.oid, name.value) for name in csr.subject]
        signed = csr.is_signature_valid
    except UnsupportedAlgorithm as e:
        raise EnrolRefused("enrol-key", "not ECDSA on P-256 with SHA-256", tag) from e
    except Exception as e:
        # It was written to be read, or to end the hub, which would meet it again at its next
        # start: the readers of DER raise more than they say.
        raise EnrolRefused("enrol-malformed", "not a PKCS#10 request", tag) from e
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise EnrolRefused("enrol-key", "the key is not on P-256", tag)
    if not signed:
        raise EnrolRefused("enrol-signature", "the request is not signed by its own key", tag)
    if names != [(NameOID.COMMON_NAME, device_id)]:
        raise EnrolRefused("enrol-name", f"the request's name is not {device_id}", tag)
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Request(device_id, csr, tag, hashlib.sha256(spki).hexdigest(), name == device_id)
