# SPDX-License-Identifier: MIT
"""The order of the tests, and what they cost.

The agent collects garbage often, as a board must. On CPython each of these goes through all
objects of the process, pytest's own among them, and that was most of the suite's time: what is
there before a test is therefore frozen.
"""

from __future__ import annotations

import gc
import signal
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

# pytest takes whatever path it is given for one of tests: an outside suite that is told of
# `tests/conformance/tuf-client` reads this file too, without our folders on its path.
pytest_plugins = ["postgresql"] if find_spec("postgresql") else []

_file: Path | None = None


def pytest_configure() -> None:
    """A shell's job in the background ignores Ctrl-C, and hands that down to all that it starts;
    tests press it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-case", action="store_true", help="the tables and sweeps that are thinned, whole"
    )
    parser.addoption("--tried", action="store_true", help="print how much each test has tried")


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """For tests/faults.py: `record_property("tried", n)` says more than that it was one case."""
    if not config.getoption("--tried"):
        return
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        if report.when == "call" and not report.nodeid.endswith("[micropython]"):
            counts[report.nodeid.split("[")[0]] += dict(report.user_properties).get("tried", 1)
    for node, count in sorted(counts.items()):
        terminalreporter.write_line(f"tried {node} {count}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    global _file
    if item.path != _file:
        _file = item.path
        gc.unfreeze()
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: the last ones to run should not be the longest."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
