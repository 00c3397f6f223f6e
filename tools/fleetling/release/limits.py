# SPDX-License-Identifier: MIT
"""What boards accept, read from the agent's own source so that the two cannot differ."""

from __future__ import annotations

import ast
from functools import cache

from fleetling.device import source_folder
from fleetling.errors import FleetlingError

__all__ = ["board_limits", "check_keys", "check_length"]


@cache
def board_limits() -> dict[str, int]:
    """{name: value} of the class Limits in agent/update/tuf/metadata.py."""
    source = (source_folder() / "agent/update/tuf/metadata.py").read_text()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == "Limits":
            return {
                target.id: ast.literal_eval(line.value)
                for line in node.body
                if isinstance(line, ast.Assign)
                for target in line.targets
                if isinstance(target, ast.Name)
            }
    raise AssertionError("the agent has no Limits")


def check_length(role: str, length: int) -> None:
    """Refuses metadata that is longer than boards read.

    Raises:
        FleetlingError: it is; `role` is its name, a product's counts as targets.
    """
    limits = board_limits()
    most = limits.get(role if role in ("root", "timestamp", "snapshot") else "targets", 0)
    if length > most:
        raise FleetlingError(
            f"The metadata of {role} has {length:,} bytes, and boards read {most:,}",
            "Yank old releases, or use fewer keys or products.",
        )


def check_keys(role: str, keys: int, threshold: int) -> None:
    """Refuses more keys than boards read, and a threshold that nothing reaches.

    Raises:
        FleetlingError: one of the two.
    """
    most = board_limits()["keys"]
    if keys > most:
        raise FleetlingError(f"{role} has {keys} keys, and boards read {most}", "Use fewer.")
    if not 1 <= threshold <= keys:
        raise FleetlingError(
            f"{role} has {keys} keys and a threshold of {threshold}",
            f"Choose a threshold of 1 to {keys}, or add keys with --key.",
        )
