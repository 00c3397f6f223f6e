# SPDX-License-Identifier: MIT
"""One update of a whole board, as often as there are places where its power may go.

A schedule is a list of uptimes: ((operation, torn), ...). The power goes in the operation of that
number, counted from the start of the uptime, in the way that `torn` says (chip/flash.py); then the
board gets its power back for the next uptime, and after the last it is left alone. A failure names
the schedule, and `Case.suffer(schedule)` repeats it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from update_world import World, app, firmware, run_until

from fleetling.simboard.chip.flash import Flash
from fleetling.simboard.chip.nvs import Nvs
from fleetling.simboard.chip.nvs_format import I32
from fleetling.simboard.inprocess import Snapshot

__all__ = ["BOOT_S", "END_S", "NVS", "OVER", "TORN", "Case", "Schedule", "Torn", "bad"]

Torn = int | bytes | None
Schedule = tuple[tuple[int, Torn], ...]

BOOT_S = 20
END_S = 900
STEP_S = 10
BULK = 12  # programs of a sector that holds bulk, of which every so many is cut:
SPARE_BULK = 97
APPS = 0x10000
FILES = 0x310000
NVS = (0x9000, 0xD000)
OVER = ("confirmed", "reverted", "failed", "refused")
# Before, after, in the middle, and some of the words.
TORN: list[Torn] = [None, -1, 1, b"\x55\x12\x9a"]


def bad(body: str = "raise ValueError('no')") -> Callable[[World], list[str]]:
    """An application that fails on trial, with a firmware, so that both have to go back."""
    return lambda world: [
        world.add_app("1.1.0", app("bad", body), security=1),
        world.add_firmware("1.1.0", base=firmware("1.0.0"), security=1),
    ]


@dataclass(frozen=True)
class Mark:
    """A place to come back to."""

    board: Snapshot
    seen: list[Any]


class Case:
    """A world with an assignment, a board before it, and the operations of an undisturbed run.

    Args:
        make: Adds the releases; the targets.
        old, new: "application partition", as the birth says them.
        end: The state that an undisturbed run ends in.
        begins: Where the cuts begin: once this is on the console, else with the assignment.
    """

    def __init__(
        self,
        make: Callable[[World], list[str]],
        *,
        old: str = "1.0.0 ota_0",
        new: str,
        end: str = "confirmed",
        begins: str = "",
        **options: Any,
    ) -> None:
        self.world = World()
        self.old, self.new, self.end = old, new, end
        self.targets = make(self.world)
        self.world.publish()
        self.board = self.world.board_of(image=firmware("1.0.0"), **options)
        self.board.boot(BOOT_S)
        self.world.assign(*self.targets)
        if begins:
            assert run_until(self.board, END_S, lambda: begins in self.board.console)
        self.world.seen.clear()
        self.start = self.mark()
        self.go(self.start)
        self.where = self.watched()
        self.check_end(())

    def watched(self) -> list[tuple[str, int]]:
        """Leaves the board alone, and says what that does to the flash."""
        found: list[tuple[str, int]] = []

        def hook(kind: str, addr: int, data: bytes | None, number: int) -> None:
            found.append((kind, addr))

        self.board.flash.hook = hook
        self.settle()
        self.board.flash.hook = None
        return found

    def mark(self) -> Mark:
        """The board, which is off, and what was heard of it, for `go`."""
        return Mark(self.board.snapshot(), list(self.world.seen))

    def go(self, mark: Mark) -> None:
        self.board.restore(mark.board)
        self.board.log.clear()
        self.world.seen[:] = mark.seen

    def over(self) -> bool:
        reports = self.world.reports()
        return bool(reports) and reports[-1]["state"] in OVER

    def settle(self) -> bool:
        """Leaves the board alone until the update is over; whether it is."""
        return run_until(self.board, END_S, self.over)

    def uptime(self, number: int, torn: Torn) -> bool:
        """Has the power go in that operation; False where the update was over before."""
        board = self.board
        board.flash.hook = self._guard_running()
        board.cut_at(board.flash.operations + number, torn)
        until, after = board.now + END_S, board.flash.operations + number
        while board.now < until:
            run = board.resume if board.alive else board.boot
            if run(STEP_S).reason == "power-cut":
                return True
            if self.over() and board.flash.operations < after:
                break
        board.flash.hook = None
        return False

    def suffer(self, schedule: Schedule) -> bool:
        """Goes through all of it, and checks what comes of it; False where it was over before."""
        self.go(self.start)
        fell = all(self._uptime(number, torn, schedule) for number, torn in schedule)
        self.board.flash.hook = self._guard_running()
        self.settle()
        self.board.flash.hook = None
        self.check_end(schedule)
        return fell

    def _uptime(self, number: int, torn: Torn, schedule: Schedule) -> bool:
        fell = self.uptime(number, torn)
        self.check_floor(schedule)
        return fell

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

    def check_floor(self, schedule: Schedule) -> None:
        """A floor that has moved belongs to something that is confirmed."""
        if self.state("sec_app") or self.state("sec_fw"):
            assert self.state("slot") >> 2 == 0, schedule

    def check_end(self, schedule: Schedule) -> None:
        """Exactly the old or the new, and what the record, the report and the floors say is so."""
        world, board = self.world, self.board
        said = (schedule, world.states(), board.console[-2500:])
        assert self.over(), said
        report = world.reports()[-1]
        assert "no slot is good" not in board.console[-20000:], said
        births = [f"{b['app']} {b['partition']}" for b in world.documents("up/birth")]
        assert set(births) <= {self.old, self.new}, (births, said)
        assert {b["id"] for b in world.documents("up/birth")} == {"dev"}, said
        assert report["state"] in self.allowed(schedule, report["code"]), (report, said)
        confirmed = report["state"] == "confirmed"
        assert births[-1] == (self.new if confirmed else self.old), (births, said)
        record = json.loads(board.files()["/fl/update"])
        assert record["state"] == report["state"], (record, said)
        assert self.state("slot") >> 2 == 0, said
        if not confirmed:
            assert not self.state("sec_app") and not self.state("sec_fw"), said
        if len(schedule) < 3:
            assert not world.events("safe-mode"), said

    def allowed(self, schedule: Schedule, code: str) -> tuple[str, ...]:
        """The ends that there may be: three starts on trial whose power went are enough."""
        if len(schedule) > 2 and code == "trial-power":
            return self.end, "reverted"
        return (self.end,)

    def operations(self) -> list[int]:
        """All of the undisturbed run but most of the bulk."""
        return [n for n, bulk in self._kinds(self.where) if not bulk or n % SPARE_BULK == 0]

    def metadata(self, where: list[tuple[str, int]]) -> list[int]:
        """Which of these operations decide about anything: NVS, otadata, and what is small in the
        file system (records, folders, renames), but not the bulk of an image or a pack."""
        return [
            n for n, bulk in self._kinds(where) if not bulk and not APPS <= where[n][1] < FILES
        ]

    def _kinds(self, where: list[tuple[str, int]]) -> list[tuple[int, bool]]:
        """(number, whether it is bulk) of each."""
        found = []
        runs: list[list[int]] = [[]]
        for number, (kind, addr) in enumerate(where):
            if addr < APPS:
                found.append((number, False))  # NVS and otadata
                continue
            if kind == "erase":
                runs.append([])
            runs[-1].append(number)
        for run in runs:
            # A sector that is written whole, or nearly, holds an image or a part of a pack.
            found.extend((number, len(run) >= BULK) for number in run)
        return sorted(found)
