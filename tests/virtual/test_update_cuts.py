# SPDX-License-Identifier: MIT
"""Power cuts at and inside the flash operations of updates: the old, then the new, nothing else.

In each case the assignment stands, so that the board has to end in what was assigned. Operations
that only carry the bulk of an image or a pack are sampled; all others are cut. A failure names
the case that repeats it (update_case.py).
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest
from update_case import TORN, Case, Torn, bad
from update_world import World, app, firmware


def sweep(case: Case, torn: Torn, capsys: Any, step: int = 1) -> int:
    cuts = 0
    for number in case.operations()[::step]:
        assert case.suffer(((number, torn),)), number
        cuts += 1
    with capsys.disabled():
        print(f" {cuts} of {len(case.where)} operations cut ({torn!r})", end="")  # noqa: T201
    assert cuts > 60
    return cuts


@pytest.mark.slow
@pytest.mark.parametrize("torn", TORN[3:])
def test_an_application(torn: Torn, record_property: Any, capsys: Any) -> None:
    case = Case(lambda world: [world.add_app("1.1.0", security=1)], new="1.1.0 ota_0")
    record_property("tried", sweep(case, torn, capsys))
    assert case.state("sec_app") == 1


@pytest.mark.slow
@pytest.mark.parametrize("torn", TORN[::3])
def test_a_firmware(torn: Torn, record_property: Any, capsys: Any) -> None:
    case = Case(
        lambda world: [world.add_firmware("1.1.0", security=1)],
        new="1.0.0 ota_1",
    )
    record_property("tried", sweep(case, torn, capsys))
    assert case.state("sec_fw") == 1


@pytest.mark.slow
@pytest.mark.parametrize("torn", TORN[1:2])
def test_both_together(torn: Torn, request: Any, record_property: Any, capsys: Any) -> None:
    def make(world: World) -> list[str]:
        one = world.add_app("1.1.0", app("both"), security=1)
        return [one, world.add_firmware("1.1.0", base=firmware("1.0.0"), security=1)]

    case = Case(make, new="1.1.0 ota_1")
    step = 1 if request.config.getoption("--every-case") else 2
    record_property("tried", sweep(case, torn, capsys, step))
    assert case.state("sec_app") == 1 and case.state("sec_fw") == 1


@pytest.mark.slow
@pytest.mark.parametrize("rollback", [True, False])
@pytest.mark.parametrize("torn", [None, -1, 1])
def test_a_reversal(torn: int | None, rollback: bool, request: Any, record_property: Any) -> None:
    """From the first start on trial: whatever is cut, the old comes back, and nothing moves."""
    case = Case(bad(), new="1.1.0 ota_1", end="reverted", begins="app says bad", rollback=rollback)
    step = 1 if request.config.getoption("--every-case") else 9
    numbers = range(crc32(f"{torn}{rollback}".encode()) % step, len(case.where), step)
    for number in numbers:
        case.suffer(((number, torn),))
    assert len(case.where) > 8
    record_property("tried", len(numbers))
