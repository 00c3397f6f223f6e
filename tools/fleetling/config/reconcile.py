# SPDX-License-Identifier: MIT
"""What has to be published for whom: layers, groups and facts in, documents out. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fleetling.config.layers import DECIDING, FLEET, Group, Layers, Scope, Value
from fleetling.config.rules import Rule

__all__ = ["Facts", "Published", "State", "rule_facts"]

FROM_BIRTH = ("board", "build", "chip", "agent", "firmware", "app")


@dataclass(frozen=True)
class Facts:
    """What is known of a device: its tags, and the last documents that it sent."""

    id: str
    birth: Mapping[str, Any] = field(default_factory=dict)
    schema: Mapping[str, Any] | None = None
    reported: Mapping[str, Any] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Published:
    """The last document made for a device; `sent`: the broker has it."""

    version: int
    config: Mapping[str, Any]
    sent: bool = True


@dataclass(frozen=True)
class State:
    """All that decides what devices get."""

    layers: Layers = field(default_factory=Layers)
    groups: Mapping[str, Group] = field(default_factory=dict)
    facts: Mapping[str, Facts] = field(default_factory=dict)
    published: Mapping[str, Published] = field(default_factory=dict)

    def of(self, device_id: str) -> Facts:
        return self.facts.get(device_id) or Facts(device_id)

    def groups_of(self, device_id: str) -> list[Group]:
        """The groups that a device is in, the weakest first."""
        facts = rule_facts(self.of(device_id), self.layers, self.published.get(device_id))
        found = [g for g in self.groups.values() if Rule(g.rule).matches(facts)]
        return sorted(found, key=lambda group: (group.priority, group.name))

    def members(self, group: Group, device_ids: Iterable[str]) -> list[str]:
        rule = Rule(group.rule)
        return [
            device_id
            for device_id in device_ids
            if rule.matches(
                rule_facts(self.of(device_id), self.layers, self.published.get(device_id))
            )
        ]

    def merged(self, device_id: str) -> dict[str, Value]:
        return self.layers.merged(device_id, self.groups_of(device_id))

    def wanted(self, device_id: str) -> dict[str, Any]:
        return {name: found.value for name, found in self.merged(device_id).items()}

    def due(self, device_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """{id: config} of the devices that need a document which the broker does not have.

        A device for which nothing was ever set gets none.
        """
        made: dict[str, dict[str, Any]] = {}
        for device_id in device_ids:
            wanted = self.wanted(device_id)
            last = self.published.get(device_id)
            if (last is None and wanted) or (
                last is not None and (not last.sent or dict(last.config) != wanted)
            ):
                made[device_id] = wanted
        return made


def rule_facts(
    facts: Facts, layers: Layers, published: Published | None
) -> dict[str, tuple[str, ...]]:
    """What rules see of a device.

    `location` and `role` come from the device's own layer, the fleet's, or what it was flashed
    with. A report of what is no longer set counts for nothing.
    """
    found = {"id": (facts.id,), "tag": tuple(sorted(facts.tags))}
    for name in FROM_BIRTH:
        if isinstance(facts.birth.get(name), str):
            found[name] = (facts.birth[name],)
    own = layers.get(Scope("device", facts.id)).config
    reported = facts.reported.get("config")
    for name in DECIDING:
        values = [own.get(name), layers.get(FLEET).config.get(name)]
        if isinstance(reported, dict) and (published is None or name not in published.config):
            values.append(reported.get(name))
        texts = [value for value in values if isinstance(value, str)]
        if texts:
            found[name] = (texts[0],)
    return found
