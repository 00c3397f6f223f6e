# SPDX-License-Identifier: MIT
"""The updates that are tried under power cuts and failing flash, each made once; and how much was
tried."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from update_case import Case, bad
from update_world import World, firmware

__all__ = ["a_firmware", "a_reversal", "an_application", "both", "told", "without_rollback"]


@cache
def an_application() -> Case:
    return Case(lambda world: [world.add_app("1.1.0", security=1)], new="1.1.0 ota_0")


@cache
def a_firmware() -> Case:
    return Case(lambda world: [world.add_firmware("1.1.0", security=1)], new="1.0.0 ota_1")


@cache
def both() -> Case:
    def make(world: World) -> list[str]:
        one = world.add_app("1.1.0", security=1)
        return [one, world.add_firmware("1.1.0", base=firmware("1.0.0"), security=1)]

    return Case(make, new="1.1.0 ota_1")


@cache
def a_reversal() -> Case:
    return Case(bad(), new="1.1.0 ota_1", end="reverted", begins="app says bad")


@cache
def without_rollback() -> Case:
    return Case(bad(), new="1.1.0 ota_1", end="reverted", begins="app says bad", rollback=False)


lives: dict[Case, int] = {}  # as of the last test


@pytest.fixture
def told(
    request: pytest.FixtureRequest, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[Case, int], None]]:
    """Says how much was tried."""
    began = time.monotonic()

    def tell(case: Case, count: int) -> None:
        record_property("tried", count)
        boots = case.board.lives - lives.get(case, 0)
        lives[case] = case.board.lives
        seconds = time.monotonic() - began
        with capsys.disabled():
            print(f" {request.node.name}: {count} tried, {boots} boots, {seconds:.0f} s")  # noqa: T201

    yield tell
