# SPDX-License-Identifier: MIT
"""Metadata brought up to date by the board's code on MicroPython, over HTTPS, in so much heap."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from update_fleet import APP, make_releases, root_of

from fleetling import device
from fleetling.pki import make_authority

__all__ = ["Refresh", "interpreters"]

BOARD = Path(__file__).parents[1] / "bench/metadata_board.py"


def interpreters() -> dict[str, Path]:
    """{"64-bit": ..., "32-bit": ...}, the second only where MICROPYTHON32 names it."""
    found = {"64-bit": Path(sys.executable).with_name("micropython")}
    if other := os.environ.get("MICROPYTHON32"):
        found["32-bit"] = Path(other)
    return found


class Refresh:
    """The repository, the agent compiled, and who is trusted, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_releases(folder / "repository")
        authority = make_authority("bench", days=2)
        server = authority.server(["127.0.0.1", "localhost"], 2)
        self.identity = folder / "server.pem", folder / "server-key.pem"
        self.identity[0].write_bytes(server.certificate_pem)
        self.identity[1].touch(mode=0o600)
        self.identity[1].write_bytes(server.key_pem())
        (folder / "ca.der").write_bytes(authority.identity.certificate_der)
        for path, data in device.slot_files("0").items():
            target = folder / "agent" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    def run(
        self,
        interpreter: Path,
        mode: str,
        url: str,
        *,
        heap_kb: int = 400,
        first: bool = True,
        target: str = APP,
    ) -> dict[str, Any]:
        """One refresh; {"ok": False} where the heap is too small for it."""
        store = self.folder / "store"
        if first:
            shutil.rmtree(store, ignore_errors=True)
        store.mkdir(exist_ok=True)
        root = root_of(self.folder / "repository")[4:].hex()
        command = [interpreter, "-X", f"heapsize={heap_kb}k", BOARD, mode, self.folder / "agent"]
        command += [store, url, root, self.folder / "ca.der", target]
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            return {"ok": False, "error": done.stdout + done.stderr}
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def least(self, interpreter: Path, mode: str, url: str, *, first: bool = True) -> int:
        """The smallest heap, in KB, in which it works."""
        low, high = 8, 400
        while low + 1 < high:
            middle = (low + high) // 2
            if self.run(interpreter, mode, url, heap_kb=middle, first=first)["ok"]:
                high = middle
            else:
                low = middle
        return high
