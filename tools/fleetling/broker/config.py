# SPDX-License-Identifier: MIT
"""What a broker of the fleet needs to know: its two doors, and the files for mosquitto."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleetling.broker.rules import mosquitto_acl

__all__ = ["BrokerFiles", "write_mosquitto"]

# Twice what a board takes, so that a board's own limit is what speaks.
MESSAGE_LIMIT = 65_536


@dataclass(frozen=True)
class BrokerFiles:
    """Where the broker finds its certificates (PEM), and where it listens.

    Attributes:
        fleet_ca, claim_ca: the authorities of the two doors.
        certificate, key: the broker's own.
        fleet_crl, claim_crl: revocation lists, when there are any.
        address: to listen on; "" is every address.
        port, claim_port: of the two doors.
    """

    fleet_ca: Path
    claim_ca: Path
    certificate: Path
    key: Path
    fleet_crl: Path | None = None
    claim_crl: Path | None = None
    address: str = ""
    port: int = 8883
    claim_port: int = 8884

    @property
    def doors(self) -> list[tuple[bool, int, Path, Path | None]]:
        """(claim?, port, CA, CRL) of each door."""
        return [
            (False, self.port, self.fleet_ca, self.fleet_crl),
            (True, self.claim_port, self.claim_ca, self.claim_crl),
        ]


def write_mosquitto(files: BrokerFiles, folder: Path, *, user: str | None = None) -> Path:
    """Writes mosquitto.conf and its rules into `folder`; the path of the configuration.

    Args:
        files: certificates and ports.
        folder: where the files go.
        user: the account that mosquitto runs under when it is started as root.
    """
    lines = [
        "# Made by `fleetling broker config`: two doors, both with certificates on both sides.",
        "per_listener_settings true",
        f"message_size_limit {MESSAGE_LIMIT}",
        "max_queued_messages 10000",
        "persistent_client_expiration 30d",
        # Desired states are retained messages, and requests wait for a hub that is down.
        "persistence true",
        f"persistence_location {folder.resolve()}/",
    ]
    if user:
        lines.append(f"user {user}")
    for claim, port, authority, revoked in files.doors:
        acl = folder / ("claims.acl" if claim else "devices.acl")
        acl.write_text(mosquitto_acl(claim=claim))
        # mosquitto refuses rules that others may write, or that it does not own, in later
        # versions.
        acl.chmod(0o600)
        lines += [
            "",
            f"listener {port} {files.address}".rstrip(),
            f"cafile {authority.resolve()}",
            f"certfile {files.certificate.resolve()}",
            f"keyfile {files.key.resolve()}",
            "require_certificate true",
            "use_identity_as_username true",
            "allow_anonymous false",
            "tls_version tlsv1.2",
            f"acl_file {acl.resolve()}",
        ]
        if revoked is not None:
            lines.append(f"crlfile {revoked.resolve()}")
    path = folder / "mosquitto.conf"
    path.write_text("\n".join(lines) + "\n")
    return path
