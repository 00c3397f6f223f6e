# SPDX-License-Identifier: MIT
"""Keys that sign releases: ECDSA on P-256 with SHA-256, in PEM."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from fleetling.errors import FleetlingError
from fleetling.release.authoring import CryptoSigner, Key, SSlibKey

__all__ = [
    "CryptoSigner",
    "Key",
    "load_private",
    "load_public",
    "make_signer",
    "private_pem",
    "public_pem",
]

ADVICE = "Make one: openssl ecparam -genkey -name prime256v1 | openssl pkcs8 -topk8"


def make_signer() -> CryptoSigner:
    """A new key."""
    return CryptoSigner(ec.generate_private_key(ec.SECP256R1()))


def load_private(path: Path, passphrase: bytes | None = None) -> CryptoSigner:
    """The private key in a PEM file.

    Args:
        passphrase: used where the key has one.

    Raises:
        FleetlingError: it is no such key, or the passphrase does not open it.
    """
    data = _read(path)
    encrypted = b"ENCRYPTED" in data
    try:
        key = load_pem_private_key(data, passphrase if encrypted else None)
    except (ValueError, TypeError) as e:
        if encrypted:
            raise FleetlingError(
                f"The passphrase does not open {path.name}", "Give the one that it was made with."
            ) from e
        raise FleetlingError(f"{path} is not a private key in PEM", ADVICE) from e
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise FleetlingError(f"{path} is not a key on P-256, and boards verify no other", ADVICE)
    return CryptoSigner(key)


def load_public(path: Path) -> Key:
    """The public key in a PEM file.

    Raises:
        FleetlingError: it is no such key.
    """
    try:
        key = load_pem_public_key(_read(path))
    except ValueError as e:
        raise FleetlingError(
            f"{path} is not a public key in PEM", "Take it: openssl pkey -pubout -in PRIVATE.pem"
        ) from e
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise FleetlingError(f"{path} is not a key on P-256, and boards verify no other", ADVICE)
    return SSlibKey.from_crypto(key)


def private_pem(signer: CryptoSigner, passphrase: bytes | None) -> bytes:
    """The key in PEM (PKCS8), encrypted where there is a passphrase."""
    key = load_pem_private_key(signer.private_bytes, None)
    how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def public_pem(key: Key) -> bytes:
    """The public key in PEM."""
    return str(key.keyval["public"]).encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise FleetlingError(f"{path} cannot be read: {e.strerror}", "Check its path.") from e
