# SPDX-License-Identifier: MIT
"""The order of the tests, and what they cost.

The agent collects garbage often, as a board must. On CPython each of these goes through all
objects of the process, pytest's own among them, and that was most of the suite's time: what is
there before a test is therefore frozen.
"""

from __future__ import annotations

import gc
from importlib.util import find_spec
from pathlib import Path

import pytest

# pytest takes whatever path it is given for one of tests: an outside suite that is told of
# `tests/conformance/tuf-client` reads this file too, without our folders on its path.
pytest_plugins = ["postgresql"] if find_spec("postgresql") else []

_file: Path | None = None


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
