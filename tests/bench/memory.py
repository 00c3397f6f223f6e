# SPDX-License-Identifier: MIT
"""The least heap in which a whole board takes an update, by the lives of its own that it gets.

    [MICROPYTHON=/path/to/micropython] python tests/bench/memory.py

A simulated board on MicroPython with the agent and no application, a broker with TLS, and a
repository of 200 targets in 5 products. Each connection with TLS takes of the heap what it takes
of an ESP32's memory. Heap is what is free when boot.py begins, without what the simulation takes
afterwards: a stock board has 145 KB (docs/hardware.md). With MICROPYTHON a 32-bit build (Debian
has one for i386), objects are as large as an ESP32's; on 64 bits they are twice as large.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/host")]

from update_fleet import APP, FIRMWARE, UpdateFleet  # noqa: E402

from fleetling.simboard.process.interpreter import find_interpreter  # noqa: E402

STOCK = 145_000
TLS = 33_000
SIMULATION = 13_000  # its network and TLS, loaded after boot.py
MOST = {32: 254_000, 64: 385_000}  # the interpreter's heap, with all that the simulation takes
STEP = 4_000
STEPS = 6
ROWS: tuple[tuple[str, str, bool], ...] = (
    ("an application by HTTP", APP, False),
    ("an application by HTTPS", APP, True),
    ("a firmware's delta by HTTP", FIRMWARE, False),
    ("a firmware's delta by HTTPS", FIRMWARE, True),
)


def word() -> int:
    """Bytes of a word of the interpreter that the boards run on."""
    code = "import sys; print(8 if sys.maxsize > 1 << 31 else 4)"
    done = subprocess.run(
        [find_interpreter(), "-c", code], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def least(fleet: UpdateFleet, target: str, most: int) -> tuple[int, bool]:
    """Bytes free for the board in the smallest heap, of ever smaller ones, that is enough; and
    whether the update took lives of its own."""
    free, alone = 0, False
    for heap in range(most, most - STEPS * STEP, -STEP):
        outcome = fleet.update(target, heap)
        if not outcome.switched:
            break
        free, alone = outcome.free_at_boot - SIMULATION, outcome.alone
    return free, alone


def main() -> int:
    bits = 8 * word()
    print(f"# Heap of a board that updates, {bits} bits\n")
    print("| | smallest heap that is enough | in lives of its own |\n|---|---|---|")
    for title, target, secure in ROWS:
        with tempfile.TemporaryDirectory() as folder:
            fleet = UpdateFleet(Path(folder), secure=secure, size=100_000, tls_heap=TLS)
            with fleet.running():
                found, alone = least(fleet, target, MOST[bits])
        said = f"{found:,} bytes" if found else "more than what was tried"
        print(f"| {title} | {said} | {'yes' if alone else 'no'} |", flush=True)
    print(
        f"\nA stock board has {STOCK:,} bytes with Wi-Fi up; {TLS:,} are a connection's with TLS."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
