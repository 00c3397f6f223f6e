# SPDX-License-Identifier: MIT
"""Where something listens: "host:port"."""

from __future__ import annotations

from fleetling.errors import FleetlingError

__all__ = ["endpoint"]


def endpoint(text: str) -> tuple[str, int]:
    """ "host:port", apart.

    Raises:
        FleetlingError: it is not that.
    """
    host, _, port = text.rpartition(":")
    number = int(port) if port.isdecimal() and len(port) <= 5 else 0
    if not _can_be_dialled(host) or not 0 < number < 65536:
        raise FleetlingError(
            f"{text!r} is no endpoint", "Give HOST:PORT, for example mqtt.example:8883."
        )
    return host, number


def _can_be_dialled(host: str) -> bool:
    """Whether a resolver takes it: what is between its dots has 1 to 63 characters."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return host != "" and host.isprintable()
