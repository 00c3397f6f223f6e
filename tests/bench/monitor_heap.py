# SPDX-License-Identifier: MIT
"""What supervision and monitoring take of the heap, on a 32-bit MicroPython: that of the npm
package, which node runs. Its objects and bytecode are as large as an ESP32's.

What counts is what they add to the rest of an agent that has started: the names that the rest has
interned are there already, and each task's own coroutine is needed by any agent. Names count to
whoever brings them first, and stay, also when their module goes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from fleetling.demo.virtual import VirtualFleet
from fleetling.simboard.inprocess import importer

__all__ = ["BESIDES", "Cost", "measure"]

PACKAGE = "@micropython/micropython-webassembly-pyscript@1.27.0"
TABLES = 7  # bytes that a name takes beside its text
HOURS = 24
PATIENCE_S = 300
SUPERVISION, MONITOR, BESIDES = "supervision", "monitor", "besides"
OURS = ("agent.supervisor", "agent.monitor", "agent.ending")
KNOW_OURS = ("agent.runtime", "agent.wiring", "agent.base", "agent.alone")  # by import


class Step(NamedTuple):
    """What runs on the board; `part`, of what that is a cost, "" for none."""

    part: str
    what: str
    code: str


class Cost(NamedTuple):
    """Bytes of objects, code among them, and of names."""

    part: str
    what: str
    objects: int
    names: int


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
        steps = _steps()
        (folder / "steps.json").write_text(json.dumps([step.code for step in steps]))
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
    return _costs(steps, json.loads(answer.splitlines()[-1]))


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    return done.stdout


def _costs(steps: list[Step], found: list[list[int]]) -> list[Cost]:
    costs: list[Cost] = []
    for step, before, after in zip(steps, found, found[1:], strict=False):
        heap, names, text, tables = (b - a for a, b in zip(before, after, strict=True))
        cost = Cost(step.part, step.what, heap - tables, text + TABLES * names)
        if costs and cost[:2] == costs[-1][:2]:
            last = costs.pop()
            cost = cost._replace(
                objects=last.objects + cost.objects, names=last.names + cost.names
            )
        if step.part:
            costs.append(cost)
    return costs


def _steps() -> list[Step]:
    modules = _loaded_at_start()
    crash = [
        "import agent.monitor.crash",
        "agent.ondemand.release('monitor.crash', 'running', 'storage.files')",
    ]
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
    return [
        Step("", "", "\n".join(start)),
        Step(SUPERVISION, "code of agent/supervisor.py", "import agent.supervisor"),
        Step(MONITOR, "code of agent/monitor/__init__.py", "import agent.monitor"),
        Step("", "", "import monitor_quiet_device as quiet"),
        Step("", "", "runtime = quiet.make(quiet.Board())"),
        Step(SUPERVISION, "supervisor, boot record", "quiet.supervise(runtime)"),
        Step(SUPERVISION, "four tasks", "quiet.add_tasks(runtime.supervisor)"),
        Step("", "", "quiet.step(runtime.supervisor)"),
        Step(MONITOR, "what a heartbeat finds", "quiet.monitor(runtime)"),
        Step("", "", "quiet.has_not_crashed()"),
        Step(MONITOR, "a first heartbeat, kept for later", "quiet.away(runtime)"),
        Step(MONITOR, "a second one, which sends both", "quiet.sends_both(runtime)"),
        *[Step(MONITOR, f"{HOURS} hours of them more", "quiet.hour(runtime)")] * HOURS,
        Step(BESIDES, "a first crash record", "\n".join(crash)),
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
    ours = (*OURS, *KNOW_OURS)
    rest = {name for name in seen if not name.startswith(ours)}
    return {name: name in stay for name in rest}
