# SPDX-License-Identifier: MIT
"""The least heap in which a whole board updates over HTTPS while MQTT over TLS is open.

    [MICROPYTHON=/path/to/micropython] python tests/bench/memory.py

A simulated board on MicroPython with the agent and no application, a broker with TLS, and a
repository of 200 targets in 5 products. Heap is what is free when boot.py begins. TLS is not in
it: a stock board has 145 KB then, of which MQTT takes 33 KB and HTTPS as much again, so 79 KB are
what the rest has to do with (docs/hardware.md). With MICROPYTHON a 32-bit build, objects are as
large as an ESP32's.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/host")]

from update_fleet import APP, FIRMWARE, Outcome, UpdateFleet  # noqa: E402

STOCK = 145_000
TLS = 33_000
STEP = 8_000
ROWS: tuple[tuple[str, str, Callable[[Outcome], bool]], ...] = (
    ("on the broker, with a heartbeat", "", lambda one: one.online),
    ("an application, up to the switch", APP, lambda one: one.switched),
    ("a firmware's delta, up to the switch", FIRMWARE, lambda one: one.switched),
)


def least(fleet: UpdateFleet, target: str, enough: Callable[[Outcome], bool]) -> int:
    """Bytes free at boot.py's beginning in the smallest heap that is enough."""
    low, high, free = 160_000, 440_000, 0
    while high - low > STEP:
        heap = (low + high) // 2
        outcome = fleet.update(target, heap)
        if enough(outcome):
            high, free = heap, outcome.free_at_boot
        else:
            low = heap
    return free


def main() -> int:
    kind = os.environ.get("MICROPYTHON", "the interpreter installed here, 64-bit")
    print(f"# Heap of a board that updates over HTTPS beside MQTT\n\n{kind}\n")
    print("| | smallest heap that is enough |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        fleet = UpdateFleet(Path(folder), secure=True)
        with fleet.running():
            for title, target, enough in ROWS:
                found = least(fleet, target, enough)
                print(f"| {title} | {found:,} bytes |" if found else f"| {title} | not here |")
    left = STOCK - TLS
    print(f"\nA stock board has {left:,} bytes beside MQTT's TLS, {left - TLS:,} beside both.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
