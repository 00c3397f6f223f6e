# SPDX-License-Identifier: MIT
"""What supervision and monitoring cost on MicroPython, at the default intervals, when it is quiet.

    python tests/bench/monitor.py

How often each thing happens is counted on a whole board, on CPython; what it costs is measured on
MicroPython. An ESP32 is projected from the ratios of the payload's benchmark. Where node is, heap
is measured on a 32-bit MicroPython as well (`monitor_heap`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(Path(__file__).parent)]

import monitor_heap  # noqa: E402

from fleetling import device  # noqa: E402
from fleetling.demo.virtual import VirtualFleet  # noqa: E402

FAKES = ROOT / "tests/bench/monitor_quiet_device.py"
MINUTES = 10
# So much slower is an ESP32 than this machine in its interpreter, and in machine code.
INTERPRETER, MACHINE_CODE = 141, 40
HEAP_PER_MPY = 1.5  # docs/hardware.md
RESIDENT = ("supervisor", "monitor/__init__")
BEATS = 40  # that monitor_device.py makes
SHARE_BUDGET = 2.0  # per cent of the loop's time
HEAP_BUDGET = 6 * 1024


def a_minute() -> dict[str, float]:
    """How often things happen in a quiet minute at default settings."""
    counts = {"steps": 0, "changes": 0, "samples": 0, "beats": 0, "looks": 0}
    with VirtualFleet().board() as board:
        board.boot(60)
        agent: Any = board.sandbox.importer.modules["agent"]
        supervisor = agent._runtime.supervisor
        heart = agent._runtime.heartbeat

        def counted(owner: Any, name: str, key: str) -> None:
            inner = getattr(owner, name)

            def call(*args: Any) -> Any:
                counts[key] += 1
                return inner(*args)

            setattr(owner, name, call)

        for task in supervisor.tasks.values():
            counted(task, "send", "steps")
        counted(supervisor.record, "write", "changes")
        counted(supervisor, "_look", "looks")
        counted(heart, "sample", "samples")
        counted(heart, "_report", "beats")
        board.resume(60 * MINUTES)
    return {name: count / MINUTES for name, count in counts.items()}


def compiled(folder: Path) -> None:
    """The agent, in a slot's folder, with the board that has nothing to say."""
    files = {
        **device.slot_files("0"),
        "monitor_quiet_device.py": FAKES.read_bytes(),
    }
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def measured(folder: Path) -> dict[str, float]:
    interpreter = Path(sys.executable).with_name("micropython")
    board = ROOT / "tests/bench/monitor_device.py"
    done = subprocess.run(
        [interpreter, "-X", "heapsize=400k", board, folder],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        compiled(Path(name))
        cost = measured(Path(name))
        exact = monitor_heap.measure(Path(name))
    often = a_minute()
    parts = {
        "steps measured": often["steps"] * cost["step"],
        "boot record written": often["changes"] * cost["changed"],
        "supervisor's looks": often["looks"] * cost["look"],
        "samples": often["samples"] * cost["sample"],
        "heartbeats, judged": often["beats"] * cost["beat"],
    }
    collecting = (often["samples"] + often["beats"]) * cost["collect"]
    print("# Supervision and monitoring, a quiet minute at default settings\n")
    print("| | a minute | each | here | ESP32, projected |")
    print("|---|---|---|---|---|")
    counts = (often[name] for name in ("steps", "changes", "looks", "samples", "beats"))
    each = (cost[name] for name in ("step", "changed", "look", "sample", "beat"))
    for (name, us), count, one in zip(parts.items(), counts, each, strict=True):
        print(
            f"| {name} | {count:.1f} | {one:.1f} us | {us / 1000:.2f} ms "
            f"| {us * INTERPRETER / 1000:.0f} ms |"
        )
    print(
        f"| collections | {often['samples'] + often['beats']:.1f} | {cost['collect']:.0f} us "
        f"| {collecting / 1000:.2f} ms | {collecting * MACHINE_CODE / 1000:.0f} ms |"
    )
    here = (sum(parts.values()) + collecting) / 60e6 * 100
    there = sum(parts.values()) * INTERPRETER + collecting * MACHINE_CODE
    share = there / 60e6 * 100
    print(f"\nof the loop's time: {here:.3f} % here, {share:.2f} % projected ({SHARE_BUDGET} %)")
    print(
        f"a switch of tasks costs {cost['switch']:.2f} us here, measured {cost['step']:.2f} more"
    )
    files = device.slot_files("0")
    code = {name: len(files[f"agent/{name}.mpy"]) * HEAP_PER_MPY for name in RESIDENT}
    state = cost["state"] / 2
    total = sum(code.values()) + state
    print("\n## Heap of an ESP32, estimated\n")
    for name, size in code.items():
        print(f"  {size:7,.0f}  code of agent/{name}.py: its .mpy times {HEAP_PER_MPY}")
    print(
        f"  {state:7,.0f}  state after {BEATS} heartbeats, and names that stay interned: half of"
    )
    print(f"           {cost['state']:,.0f} here, whose objects are twice an ESP32's")
    print(f"  {total:7,.0f}  bytes in all")
    print("\n## Heap of a 32-bit MicroPython, measured\n")
    if isinstance(exact, str):
        print(f"  not measured: {exact}")
        return
    sums: dict[str, int] = {}
    print("| | | code and objects | names |\n|---|---|---|---|")
    for part, what, objects, names in exact:
        print(f"| {part} | {what} | {objects:,d} | {names:,d} |")
        sums[part] = sums.get(part, 0) + objects + names
    besides = sums.pop(monitor_heap.BESIDES)
    heap = sum(sums.values())
    names = sum(cost.names for cost in exact if cost.part != monitor_heap.BESIDES)
    verdict = "kept" if heap <= HEAP_BUDGET else "NOT KEPT"
    print("\n" + ", ".join(f"{part} {size:,d}" for part, size in sums.items()) + " bytes")
    print(f"{heap:,d} bytes, {names:,d} of them names, of {HEAP_BUDGET:,d}: {verdict}")
    print(f"besides, {besides:,d} bytes that a first crash leaves until the next reset")
    print(f"the estimate above is {total / heap:.2f} times as much")


if __name__ == "__main__":
    main()
