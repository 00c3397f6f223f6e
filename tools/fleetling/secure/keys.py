# SPDX-License-Identifier: MIT
"""Keys of chips and of secure boot, in the fleet's secrets. They are made once and never shown."""

from __future__ import annotations

import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from fleetling.errors import FleetlingError
from fleetling.files import sync
from fleetling.home import Home, write_private
from fleetling.secure.signature import BITS

__all__ = ["SIZE", "Vault", "make_signing_key"]

SIZE = 32


class Vault:
    """The keys that are in a chip's eFuses, or will be: secrets/efuse/<address>/<name>.key.

    A key is on the disk before a bit of it is burnt: a chip whose key nobody has is no disaster,
    but one with half of a key that nobody has cannot be finished.
    """

    def __init__(self, place: Home, mac: str) -> None:
        self.folder = place.folder / "secrets/efuse" / mac.replace(":", "")

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def get(self, name: str) -> bytes | None:
        path = self.path(name)
        if not path.exists():
            return None
        key = path.read_bytes()
        if len(key) != SIZE:
            raise FleetlingError(
                f"{path} has {len(key)} bytes; a key has {SIZE}", "Bring it back from your backup."
            )
        return key

    def make(self, name: str) -> bytes:
        """The key; a new one where there is none."""
        key = self.get(name)
        if key is None:
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(mode=0o700, exist_ok=True)
            key = secrets.token_bytes(SIZE)
            new = self.path(name).with_suffix(".new")
            new.unlink(missing_ok=True)  # of a run that was cut; nothing was burnt of it
            write_private(new, key)
            new.rename(self.path(name))
            sync(self.folder)
        return key


def make_signing_key(place: Home) -> tuple[Path, Path]:
    """A new key to sign bootloaders and apps with: (private, public), in secrets/."""
    folder = place.folder / "secrets"
    number = 1
    while (folder / f"secure-boot-{number}.pub.pem").exists():
        number += 1
    private, public = (folder / f"secure-boot-{number}.{end}" for end in ("pem", "pub.pem"))
    key = rsa.generate_private_key(65537, BITS)
    # Without a passphrase, since espsecure takes none: it is to leave this machine instead.
    write_private(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_private(
        public,
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )
    return private, public
