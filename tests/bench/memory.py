# SPDX-License-Identifier: MIT
"""The least heap in which a whole board takes an update, by the life of its own that it then gets.

    [MICROPYTHON=/path/to/micropython] python tests/bench/memory.py

A simulated board on MicroPython with the agent and no application, a broker with TLS, and a
repository of 200 targets in 5 products. Heap is what is free when boot.py begins; about 13 KB of
it are then taken by the simulation. TLS is not in it: of a stock board's 145 KB, MQTT takes 33 KB,
or in a life for an update HTTPS does (docs/hardware.md). With MICROPYTHON a 32-bit build (Debian
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
STEP = 10_000
ROWS: tuple[tuple[str, str, bool], ...] = (
    ("an application by HTTP", APP, False),
    ("a firmware's delta by HTTPS", FIRMWARE, True),
)


def word() -> int:
    """Bytes of a word of the interpreter that the boards run on."""
    code = "import sys; print(8 if sys.maxsize > 1 << 31 else 4)"
    done = subprocess.run(
        [find_interpreter(), "-c", code], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def least(fleet: UpdateFleet, target: str, bits: int) -> tuple[int, bool]:
    """Bytes free at boot.py's beginning in the smallest heap that is enough, and whether it took
    a life of its own."""
    low, high = (205_000, 245_000) if bits == 32 else (310_000, 350_000)
    if fleet.secure:
        low, high = low + 40_000, high + 40_000
    free, alone = 0, False
    while high - low > STEP:
        heap = (low + high) // 2
        outcome = fleet.update(target, heap)
        if outcome.switched:
            high, free, alone = heap, outcome.free_at_boot, outcome.alone
        else:
            low = heap
    return free, alone


def main() -> int:
    bits = 8 * word()
    print(f"# Heap of a board that updates, {bits} bits\n")
    print("| | smallest heap that is enough | in a life of its own |\n|---|---|---|")
    for title, target, secure in ROWS:
        with tempfile.TemporaryDirectory() as folder:
            fleet = UpdateFleet(Path(folder), secure=secure, size=100_000)
            with fleet.running():
                found, alone = least(fleet, target, bits)
        said = f"{found:,} bytes" if found else "not in what was tried"
        print(f"| {title} | {said} | {'yes' if alone else 'no'} |", flush=True)
    print(f"\nA stock board has {STOCK:,} bytes, {STOCK - TLS:,} beside one connection with TLS.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
