# SPDX-License-Identifier: MIT
"""The broker of a fleet's folder: where its files are, and which certificates it turns away."""

from __future__ import annotations

from fleetling.broker.config import BrokerFiles
from fleetling.home import Home
from fleetling.pki import Authority, revocation_list
from fleetling.registry import Store

__all__ = ["broker_files", "write_revoked"]

REVOKED = "revoked.pem"
# A list that has run out would lock the whole fleet out, so it outlasts the authority.
REVOKED_DAYS = 36_500


def broker_files(home: Home) -> BrokerFiles:
    """Where the broker finds its files, and where it listens."""
    folder = home.folder / "broker"
    folder.mkdir(mode=0o700, exist_ok=True)
    revoked = folder / REVOKED
    return BrokerFiles(
        home.secret("fleet-ca.pem"),
        home.secret("claim-ca.pem"),
        home.secret("broker.pem"),
        home.secret("broker.key"),
        fleet_crl=revoked if revoked.exists() else None,
        port=home.endpoint("broker")[1],
        claim_port=home.endpoint("claims")[1],
    )


def write_revoked(home: Home, authority: Authority, store: Store) -> int:
    """Writes the list of revoked certificates; how many there are."""
    serials = [int(row.serial, 16) for row in store.revoked()]
    folder = home.folder / "broker"
    folder.mkdir(mode=0o700, exist_ok=True)
    new = folder / f"{REVOKED}.new"
    new.write_bytes(revocation_list(authority, serials, REVOKED_DAYS))
    new.replace(folder / REVOKED)
    return len(serials)
