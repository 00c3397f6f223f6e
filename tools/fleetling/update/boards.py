# SPDX-License-Identifier: MIT
"""Which boards a command about updates means, and the connection on which it sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fleetling.config.desk import Desk
from fleetling.config.store import must_know
from fleetling.errors import FleetlingError
from fleetling.fleet.operator import Operator
from fleetling.fleet.state import Device
from fleetling.home import Home
from fleetling.update.standing import Standing, standing

__all__ = ["chosen", "standings", "watching"]

TOPICS = ("online", "up/birth", "up/update", "up/reply", "down/update")
ONE_BY_ONE = 100  # of more boards than this, the broker is asked about all


def chosen(home: Home, ids: Sequence[str], group: str | None) -> list[str]:
    """The ids given, or those of a group, or else all, without those that were revoked.

    Raises:
        FleetlingError: no such device or group, nobody in it, or no broker.
    """
    with Desk(home, ids) as desk:
        known = desk.store.known()
        must_know(known, ids)
        if ids:
            return list(ids)
        gone = {device.id for device in desk.hub.devices() if device.revoked_at is not None}
        known -= gone
        if group is None:
            if not known:
                raise FleetlingError("The fleet has no device yet", "fleetling provision ID...")
            return sorted(known)
        state = desk.state()
        if group not in state.groups:
            raise FleetlingError(
                f"There is no group {group!r}", "`fleetling group list` shows those that are."
            )
        members = sorted(state.members(state.groups[group], known))
    if not members:
        raise FleetlingError(f"Nobody is in {group}", "`fleetling group list` has its rule.")
    return members


@contextmanager
def watching(home: Home, ids: Sequence[str]) -> Iterator[Operator]:
    """The broker, with all that it has retained of these boards' updates."""
    host, port = home.endpoint("broker")
    names = ids if len(ids) <= ONE_BY_ONE else ["+"]
    with Operator(
        host,
        port,
        ca=home.secret("fleet-ca.pem"),
        certificate=home.secret("operator.pem"),
        key=home.secret("operator.key"),
        topics=[f"{name}/{topic}" for name in names for topic in TOPICS],
    ) as operator:
        operator.settle()
        yield operator


def standings(operator: Operator, ids: Sequence[str]) -> dict[str, Standing]:
    """Where each of these is with what it was told last."""
    known = operator.state.devices
    return {name: standing(known.get(name) or Device(name)) for name in ids}
