# SPDX-License-Identifier: MIT
"""Modules that are loaded when they have work, and released afterwards.

Code from files lives in the heap, at one and a half times its size (docs/hardware.md); a module's
memory comes back once neither `sys.modules` nor its package names it any more.
"""

import gc
import sys


def release(*names):
    """Forgets these modules of `agent`; whoever still holds a reference keeps its own."""
    found = False
    for name in names:
        name = "agent." + name
        if name in sys.modules:
            found = True
            del sys.modules[name]
            package, _, tail = name.rpartition(".")
            if hasattr(sys.modules.get(package), tail):
                delattr(sys.modules[package], tail)
    if found:
        gc.collect()
