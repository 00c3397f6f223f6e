# SPDX-License-Identifier: MIT
"""Metadata of 200 targets in 5 products, brought up to date by the board's code: what it takes.

    [MICROPYTHON32=/path/to/micropython] python tests/bench/metadata.py

Time, bytes, requests and heap of a first refresh and of one where nothing has changed, over HTTPS
from this machine, with a target found in a delegated role. `MICROPYTHON32` is a 32-bit build of
the unix port (Debian has one for i386), whose objects are as large as an ESP32's. mbed TLS takes
its own buffers, about 33 KB on an ESP32, from outside of this heap.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/host")]

from refresh_board import Refresh, interpreters  # noqa: E402
from update_fleet import FIRMWARE, serving  # noqa: E402

ROUNDS = 5


def table(bench: Refresh, url: str, interpreter: Path) -> list[tuple[str, str, str]]:
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
        bench = Refresh(Path(name))
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
