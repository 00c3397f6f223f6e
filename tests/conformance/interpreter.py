# SPDX-License-Identifier: MIT
"""Which MicroPython the executables in this folder run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def interpreter() -> str:
    """The MicroPython to run: MICROPYTHON, else the one of a virtual environment, else PATH."""
    chosen = os.environ.get("MICROPYTHON")
    if chosen:
        return chosen
    for folder in (ROOT / ".venv/bin", Path(sys.executable).parent):
        if (folder / "micropython").exists():
            return str(folder / "micropython")
    found = shutil.which("micropython")
    if not found:
        program = Path(sys.argv[0]).name
        sys.exit(f"{program}: no MicroPython; set MICROPYTHON=/path/to/micropython")
    return found
