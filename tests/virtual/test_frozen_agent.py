# SPDX-License-Identifier: MIT
"""Firmware that freezes the agent: `.frozen` is the last place that imports look in, as here.

The CPython board has no frozen modules; a folder of the host that it searches last stands for
them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from update_world import World, app, firmware, slot_of

from fleetling import device
from fleetling.demo.virtual import START
from fleetling.image.flash import build_flash
from fleetling.image.nvs import build_nvs
from fleetling.simboard.inprocess import Board

ROOT = Path(__file__).parents[2]
BOOT_S = 20
LONG_S = 400


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    """Where the frozen agent is; it says another version than that of slots."""
    shutil.copytree(ROOT / "agent", tmp_path / "agent")
    version = tmp_path / "agent/version.py"
    lines = [line for line in version.read_text().splitlines() if not line.startswith("VERSION")]
    version.write_text("\n".join([*lines, 'VERSION = "frozen"']) + "\n")
    return tmp_path


def board_with(world: World, frozen: Path, slots: dict[str, bytes]) -> Board:
    flash = build_flash(
        firmware=firmware("1.0.0"),
        nvs=build_nvs(world.provision()),
        files={**device.board_files(), **slots},
    )
    return Board(flash, seed=1, net=world.net, air=world.air, unix=START, extra_paths=[frozen])


def test_a_slot_that_verifies_comes_before_the_frozen_agent(frozen: Path) -> None:
    world = World()
    pack = device.pack(slot_of("1.0.0", app()))
    with board_with(world, frozen, {"slots/factory.pack": pack}) as board:
        board.boot(BOOT_S)
        birth = world.documents("up/birth")[-1]
        assert birth["slot"] == "factory" and birth["agent"] != "frozen"


@pytest.mark.parametrize("damaged", [False, True], ids=["no slot", "a damaged one"])
def test_without_a_good_slot_the_frozen_agent_serves(frozen: Path, damaged: bool) -> None:
    world = World()
    # The very release that is assigned below: damaged, it is not what the board has already.
    pack = bytearray(device.pack(slot_of("1.1.0", app("1.1.0"))))
    pack[-1] ^= 1
    path = world.add_app("1.1.0")
    world.publish()
    with board_with(
        world, frozen, {"slots/factory.pack": bytes(pack)} if damaged else {}
    ) as board:
        board.boot(BOOT_S)
        birth = world.documents("up/birth")[-1]
        assert (birth["slot"], birth["agent"]) == ("", "frozen")
        assert world.documents("/online")[-1]["online"]
        # And takes an application as any other agent does.
        world.assign(path)
        board.run(LONG_S)
        report = world.reports()[-1]
        assert report["state"] == "confirmed", (world.states(), report)
        birth = world.documents("up/birth")[-1]
        assert (birth["app"], birth["slot"]) == ("1.1.0", "a") and birth["agent"] != "frozen"
