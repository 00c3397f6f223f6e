# SPDX-License-Identifier: MIT
"""The agent collects garbage often, as a board must. On CPython each of these goes through all
objects of the process, pytest's own among them, and that was most of the suite's time: what is
there before a test is therefore frozen."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

_file: Path | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    global _file
    if item.path != _file:
        _file = item.path
        gc.unfreeze()
    gc.collect()
    gc.freeze()
