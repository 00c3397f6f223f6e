# SPDX-License-Identifier: MIT
"""The agent, measured: compiled size of each file, heap after connect, boot to first message.

    python tests/bench/agent.py

What is resident is asked of a board that is online, on CPython; heap and time are those of the
MicroPython board with mosquitto or amqtt. Objects are twice as large there as on an ESP32.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools")]

from fleetling import device  # noqa: E402
from fleetling.demo.fleet import TemporaryFleet  # noqa: E402
from fleetling.demo.virtual import VirtualFleet  # noqa: E402

RESIDENT_BUDGET = 24 * 1024  # docs/design.md, 1
BOOTS = 5
ONLINE_S = 20


def resident() -> set[str]:
    """The modules that a board holds once it is online and idle."""
    with VirtualFleet().board() as board:
        board.boot(ONLINE_S)
        return {name for name in board.sandbox.importer.modules if name.startswith("agent")}


def module(path: str) -> str:
    return path.removesuffix(".mpy").removesuffix("/__init__").replace("/", ".")


def source(path: str) -> str:
    return path.removesuffix(".mpy") + ".py" if path.endswith(".mpy") else path


def wings(files: dict[str, int], held: set[str]) -> None:
    """The table by wing: what lies beside `__init__` is the runtime's."""
    rows: dict[str, list[int]] = {}
    for path, size in files.items():
        parts = path.split("/")
        wing = "/".join(parts[1:-1]) or "runtime"
        row = rows.setdefault(wing, [0, 0, 0])
        row[0] += 1
        row[1] += size
        row[2] += size if module(path) in held else 0
    print("| wing | files | bytes | of them resident |\n|---|---|---|---|")
    for wing, (count, size, kept) in sorted(rows.items()):
        print(f"| {wing} | {count} | {size:,d} | {kept:,d} |")
    count, size, kept = (sum(row[i] for row in rows.values()) for i in range(3))
    print(f"| all | {count} | {size:,d} | {kept:,d} |")


def sizes() -> None:
    held = resident()
    files = {
        path: len(data)
        for path, data in device.slot_files("0").items()
        if path.startswith("agent/") and path.endswith((".mpy", ".py"))
    }
    for title, chosen in (
        ("resident", {path: size for path, size in files.items() if module(path) in held}),
        ("on demand", {path: size for path, size in files.items() if module(path) not in held}),
    ):
        print(f"{title}:")
        for path, size in sorted(chosen.items()):
            print(f"  {size:6,d}  {path}")
        print(f"  {sum(chosen.values()):6,d}  in {len(chosen)} files")
    wings(files, held)
    in_use = sum(size for path, size in files.items() if module(path) in held)
    whole = sum(files.values())
    print(f"resident {in_use:,d} bytes, {100 * in_use / RESIDENT_BUDGET:.0f} % of the budget")
    optional = sum(size for path, size in files.items() if source(path) in device.OPTIONAL)
    print(f"whole    {whole:,d} bytes; a build may leave out {optional:,d} (decision 0013)")


def runs() -> None:
    with tempfile.TemporaryDirectory() as folder:
        fleet = TemporaryFleet(Path(folder))
        board = fleet.board(fleet.provision("bench", settings={"heartbeat_s": 1}))
        times: list[float] = []
        with fleet.broker, fleet.operator() as operator:
            try:
                for boot in range(1, BOOTS + 1):
                    started = time.monotonic()
                    board.start()
                    operator.wait(lambda state, n=boot: _boots(state) >= n, ONLINE_S)  # type: ignore[misc]
                    times.append(time.monotonic() - started)
                    if boot < BOOTS:
                        board.power_cut()
                beats = operator.state.devices["bench"].heartbeats
                operator.wait(
                    lambda state: state.devices["bench"].heartbeats >= beats + 3, ONLINE_S
                )
                free = operator.state.devices["bench"].health["m"]["heap"][0]
            finally:
                board.stop()
    first = statistics.median(times) * 1000
    print(f"boot to first message: {first:.0f} ms (median of {BOOTS}, TLS included)")
    print(f"heap after connect: {free:,d} bytes free after a collection")
    print("  on the 64-bit unix port, whose objects are twice as large as an ESP32's")


def _boots(state: object) -> int:
    device_ = state.devices.get("bench")  # type: ignore[attr-defined]
    return (device_.boot or 0) if device_ and device_.online else 0


if __name__ == "__main__":
    sizes()
    runs()
