# SPDX-License-Identifier: MIT
"""Code that a board has released, and that something keeps in its heap all the same.

A function holds the globals of its module, and those all that the module has imported: one
listener, registered and forgotten, keeps a dozen modules which `sys.modules` does not show.
"""

from __future__ import annotations

import gc
from types import FunctionType

from fleetling.simboard.inprocess import Board

__all__ = ["held"]


def held(board: Board) -> set[str]:
    """The agent's modules that are alive and not loaded."""
    loaded = board.sandbox.importer.modules
    gc.collect()
    found = set()
    for each in gc.get_objects():
        if isinstance(each, FunctionType):
            name = each.__globals__.get("__name__", "")
            ours = each.__globals__.get("__builtins__") is board.sandbox.importer.builtins
            if ours and name.startswith("agent") and name not in loaded:
                found.add(name)
    return found
