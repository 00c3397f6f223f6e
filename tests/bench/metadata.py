# SPDX-License-Identifier: MIT
"""Metadata of 200 targets in 5 products, brought up to date by the board's code: what it takes.

    [MICROPYTHON32=/path/to/micropython] python tests/bench/metadata.py

Time, bytes, requests and heap of a first refresh and of one where nothing has changed, over HTTPS
from this machine, with a target found in a delegated role. `MICROPYTHON32` is a 32-bit build of
the unix port (Debian has one for i386), whose objects are as large as an ESP32's. mbed TLS takes
its own buffers, about 33 KB on an ESP32, from outside of this heap.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/bench")]

from update_fleet import APP, FIRMWARE, make_releases, root_of, serving  # noqa: E402

from fleetling import device  # noqa: E402
from fleetling.pki import make_authority  # noqa: E402

BOARD = ROOT / "tests/bench/metadata_board.py"
ROUNDS = 5


def interpreters() -> dict[str, Path]:
    """{"64-bit": ..., "32-bit": ...}, the second only where MICROPYTHON32 names it."""
    found = {"64-bit": Path(sys.executable).with_name("micropython")}
    if other := os.environ.get("MICROPYTHON32"):
        found["32-bit"] = Path(other)
    return found


class Bench:
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


def table(bench: Bench, url: str, interpreter: Path) -> list[tuple[str, str, str]]:
    """Rows of (title, first refresh, unchanged)."""
    columns = []
    idle = bench.least(interpreter, "idle", url)
    for first in (True, False):
        bench.run(interpreter, "look", url)
        runs = [bench.run(interpreter, "look", url, first=first) for _ in range(ROUNDS)]
        assert all(run["ok"] for run in runs), runs
        heap = bench.run(interpreter, "heap", url, first=first)
        enough = bench.least(interpreter, "look", url, first=first)
        columns.append(
            (
                f"{min(run['ms'] for run in runs)} ms",
                str(runs[0]["requests"]),
                f"{runs[0]['bytes']:,}",
                f"{heap['most']:,} bytes",
                f"{enough} KB ({enough - idle} KB more than a program that does nothing)",
            )
        )
    titles = (
        "time, TLS included",
        "documents fetched",
        "bytes of them",
        "heap in use at most, code and all",
        "smallest heap that is enough",
    )
    return list(zip(titles, *columns, strict=True))


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        sizes = {
            path.name: path.stat().st_size
            for path in sorted((bench.folder / "repository/metadata").iterdir())
        }
        print("# Metadata: 200 targets in 5 products, with HTTPS\n")
        print(", ".join(f"{path} {size:,}" for path, size in sizes.items()), "bytes")
        with serving(bench.folder / "repository", bench.identity) as url:
            for title, interpreter in interpreters().items():
                print(f"\n| {title} | first | unchanged |\n|---|---|---|")
                for row in table(bench, url, interpreter):
                    print("| " + " | ".join(row) + " |")
                both = bench.run(interpreter, "look", url, first=False, target=FIRMWARE)
                print(f"| a target of another product next | {both['bytes']:,} bytes | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
