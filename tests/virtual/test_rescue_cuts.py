# SPDX-License-Identifier: MIT
"""Power cuts at and inside the flash operations of a rescue: it begins again, or it is done.

Of the operations that carry the bulk of the pack every so many is cut, all others are; a failure
names its case, (operation, torn). `python tests/virtual/test_rescue_cuts.py` cuts them all.
"""

from __future__ import annotations

import sys

import pytest
from test_rescue import END_S, Bench, at_rest
from update_world import run_until

from fleetling import device
from fleetling.errors import FleetlingError

BULK = 613
LAST = 36  # from here on the pack is whole: its name, the slot's number, the records
NVS_END = 0xD000
TORN: list[int | bytes | None] = [None, 1, b"\x55\x12\x9a"]


def whole(data: bytes) -> bool:
    try:
        return b'"version":"1.1.0"' in device.unpack(data)[device.MANIFEST]
    except FleetlingError:
        return False


def sweep(torn: int | bytes | None, bulk: int) -> tuple[int, int]:
    """(how many operations were cut, of how many)."""
    bench = Bench()
    board = bench.board
    start = board.snapshot()
    where: list[int] = []

    def watch(kind: str, addr: int, data: bytes | None, number: int) -> None:
        where.append(addr)

    board.flash.hook = watch
    assert run_until(board, END_S, bench.runs)
    board.flash.hook = None
    cuts = 0
    for number, addr in enumerate(where):
        if addr >= NVS_END and number % bulk and number < len(where) - LAST:
            continue
        cuts += 1
        board.restore(start)
        bench.world.seen.clear()
        board.cut_at(board.flash.operations + number, torn)
        reason = board.boot(END_S).reason
        while reason == "reset":
            reason = board.boot(END_S).reason
        case = (number, torn, reason)
        assert reason == "power-cut", case
        packs = {path: data for path, data in at_rest(board).items() if path.endswith(".pack")}
        right = [path for path, data in packs.items() if whole(data)]
        assert right in ([], ["/slots/a.pack"]), case
        assert run_until(board, END_S, bench.runs), (case, board.console[-1500:])
        births = {birth["app"] for birth in bench.world.documents("up/birth")}
        assert births == {"1.1.0"} and not bench.world.events("safe-mode"), case
        assert not bench.world.reported("trial"), case
    return cuts, len(where)


@pytest.mark.slow
@pytest.mark.parametrize("torn", TORN[::2])
def test_a_rescue_is_cut(torn: int | bytes | None) -> None:
    cuts, _ = sweep(torn, BULK)
    assert cuts > 30


if __name__ == "__main__":
    for one in TORN:
        print(one, *sweep(one, int(sys.argv[1]) if sys.argv[1:] else 1))  # noqa: T201
