# SPDX-License-Identifier: MIT
"""A layer as TOML, for an editor, and back. No I/O. A secret stands there as a placeholder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from fleetling.config.layers import Layer
from fleetling.config.schema import Schema
from fleetling.errors import FleetlingError

__all__ = ["UNCHANGED", "read", "write"]

UNCHANGED = "(unchanged)"


def write(
    layer: Layer, schema: Schema, secret: Mapping[str, bool], below: Mapping[str, str]
) -> str:
    """The text to edit: what is set, and as comments what could be.

    Args:
        layer: whose settings.
        schema: describes them.
        secret: which names are secrets.
        below: {name: "value (origin)"} of what is in force without this layer, as may be shown.
    """
    lines = [
        f"# Settings of {layer.scope}. A line that you take away falls to the layer below.",
        f'# "{UNCHANGED}" stands for a secret that stays as it is.',
        "",
    ]
    names = [*schema.names, *(name for name in layer.config if name not in schema)]
    for name in names:
        if name in schema:
            lines.append(f"# {schema.bounds(name)}; without this: {below.get(name, 'default')}")
        if name in layer.config:
            hidden = secret.get(name, True)
            lines.append(_line(name, UNCHANGED if hidden else layer.config[name]))
        else:
            default = schema.default(name)
            lines.append("# " + _line(name, default if _fits_a_line(default) else "..."))
        lines.append("")
    return "\n".join(lines)


def _fits_a_line(default: Any) -> bool:
    """Whether a default, which a board may have said, is a value: a table would be lines of its
    own, and no comment."""
    values = default if isinstance(default, list) else [default]
    return all(isinstance(value, str | int | float) for value in values)


def _line(name: str, value: Any) -> str:
    key = f'"{name}"' if "." in name else name
    return f"{key} = {tomlkit.item(value).as_string()}"


def read(text: str, layer: Layer) -> dict[str, Any]:
    """The layer's settings from an edited text.

    Raises:
        FleetlingError: it is no TOML; the message says where, and repeats nothing of it.
    """
    try:
        found = tomlkit.parse(text).unwrap()
    except TOMLKitError as e:
        line = getattr(e, "line", None)
        where = f" in line {line}, at character {getattr(e, 'col', 0) + 1}" if line else ""
        raise FleetlingError(f"This is no TOML{where}", 'Write: name = value, texts in "".') from e
    flat: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": v for inner, v in value.items()})
        else:
            flat[name] = value
    for name, value in flat.items():
        if value == UNCHANGED:
            if name not in layer.config:
                raise FleetlingError(f"{name} has no value yet that could stay", "Give it one.")
            flat[name] = layer.config[name]
        elif isinstance(value, float) and value == int(value if value - value == 0 else 0):
            flat[name] = int(value)
        elif not isinstance(value, str | int | float | list | bool):
            raise FleetlingError(f"{name} is a date or a table", 'Write texts in "".')
    return flat
