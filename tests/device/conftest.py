# SPDX-License-Identifier: MIT
"""Collects every file here twice: as CPython tests, and on the MicroPython interpreter."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import platform
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest

from fleetling.errors import FleetlingError
from fleetling.simboard.process.interpreter import find_interpreter

ROOT = Path(__file__).parents[2]
# Where the interpreter comes with the tests, and its absence is a failure.
WHEELS = {("linux", "x86_64"), ("darwin", "arm64")}
HERE = Path(__file__).parent
SIMBOARD = ROOT / "tools/fleetling/simboard"
for folder in (ROOT, HERE, SIMBOARD, SIMBOARD / "shims"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from agent.supervisor import Task  # noqa: E402

Coroutine.register(Task)  # CPython's event loop takes no other; MicroPython's does not ask


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    counted = sys.modules["support"].counted if "support" in sys.modules else []
    del counted[:]
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        run = pyfuncitem.obj
        pyfuncitem.obj = lambda: asyncio.run(run())
    result = yield
    if counted:
        pyfuncitem.user_properties.append(("tried", sum(counted)))
    return result


class OnMicroPython(pytest.File):
    """One file of tests, run by one interpreter process; its functions are reported one by one."""

    results: dict[str, str | None] | None = None
    output = ""

    def collect(self) -> Iterator[pytest.Item]:
        tree = ast.parse(self.path.read_text())
        slow = "pytestmark = SLOW" in self.path.read_text()
        for node in tree.body:
            is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_test and node.name.startswith("test_"):
                item = MicroPythonTest.from_parent(self, name=f"{node.name}[micropython]")
                item.tested = node.name
                if slow:
                    item.add_marker(pytest.mark.slow)
                yield item

    def run(self) -> dict[str, str | None]:
        if self.results is None:
            try:
                interpreter = str(find_interpreter())
            except FleetlingError as e:
                if (sys.platform, platform.machine()) in WHEELS:
                    raise
                pytest.skip(f"{e.message}. {e.hint}")
            command = [interpreter, "-X", "heapsize=4M", str(HERE / "run.py"), str(self.path)]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=600, check=False, cwd=ROOT
            )
            self.output = done.stdout + done.stderr
            self.results = {}
            for line in done.stdout.splitlines():
                if line.startswith("@test "):
                    report = json.loads(line[6:])
                    self.results[report["name"]] = report["error"]
        return self.results


class MicroPythonFailure(Exception):
    pass


class MicroPythonTest(pytest.Item):
    tested = ""

    def runtest(self) -> None:
        assert isinstance(self.parent, OnMicroPython)
        results = self.parent.run()
        if self.tested not in results:
            raise MicroPythonFailure(f"did not run:\n{self.parent.output[-4000:]}")
        if results[self.tested]:
            raise MicroPythonFailure(results[self.tested])

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None
    ) -> str:  # type: ignore[override]
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix == ".py" and file_path.name.startswith("test_"):
        return OnMicroPython.from_parent(parent, path=file_path)
    return None
