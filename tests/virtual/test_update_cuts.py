# SPDX-License-Identifier: MIT
"""Power cuts at and inside the flash operations of updates: the old, then the new, nothing else.

In each case the assignment stands, so that the board has to end in what was assigned. Operations
that only carry the bulk of an image or a pack are sampled; all others are cut. A failure names
the case that repeats it: (operation, torn).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

import pytest
from update_world import World, app, firmware, run_until

from fleetling.simboard.chip.flash import Flash
from fleetling.simboard.chip.nvs import Nvs
from fleetling.simboard.chip.nvs_format import I32

BOOT_S = 20
END_S = 900
BULK = 12  # programs of a sector that holds bulk, of which every so many is cut:
SPARE_BULK = 97
APPS = 0x10000
NVS = (0x9000, 0xD000)
# Before, after, in the middle, and some of the words; each scenario's share keeps the suite short.
TORN: list[int | bytes | None] = [None, -1, 1, b"\x55\x12\x9a"]


class Case:
    """A world with an assignment, a board before it, and the operations of an undisturbed run."""

    def __init__(self, make: Callable[[World], list[str]], *, old: str, new: str) -> None:
        self.world = World()
        self.old, self.new = old, new
        targets = make(self.world)
        self.world.publish()
        self.board = self.world.board_of(image=firmware("1.0.0"))
        self.board.boot(BOOT_S)
        self.world.assign(*targets)
        self.start = self.board.snapshot()
        self.where: list[tuple[str, int]] = []
        self._watch(self.where)
        run_until(self.board, END_S, lambda: self.world.reported("confirmed"))
        self.board.flash.hook = None
        self.check_end("undisturbed")

    def _watch(self, found: list[tuple[str, int]]) -> None:
        def hook(kind: str, addr: int, data: bytes | None, number: int) -> None:
            found.append((kind, addr))

        self.board.restore(self.start)
        self.world.seen.clear()
        self.board.flash.hook = hook

    def operations(self) -> Iterator[int]:
        """Which operations of the run are cut: all but most of the bulk."""
        runs: list[list[int]] = [[]]
        for number, (kind, addr) in enumerate(self.where):
            if addr < APPS:
                yield number  # NVS and otadata
                continue
            if kind == "erase":
                runs.append([])
            runs[-1].append(number)
        for run in runs:
            # A sector that is written whole, or nearly, holds an image or a part of a pack.
            if len(run) < BULK:
                yield from run
            else:
                yield from (number for number in run if number % SPARE_BULK == 0)

    def cut(self, number: int, torn: int | bytes | None) -> None:
        board, case = self.board, (number, torn)
        board.restore(self.start)
        self.world.seen.clear()
        board.cut_at(board.flash.operations + number, torn)
        reason = board.boot(END_S).reason
        while reason == "reset":
            reason = board.boot(END_S).reason
        assert reason == "power-cut", (case, reason)
        self.check_floor(case)
        board.flash.hook = self._guard_running()
        run_until(board, END_S, lambda: self.world.reported("confirmed"))
        board.flash.hook = None
        self.check_end(case)

    def _guard_running(self) -> Callable[..., None]:
        """Nothing may be written where the running firmware is."""

        def hook(kind: str, addr: int, data: bytes | None, number: int) -> None:
            for entry in self.board.chip.table:
                if entry[4] == self.board.chip.running:
                    assert not entry[2] <= addr < entry[2] + entry[3]

        return hook

    def state(self, key: str) -> int:
        """A number in NVS as the next life would find it."""
        flash = Flash(self.board.flash.store.clone())
        flash.and_ranges = [NVS]
        found: int | None = Nvs(flash, NVS[0], NVS[1] - NVS[0]).get("fl_state", I32, key)
        return found or 0

    def check_floor(self, case: object) -> None:
        """A floor that has moved belongs to something that is confirmed."""
        if self.state("sec_app") or self.state("sec_fw"):
            assert self.state("slot") >> 2 == 0, case

    def check_end(self, case: object) -> None:
        world, board = self.world, self.board
        assert "no slot is good" not in board.console[-20000:], case
        births = [f"{b['app']} {b['partition']}" for b in world.documents("up/birth")]
        assert set(births) <= {self.old, self.new}, (case, births)
        assert births[-1] == self.new, (case, births, world.states(), board.console[-2500:])
        assert world.reports()[-1]["state"] == "confirmed", (case, world.reports()[-1])
        assert {b["id"] for b in world.documents("up/birth")} == {"dev"}
        assert self.state("slot") >> 2 == 0 and not world.events("safe-mode"), case


def sweep(case: Case, torn: int | bytes | None, capsys: Any) -> int:
    cuts = 0
    for number in case.operations():
        case.cut(number, torn)
        cuts += 1
    with capsys.disabled():
        print(f" {cuts} of {len(case.where)} operations cut ({torn!r})", end="")  # noqa: T201
    assert cuts > 60
    return cuts


@pytest.mark.slow
@pytest.mark.parametrize("torn", TORN[3:])
def test_an_application(torn: int | bytes | None, record_property: Any, capsys: Any) -> None:
    case = Case(
        lambda world: [world.add_app("1.1.0", security=1)], old="1.0.0 ota_0", new="1.1.0 ota_0"
    )
    record_property("tried", sweep(case, torn, capsys))
    assert case.state("sec_app") == 1


@pytest.mark.slow
@pytest.mark.parametrize("torn", TORN[::3])
def test_a_firmware(torn: int | bytes | None, record_property: Any, capsys: Any) -> None:
    case = Case(
        lambda world: [world.add_firmware("1.1.0", security=1)],
        old="1.0.0 ota_0",
        new="1.0.0 ota_1",
    )
    record_property("tried", sweep(case, torn, capsys))
    assert case.state("sec_fw") == 1


@pytest.mark.slow
@pytest.mark.parametrize("torn", TORN[1:2])
def test_both_together(torn: int | bytes | None, record_property: Any, capsys: Any) -> None:
    def make(world: World) -> list[str]:
        one = world.add_app("1.1.0", app("both"), security=1)
        return [one, world.add_firmware("1.1.0", base=firmware("1.0.0"), security=1)]

    case = Case(make, old="1.0.0 ota_0", new="1.1.0 ota_1")
    record_property("tried", sweep(case, torn, capsys))
    assert case.state("sec_app") == 1 and case.state("sec_fw") == 1


def bad(body: str) -> Callable[[World], list[str]]:
    """An application that fails on trial, with a firmware, so that both have to go back."""
    return lambda world: [
        world.add_app("1.1.0", app("bad", body), security=1),
        world.add_firmware("1.1.0", base=firmware("1.0.0"), security=1),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("rollback", [True, False])
@pytest.mark.parametrize("torn", [None, -1, 1])
def test_a_reversal(torn: int | None, rollback: bool, request: Any, record_property: Any) -> None:
    """From the first start on trial: whatever is cut, the old comes back, and nothing moves."""
    world = World()
    targets = bad("raise ValueError('no')")(world)
    world.publish()
    with world.board_of(image=firmware("1.0.0"), rollback=rollback) as board:
        board.boot(BOOT_S)
        world.assign(*targets)
        assert run_until(board, END_S, lambda: "app says bad" in board.console)
        start = board.snapshot()
        first = board.flash.operations
        assert run_until(board, END_S, lambda: world.reported("reverted"))
        last = board.flash.operations
        step = 1 if request.config.getoption("--every-case") else 9
        numbers = range(first + crc32(f"{torn}{rollback}".encode()) % step, last, step)
        for number in numbers:
            board.restore(start)
            world.seen.clear()
            board.cut_at(number, torn)
            assert run_until(board, END_S, lambda: world.reported("reverted")), (
                number - first,
                world.states(),
                board.console[-2000:],
            )
            board.flash.hook = None
            birth = world.documents("up/birth")[-1]
            assert (birth["app"], birth["partition"]) == ("1.0.0", "ota_0"), number - first
            record = json.loads(board.files()["/fl/update"])
            assert record["state"] == "reverted", (number - first, record)
            state = Nvs(Flash(board.flash.store.clone()), NVS[0], NVS[1] - NVS[0])
            floors = [state.get("fl_state", I32, key) for key in ("sec_app", "sec_fw")]
            assert not any(floors) and state.get("fl_state", I32, "slot") >> 2 == 0
        assert last - first > 8
        record_property("tried", len(numbers))
