# SPDX-License-Identifier: MIT
"""What an update costs of the flash's life: erases against the budget of docs/updates.md (P-19).

What a day without one costs is test_year.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from test_update import BOOT_S
from update_world import World, app, firmware, run_until

from fleetling.simboard.inprocess import Board

WAIT_S = 900
SECTOR = 4096
BULK = {"ota_0": (0x10000, 0x190000), "ota_1": (0x190000, 0x310000)}
# The budget: each sector of the image once, each block of the pack once, and beside these:
BESIDE = 40
OF_ONE_SECTOR = 4
ENDURANCE = 100_000  # erases that a sector of NOR flash takes
SIZE = 1_400_000  # of a firmware, nearly all that its slot holds


def erases(board: Board) -> list[int]:
    return [board.flash.erases(sector) for sector in range(board.flash.size // SECTOR)]


def test_erases_of_an_update(capsys: pytest.CaptureFixture[str], record_property: Any) -> None:
    """One board takes all kinds, one after the other, so that both slots are old once."""
    images = [firmware(f"1.{n}.0", SIZE) for n in range(4)]
    world = World()
    updates: dict[str, Callable[[], list[str]]] = {
        "application": lambda: [world.add_app("1.1.0")],
        "firmware, whole": lambda: [world.add_firmware("1.1.0", images[1])],
        "firmware, delta": lambda: [world.add_firmware("1.2.0", images[2], base=images[1])],
        "application again": lambda: [world.add_app("1.2.0", app("two"))],
        "both": lambda: [
            world.add_app("1.3.0", app("three")),
            world.add_firmware("1.3.0", images[3], base=images[2]),
        ],
    }
    said = []
    with world.board_of(image=images[0]) as board:
        board.boot(BOOT_S)
        for name, make in updates.items():
            targets = make()
            world.publish()
            before = erases(board)
            world.seen.clear()
            world.assign(*targets)
            assert run_until(board, WAIT_S, lambda: world.reported("confirmed")), world.states()
            board.run(120)
            spent = [b - a for a, b in zip(before, erases(board), strict=True)]
            image = max(
                sum(spent[start // SECTOR : end // SECTOR]) for start, end in BULK.values()
            )
            packs = [len(data) for path, data in board.files().items() if path == newest(world)]
            bulk = image + sum(-(-size // SECTOR) for size in packs)
            said.append(f"{name}: {sum(spent)} erases, {bulk} of them bulk, {max(spent)} of one")
            if "firmware" in name or name == "both":
                assert image == -(-len(images[0]) // SECTOR)  # not one more
            assert sum(spent) - bulk <= BESIDE, (name, sum(spent), bulk)
            assert max(spent) <= OF_ONE_SECTOR, (name, max(spent))
    with capsys.disabled():
        print("\n" + "\n".join(said))  # noqa: T201
        print(f"{ENDURANCE // OF_ONE_SECTOR:,} updates wear out the sector that is worn most")  # noqa: T201
    record_property("tried", len(said))


def newest(world: World) -> str:
    """The pack that the last update has made."""
    report = world.reports()[-1]
    slot = world.documents("up/birth")[-1]["slot"]
    return f"/slots/{slot}.pack" if "app" in report else ""
