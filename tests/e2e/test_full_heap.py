# SPDX-License-Identifier: MIT
"""An application fills the heap of a board, on the real interpreter: the board tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetling.demo.fleet import TemporaryFleet

# To the last block: what a coroutine holds goes with it, what a module holds stays.
FILLS = """\
held = None


async def main(task):
    {scope} held
    held = None
    await task.sleep(3)
    size = 4096
    while True:
        try:
            held = (held, bytearray(size))
        except MemoryError:
            if size <= 16:
                raise
            size //= 2
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[TemporaryFleet]:
    made = TemporaryFleet(tmp_path)
    with made.broker:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["global", "#"])
def test_a_full_heap_leaves_a_crash_record(fleet: TemporaryFleet, scope: str) -> None:
    app = {"app.py": FILLS.format(scope=scope).encode()}
    board = fleet.board(fleet.provision("dev"), app=app)
    with fleet.operator() as operator:
        board.start()
        try:
            assert operator.wait(lambda s: "dev" in s.devices and bool(s.devices["dev"].crash), 60)
            crash = operator.state.devices["dev"].crash
        finally:
            board.stop()
    assert crash is not None
    assert (crash["task"], crash["error"]) == ("app", "MemoryError")
    assert crash["trace"][-1][0] == "app.py"
