# SPDX-License-Identifier: MIT
"""Certificates of a fleet: X.509 v3 (RFC 5280) on P-256, kept small for boards.

Two authorities that do not trust each other's leaves: the fleet CA signs the broker, the operators
and the boards; the claim CA signs what lets a board ask for a certificate, and nothing else.
A board's certificate carries its id as the only name; the broker takes it as the user name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleetling.errors import FleetlingError
from fleetling.fleet.state import CLAIM_PREFIX

__all__ = [
    "CLAIM_PREFIX",
    "STAFF",
    "Authority",
    "Identity",
    "check_device_id",
    "load_certificate",
    "make_authority",
    "revocation_list",
]

# Certificate names with access to the whole fleet.
STAFF = ("operator", "hub")
ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
# A board's clock may stand at the time of its firmware's build, a little in the past.
BACKDATED = timedelta(days=1)


def check_device_id(device_id: str) -> str:
    """The id, if it is one that a board, a topic and a certificate can carry.

    Raises:
        FleetlingError: it is not 1 to 32 of a-z, 0-9 and "-", or is reserved.
    """
    if not 1 <= len(device_id) <= 32 or not set(device_id) <= ID_CHARACTERS:
        raise FleetlingError(
            f"{device_id!r} cannot be a device id",
            "Use 1 to 32 of a-z, 0-9 and '-', for example 'greenhouse-07'.",
        )
    if device_id.startswith(CLAIM_PREFIX) or device_id in STAFF:
        raise FleetlingError(
            f"{device_id!r} cannot be a device id",
            f"At the broker, {', '.join(STAFF)} and {CLAIM_PREFIX}... have another meaning.",
        )
    return device_id


@dataclass(frozen=True)
class Identity:
    """A certificate and the key that it is for."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_der(self) -> bytes:
        """SEC 1 ECPrivateKey, the form that boards take."""
        return self.key.private_bytes(
            Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )

    def key_pem(self, passphrase: bytes | None = None) -> bytes:
        """PKCS#8, encrypted when there is a passphrase."""
        how: KeySerializationEncryption = (
            BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        )
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, leaf: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=leaf,
        key_cert_sign=not leaf,
        crl_sign=not leaf,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _host_names(hosts: list[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host.strip("[]"))))
        except ValueError:
            if not host.isascii():
                raise FleetlingError(
                    f"{host!r} is no name that a certificate can carry",
                    "Give its ASCII form (xn--...), as boards dial it.",
                ) from None
            names.append(x509.DNSName(host))
    return names


class Authority:
    """A certificate authority: its certificate and its key."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    @property
    def certificate(self) -> x509.Certificate:
        return self.identity.certificate

    def _issue(
        self,
        subject: str,
        public_key: ec.EllipticCurvePublicKey,
        days: int,
        purpose: x509.ObjectIdentifier,
        names: list[x509.GeneralName] | None = None,
    ) -> x509.Certificate:
        issuer_key = self.certificate.public_key()
        assert isinstance(issuer_key, ec.EllipticCurvePublicKey)
        builder = (
            _builder(_name(subject), self.certificate.subject, public_key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(leaf=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.identity.key, hashes.SHA256())

    def server(self, hosts: list[str], days: int = 825) -> Identity:
        """An identity for the broker; `hosts` are the names and addresses that boards dial."""
        if not hosts:
            raise FleetlingError("The broker has no name", "Give the host that boards will dial.")
        names = _host_names(hosts)
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._issue(
            hosts[0], key.public_key(), days, ExtendedKeyUsageOID.SERVER_AUTH, names
        )
        return Identity(made, key)

    def client(self, name: str, days: int = 365) -> Identity:
        """An identity for an operator, a hub, a claim, or a board that gets its key from us."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._issue(name, key.public_key(), days, ExtendedKeyUsageOID.CLIENT_AUTH)
        return Identity(made, key)

    def renew(
        self, old: x509.Certificate, days: int, hosts: Sequence[str] = ()
    ) -> x509.Certificate:
        """A new certificate for the name and the key of an old one of ours.

        Args:
            hosts: for a broker, the names and addresses that it has from now on besides.
        """
        name = old.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        purpose = old.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        key = old.public_key()
        assert isinstance(name, str) and isinstance(key, ec.EllipticCurvePublicKey)
        names: list[x509.GeneralName] = []
        with suppress(x509.ExtensionNotFound):
            kind = x509.SubjectAlternativeName
            names += old.extensions.get_extension_for_class(kind).value
        names += [name for name in _host_names(list(hosts)) if name not in names]
        return self._issue(name, key, days, next(iter(purpose)), names)

    def claim(self, device_id: str, days: int = 365) -> Identity:
        """The claim identity of one board."""
        return self.client(CLAIM_PREFIX + check_device_id(device_id), days)

    def sign_request(
        self, csr: x509.CertificateSigningRequest, days: int = 365
    ) -> x509.Certificate:
        """A board's certificate for a request that was checked; nothing but name and key of the
        request is taken over."""
        name = csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        key = csr.public_key()
        if not isinstance(name, str) or not isinstance(key, ec.EllipticCurvePublicKey):
            raise FleetlingError("This request cannot be signed", "It needs a P-256 key.")
        return self._issue(check_device_id(name), key, days, ExtendedKeyUsageOID.CLIENT_AUTH)


def make_authority(name: str, days: int = 3650) -> Authority:
    """A new, self-signed authority that may sign leaves only."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        _builder(_name(name), _name(name), key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(leaf=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(Identity(made, key))


def revocation_list(authority: Authority, serials: list[int], days: int = 30) -> bytes:
    """A CRL (RFC 5280, section 5) in PEM that names `serials`."""
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - BACKDATED)
        .next_update(now + timedelta(days=days))
    )
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(revoked.build())
    made = builder.sign(authority.identity.key, hashes.SHA256())
    return made.public_bytes(Encoding.PEM)


def load_certificate(data: bytes, what: str) -> x509.Certificate:
    """A certificate from PEM or DER.

    Raises:
        FleetlingError: it is neither.
    """
    try:
        if data.lstrip().startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError as e:
        raise FleetlingError(
            f"{what} is not a certificate", "Give an X.509 certificate in PEM or DER."
        ) from e
