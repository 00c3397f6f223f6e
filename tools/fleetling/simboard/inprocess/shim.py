# SPDX-License-Identifier: MIT
"""The chip's modules, which run on MicroPython too, made importable on CPython and for mypy.

They say `from micropython import const`: where the interpreter has no such module, the project's
shim takes its place. They carry no annotations, so everything of them is `Any` here.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

__all__ = ["chip_module", "micropython_shim"]

_SHIM = Path(__file__).parents[1] / "shims" / "micropython.py"


def micropython_shim() -> Any:
    """The `micropython` module of this interpreter."""
    if "micropython" not in sys.modules:
        spec = importlib.util.spec_from_file_location("micropython", _SHIM)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules["micropython"] = module
    return sys.modules["micropython"]


def chip_module(name: str) -> Any:
    """The module `fleetling.simboard.chip.<name>`."""
    micropython_shim()
    return importlib.import_module(f"fleetling.simboard.chip.{name}")
