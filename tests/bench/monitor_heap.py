# SPDX-License-Identifier: MIT
"""What supervision and monitoring take of the heap, on a 32-bit MicroPython: that of the npm
package, which node runs. Its objects and bytecode are as large as an ESP32's.

What counts is what they add to the rest of an agent that has started: the names that the rest has
interned are there already, and each task's own coroutine is needed by any agent.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from fleetling.demo.virtual import VirtualFleet
from fleetling.simboard.inprocess import importer

__all__ = ["Cost", "measure"]

PACKAGE = "@micropython/micropython-webassembly-pyscript@1.27.0"
TABLES = 7  # bytes that a name takes beside its text
DAY = 24 * 60  # heartbeats
ROUNDS = 20  # the day's, with a look at the heap between them
PATIENCE_S = 120
Cost = tuple[str, int, int]  # what, bytes of objects, bytes of names


def measure(slot: Path) -> list[Cost] | str:
    """Measures the compiled agent in the folder `slot`; why not, where it cannot."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "there is no node here"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            _run([npm, "pack", "--silent", PACKAGE], folder)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return f"npm did not give {PACKAGE}"
        shutil.unpack_archive(next(folder.glob("*.tgz")), folder)
        (folder / "steps.json").write_text(json.dumps([code for _, code in _steps()]))
        answer = _run(
            [
                node,
                str(Path(__file__).with_name("heap32.mjs")),
                str(folder / "package/micropython.mjs"),
                str(slot),
                str(folder / "steps.json"),
            ],
            folder,
        )
    return _costs(json.loads(answer.splitlines()[-1]))


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    return done.stdout


def _costs(found: list[list[int]]) -> list[Cost]:
    costs = []
    for (what, _), before, after in zip(_steps(), found, found[1:], strict=False):
        heap, names, text, tables = (b - a for a, b in zip(before, after, strict=True))
        costs.append((what, heap - tables, text + TABLES * names))
    day = costs[-ROUNDS:]
    # The collector takes what looks like an address for one: the least of the day is what stays.
    left, least = 0, 0
    for number, (_, objects, _) in enumerate(day):
        left += objects
        least = left if number == 0 else min(least, left)
    kept = ("a day of heartbeats more", least, sum(names for *_, names in day))
    return [cost for cost in costs[:-ROUNDS] if cost[0]] + [kept]


def _steps() -> list[tuple[str, str]]:
    """(what is measured, "" for nothing, and its code)."""
    modules = _loaded_at_start()
    start = [
        "class Any:",
        "    def __getattr__(self, name):",
        "        return Any()",
        "    def __call__(self, *args):",
        "        return Any()",
        "for name in ('esp32', 'machine', 'network', 'ntptime', 'ssl', 'vfs'):",
        "    if name not in sys.modules:",
        "        sys.modules[name] = Any()",
        "import asyncio, binascii, json, struct, time",
        "import agent.ondemand",
        *[f"import {name}" for name in sorted(modules)],
        f"agent.ondemand.release(*{[n[6:] for n, stays in modules.items() if not stays]})",
        "runtime = supervisor = 0",
    ]
    ours = ("monitor.bootrecord", "supervisor", "monitor.heartbeat")
    return [
        ("", "\n".join(start)),
        *[(f"code of agent/{name.replace('.', '/')}.py", f"import agent.{name}") for name in ours],
        ("", "import monitor_quiet_device"),
        ("", "board = monitor_quiet_device.Board()"),
        ("boot record, supervisor, heartbeat", "runtime = monitor_quiet_device.make(board)"),
        ("", "supervisor = runtime.supervisor"),
        (
            "four tasks",
            "for name in monitor_quiet_device.TASKS:\n"
            "    supervisor.tasks[name] = monitor_quiet_device.Task(\n"
            "        supervisor, name, monitor_quiet_device.for_ever, 30)",
        ),
        ("", "for task in supervisor.tasks.values():\n    task.send(None)"),
        ("the first heartbeat, and names that it brings", "monitor_quiet_device.minute(runtime)"),
        *[("", f"for _ in range({DAY // ROUNDS}):\n    monitor_quiet_device.minute(runtime)")]
        * ROUNDS,
    ]


def _loaded_at_start() -> dict[str, bool]:
    """The agent's modules that a start loads, without those that are measured; whether each
    stays."""
    seen: dict[str, bool] = {}
    load = importer.Importer._load

    def noted(self: importer.Importer, name: str, *more: Any) -> Any:
        if name.startswith("agent"):
            seen[name] = False
        return load(self, name, *more)

    importer.Importer._load = noted  # type: ignore[method-assign, assignment]
    try:
        with VirtualFleet().board() as board:
            board.boot(40)
            stay = set(board.sandbox.importer.modules)
    finally:
        importer.Importer._load = load  # type: ignore[method-assign]
    ours = ("agent.monitor", "agent.supervisor", "agent.ending", "agent.runtime", "agent.wiring")
    rest = {name for name in seen if not name.startswith(ours) and name != "agent.storage.room"}
    return {name: name in stay for name in rest}
