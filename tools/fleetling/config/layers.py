# SPDX-License-Identifier: MIT
"""Layers of settings and what they give together. No I/O.

Above a board's defaults and what it was flashed with come, each over the one before: the fleet,
the groups that the device is in (a higher priority wins; among equals the later name), the device.
A setting that a layer does not have falls through to the layer below.

What rules tell devices by is no group's to set: who is in it would never come to rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["DECIDING", "FLEET", "Group", "Layer", "Layers", "Scope", "Value"]


class Scope(NamedTuple):
    """Whose settings a layer holds: ("fleet", ""), ("group", name), ("device", id)."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


FLEET = Scope("fleet", "")
# Settings that rules see (`fleetling.config.rules`).
DECIDING = ("location", "role")


@dataclass(frozen=True)
class Layer:
    """A layer as it is in force; `number` counts its changes."""

    scope: Scope
    config: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True)
class Group:
    """Devices that share settings: those that the rule matches (`fleetling.config.rules`)."""

    name: str
    rule: str
    priority: int = 0


@dataclass(frozen=True)
class Value:
    value: Any
    origin: Scope


@dataclass(frozen=True)
class Layers:
    """All layers in force."""

    by_scope: Mapping[Scope, Layer] = field(default_factory=dict)

    def get(self, scope: Scope) -> Layer:
        return self.by_scope.get(scope) or Layer(scope)

    def merged(self, device_id: str, groups: Iterable[Group]) -> dict[str, Value]:
        """What a device is to have, by name, each value with the layer that it comes from."""
        ordered = sorted(groups, key=lambda group: (group.priority, group.name))
        scopes = [FLEET, *(Scope("group", g.name) for g in ordered), Scope("device", device_id)]
        found: dict[str, Value] = {}
        for scope in scopes:
            for name, value in self.get(scope).config.items():
                if scope.kind != "group" or name not in DECIDING:
                    found[name] = Value(value, scope)
        return dict(sorted(found.items()))

    def replaced(self, changed: Iterable[Layer]) -> Layers:
        """These layers with others in the place of some."""
        return Layers({**self.by_scope, **{layer.scope: layer for layer in changed}})
