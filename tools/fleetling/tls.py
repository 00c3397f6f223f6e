# SPDX-License-Identifier: MIT
"""How whoever works for the fleet meets the broker: mutual TLS, with PEM files."""

from __future__ import annotations

import ssl
from pathlib import Path

from fleetling.errors import FleetlingError

__all__ = ["client_context"]


def client_context(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """What a client of the broker shows and trusts, from PEM files.

    Raises:
        FleetlingError: one of them is damaged, or they do not belong together.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as e:
        raise FleetlingError(
            f"{ca.name}, {certificate.name} and {key.name} in {key.parent} cannot be used: "
            f"{e.reason or e}",
            "Bring them back from your backup.",
        ) from e
    return context
