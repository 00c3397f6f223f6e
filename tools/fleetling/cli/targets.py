# SPDX-License-Identifier: MIT
"""Whom a command about settings means: devices, a group, or the fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import rich_click as click

from fleetling.config.layers import FLEET, Scope
from fleetling.config.reconcile import State
from fleetling.config.store import must_know
from fleetling.errors import FleetlingError

__all__ = ["JSON", "ids_of", "scope_options", "scopes_of"]

JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")

F = TypeVar("F", bound=Callable[..., Any])


def scope_options(function: F) -> F:
    """`--group G` and `--fleet`."""
    group = click.option("--group", metavar="GROUP", help="The settings of a group.")
    fleet = click.option("--fleet", is_flag=True, help="The settings of all devices.")
    return group(fleet(function))


def ids_of(arguments: Iterable[str], group: str | None, fleet: bool) -> list[str]:
    """The ids, once each; checked that exactly one kind of target is named."""
    ids = list(dict.fromkeys(arguments))
    if bool(ids) + (group is not None) + fleet != 1:
        raise FleetlingError(
            "Whose settings?" if not ids else "Devices, a group, or the fleet: one of them",
            "Give ids (fleetling device list), --group GROUP (fleetling group list), or --fleet.",
        )
    return ids


def scopes_of(
    state: State, known: set[str], ids: list[str], group: str | None, fleet: bool
) -> list[Scope]:
    """The layers that are meant.

    Raises:
        FleetlingError: there is no such device or group.
    """
    if fleet:
        return [FLEET]
    if group is not None:
        if group not in state.groups:
            raise FleetlingError(
                f"There is no group {group!r}",
                f"`fleetling group list` shows those that are; "
                f"make it: fleetling group set {group} RULE",
            )
        return [Scope("group", group)]
    must_know(known, ids)
    return [Scope("device", device_id) for device_id in ids]
