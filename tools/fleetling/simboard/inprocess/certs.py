# SPDX-License-Identifier: MIT
"""X.509 checks of both ends of the virtual TLS: chain, validity, host name, possession.

Messages and their order are mbed TLS's (x509_crt.h, MBEDTLS_X509_CRT_ERROR_INFO_LIST), framed by
newlines as MicroPython raises them.
"""

from __future__ import annotations

import datetime
import ipaddress

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

__all__ = ["common_name", "load_chain", "problems", "sign", "signed_by"]

EXPIRED = "The certificate validity has expired"
WRONG_NAME = "The certificate Common Name (CN) does not match with the expected CN"
NOT_TRUSTED = "The certificate is not correctly signed by the trusted CA"
FUTURE = "The certificate validity starts in the future"
_ORDER = (EXPIRED, WRONG_NAME, NOT_TRUSTED, FUTURE)


def load_chain(ders: list[bytes]) -> list[x509.Certificate]:
    """Raises ValueError for what is no certificate."""
    return [x509.load_der_x509_certificate(der) for der in ders]


def problems(
    chain: list[x509.Certificate], ca: x509.Certificate | None, name: str | None, unix: int
) -> list[str]:
    """What is wrong with `chain` (leaf first) for the host `name`, at that time; [] is good.

    `name` None leaves the name out, as a server does with a client's certificate.
    """
    found = set()
    now = datetime.datetime.fromtimestamp(unix, datetime.UTC)
    path = _path(chain, ca)
    if path is None:
        found.add(NOT_TRUSTED)
    for certificate in path or chain[:1]:
        if now > certificate.not_valid_after_utc:
            found.add(EXPIRED)
        if now < certificate.not_valid_before_utc:
            found.add(FUTURE)
    if name is not None and chain and not _names(chain[0], name):
        found.add(WRONG_NAME)
    return [message for message in _ORDER if message in found]


def _path(
    chain: list[x509.Certificate], ca: x509.Certificate | None
) -> list[x509.Certificate] | None:
    """From the leaf to the CA, through the intermediates that came along."""
    if ca is None or not chain:
        return None
    path = [chain[0]]
    rest = chain[1:]
    while not _issued(path[-1], ca):
        issuer = next((c for c in rest if _issued(path[-1], c) and _is_ca(c)), None)
        if issuer is None:
            return None
        rest.remove(issuer)
        path.append(issuer)
    return [*path, ca] if _is_ca(ca) else None


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return certificate.version == x509.Version.v1
    return constraints.value.ca


def _names(certificate: x509.Certificate, name: str) -> bool:
    """Subject alternative names decide where there are any, else the common name."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return any(_matches(str(attribute.value), name) for attribute in common)
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        names = extension.value.get_values_for_type(x509.DNSName)
        return any(_matches(pattern, name) for pattern in names)
    return address in extension.value.get_values_for_type(x509.IPAddress)


def _matches(pattern: str, name: str) -> bool:
    pattern, name = pattern.lower(), name.lower()
    if pattern.startswith("*."):
        return "." in name and name.split(".", 1)[1] == pattern[2:]
    return pattern == name


def common_name(certificate: x509.Certificate) -> str:
    """The first one of the subject, or ""."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def sign(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, data: bytes) -> bytes:
    """Proof of having the key; the same bytes each time, so that runs repeat."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def signed_by(certificate: x509.Certificate, signature: bytes, data: bytes) -> bool:
    """Whether the one who signed `data` has the key of `certificate`."""
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except InvalidSignature:
        return False
    return True
