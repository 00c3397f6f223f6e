# SPDX-License-Identifier: MIT
"""A change of layers, planned before it is stored: who gets what, what is wrong. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fleetling.config.layers import DECIDING, Layer, Scope, Value
from fleetling.config.reconcile import State
from fleetling.config.schema import Problem, Schema
from fleetling.errors import FleetlingError

__all__ = ["Plan", "Touched", "factory", "plan", "readable_schema", "schema_of"]

# From a layer as it is to the layer as it shall be.
Edit = Callable[[Layer], Mapping[str, Any]]


@dataclass(frozen=True)
class Touched:
    """A device that a change concerns.

    Attributes:
        before, after: what it is to have, with the origin of every value.
        problems: why the change is impossible.
        unchecked: settings that nobody can check, because the board never published a schema, or
            one that cannot be read.
    """

    id: str
    before: Mapping[str, Value]
    after: Mapping[str, Value]
    problems: tuple[Problem, ...]
    unchecked: tuple[str, ...]

    @property
    def changed(self) -> list[str]:
        """Names whose value will be another."""
        names = sorted({*self.before, *self.after})
        return [n for n in names if _value(self.before, n) != _value(self.after, n)]


def _value(values: Mapping[str, Value], name: str) -> tuple[bool, Any]:
    return (name in values, values[name].value if name in values else None)


@dataclass(frozen=True)
class Plan:
    """A change: its layers (with the numbers that they were read with), and all it touches."""

    layers: tuple[Layer, ...]
    touched: tuple[Touched, ...]
    state: State

    @property
    def wrong(self) -> list[Touched]:
        return [device for device in self.touched if device.problems]


def schema_of(state: State, device_id: str) -> Schema:
    """Raises FleetlingError, with the device's id, when what it published cannot be read."""
    try:
        return Schema(state.of(device_id).schema)
    except FleetlingError as e:
        raise FleetlingError(f"{device_id}: {e.message}", e.hint) from e


def readable_schema(state: State, device_id: str) -> Schema | None:
    """What a board published; None where it cannot be read, so that it holds up no others."""
    try:
        return schema_of(state, device_id)
    except FleetlingError:
        return None


def factory(state: State, device_id: str) -> dict[str, Any]:
    """What a board was flashed with, as far as its report shows: in force, and set by no layer."""
    config = state.of(device_id).reported.get("config")
    last = state.published.get(device_id)
    if not isinstance(config, dict):
        return {}
    return {name: v for name, v in config.items() if last is None or name not in last.config}


def plan(state: State, scopes: Iterable[Scope], known: Iterable[str], edit: Edit) -> Plan:
    """What an edit of layers does. `known`: the ids of all devices.

    Raises:
        FleetlingError: no layer of this kind can have that.
    """
    layers = []
    for scope in scopes:
        layer = state.layers.get(scope)
        made = dict(sorted(edit(layer).items()))
        deciding = [name for name in DECIDING if name in made]
        if scope.kind == "group" and deciding:
            raise FleetlingError(
                f"A group cannot set {' and '.join(deciding)}: rules tell by it who is in a group",
                "Nothing was changed. Set it for devices, or for the fleet.",
            )
        if made != dict(layer.config):
            layers.append(replace(layer, config=made))
    after = replace(state, layers=state.layers.replaced(layers))
    names = {
        name
        for layer in layers
        for name in {**state.layers.get(layer.scope).config, **layer.config}
        if layer.config.get(name) != state.layers.get(layer.scope).config.get(name)
        or (name in layer.config) != (name in state.layers.get(layer.scope).config)
    }
    return Plan(tuple(layers), tuple(_touched(state, after, layers, sorted(known), names)), after)


def _touched(
    state: State, after: State, layers: list[Layer], known: list[str], names: set[str]
) -> Iterable[Touched]:
    scopes = {layer.scope: layer for layer in layers}
    for device_id in known:
        groups = [Scope("group", g.name) for g in after.groups_of(device_id)]
        own = [Scope("fleet", ""), *groups, Scope("device", device_id)]
        layered = [scopes[scope] for scope in own if scope in scopes]
        before, merged = state.merged(device_id), after.merged(device_id)
        if not layered and before == merged:
            continue
        named = Scope("device", device_id) in scopes
        schema = schema_of(state, device_id) if named else readable_schema(state, device_id)
        set_here = {n: layer.config[n] for layer in layered for n in names if n in layer.config}
        if schema is None:
            yield Touched(device_id, before, merged, (), tuple(sorted(set_here)))
            continue
        # A value that another layer hides is checked too: one day it will not be hidden.
        problems = [schema.check(name, value) for name, value in sorted(set_here.items())]
        values = {name: found.value for name, found in merged.items()}
        problems.append(schema.check_size(values, frozenset(factory(state, device_id))))
        yield Touched(
            device_id,
            before,
            merged,
            tuple(problem for problem in problems if problem is not None),
            tuple(name for name in sorted(set_here) if schema.unchecked(name)),
        )
