# SPDX-License-Identifier: MIT
"""MicroPython's own tools/manifestfile.py, from a package that carries a copy of it."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from fetched import NotThere, fetched

__all__ = ["NotThere", "manifestfile"]

PACKAGE = "micropython-stubber==1.29.1"
MEMBER = "stubber/tools/manifestfile.py"
SHA256 = "5cae2c3304638370500362937a5798c5f78ab1b43fe15c0310db1fba025731d1"


def manifestfile() -> ModuleType:
    """The module.

    Raises:
        NotThere: it cannot be had here.
    """
    path = fetched(PACKAGE, MEMBER, SHA256)
    spec = importlib.util.spec_from_file_location("manifestfile", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
