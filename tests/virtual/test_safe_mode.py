# SPDX-License-Identifier: MIT
"""Boards that lack something: the application runs, and safe mode is left, all the same."""

from __future__ import annotations

import pytest
from test_application import app, crash_loop
from test_update_storage import refuse

from fleetling.demo.virtual import START, VirtualFleet
from fleetling.image.flash import build_flash, first_files
from fleetling.simboard.chip import stock
from fleetling.simboard.inprocess import Board


@pytest.fixture
def fleet() -> VirtualFleet:
    return VirtualFleet()


def unprovisioned(fleet: VirtualFleet, files: dict[str, bytes]) -> Board:
    image = build_flash(
        firmware=stock.build_app(),
        nvs=b"\xff" * 0x4000,
        files=first_files("1", files, compiled=False),
    )
    return Board(image, net=fleet.net, air=fleet.air)


def test_an_application_counts_on_a_board_without_identity(fleet: VirtualFleet) -> None:
    files = app(
        "agent.count('rounds')\nagent.gauge('speed', 3)\nprint('counted')\n"
        "while True:\n    await task.sleep(1)\n"
    )
    with unprovisioned(fleet, files) as board:
        assert board.boot(200).reason == "time"
        assert board.console.count("counted") == 1, board.console


def test_a_board_without_identity_leaves_it_after_the_delay(fleet: VirtualFleet) -> None:
    with unprovisioned(fleet, app("raise ValueError('no')")) as board:
        board.run(120)
        assert "safe-mode: the application is not started" in board.console
        tried = board.console.count("ValueError: no")
        board.run(700)
        assert board.console.count("ValueError: no") > tried, board.console


@pytest.mark.parametrize("way", ["command", "delay"])
def test_a_board_whose_nvs_refuse_leaves_it(fleet: VirtualFleet, way: str) -> None:
    with crash_loop(fleet) as board:
        refuse(board, "nvs")
        lives = board.lives
        if way == "command":
            fleet.command("dev", "resume", START + 100_000)
        board.run(60 if way == "command" else 700)
        assert board.lives > lives, board.console
        assert board.console.count("ValueError: too slow") > 4


def test_a_file_of_events_that_cannot_be_read_keeps_no_board_away(fleet: VirtualFleet) -> None:
    with fleet.board(files={"fl/events/folder": b""}) as board:
        assert board.boot(100).reason == "time", board.console
        assert [e["code"] for e in fleet.documents("up/event")] == ["boot"]
        assert fleet.documents("up/health")
