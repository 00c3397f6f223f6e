# SPDX-License-Identifier: MIT
"""Settings on a whole board: changed, refused, tried and undone, whatever is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleetling.demo.virtual import BASE, VirtualFleet
from fleetling.simboard.inprocess import Board

BOOT_S = 20
GOOD = ["other", "another password"]
BAD = ["works", "wrong password"]


@pytest.fixture
def fleet() -> VirtualFleet:
    made = VirtualFleet()
    made.air.add(*GOOD)
    return made


def desire(fleet: VirtualFleet, version: int, epoch: str = "e", **config: Any) -> None:
    document = {"version": version, "epoch": epoch, "config": config}
    fleet.broker.publish(f"{BASE}dev/down/desired", json.dumps(document).encode(), retain=True)


def reported(fleet: VirtualFleet) -> dict[str, Any]:
    return fleet.documents("up/reported")[-1]


def test_a_change_is_in_force_at_once_reported_and_survives(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        assert reported(fleet)["version"] == -1
        desire(fleet, 1, heartbeat_s=5, name="north wall")
        board.resume(30)
        assert reported(fleet)["version"] == 1 and reported(fleet)["keys"] == {}
        assert reported(fleet)["config"]["name"] == "north wall"
        assert len(fleet.documents("up/health")) >= 4
        board.power_cycle()
        board.boot(BOOT_S)
        assert reported(fleet)["config"]["heartbeat_s"] == 5


def test_what_is_invalid_is_refused_by_key_and_the_rest_applies(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, heartbeat_s=-1, nope=7, log_level="X", name="n" * 33, location="here")
        board.resume(5)
        assert reported(fleet)["keys"] == {
            "heartbeat_s": "setting-range",
            "nope": "setting-unknown",
            "log_level": "setting-choice",
            "name": "setting-length",
        }
        assert reported(fleet)["config"]["location"] == "here"


def test_old_versions_are_ignored_unless_the_epoch_is_new(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 5, name="five")
        board.resume(5)
        desire(fleet, 4, name="four")
        board.resume(5)
        assert reported(fleet)["config"]["name"] == "five"
        desire(fleet, 1, "new", name="one")
        board.resume(5)
        assert reported(fleet)["config"]["name"] == "one"


def test_a_good_network_is_confirmed_by_the_broker(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, wifi=[GOOD], trial_s=120)
        board.resume(60)
        assert "joined other" in board.console and "confirmed" in board.console
        assert reported(fleet)["trial"] is False and reported(fleet)["version"] == 1
        board.power_cycle()
        fleet.air.points[0]["up"] = False
        board.boot(BOOT_S)
        assert board.console.count("joined other") == 2


def test_a_wrong_password_is_tried_and_undone_by_itself(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, wifi=[BAD], trial_s=60)
        board.resume(400)
        assert "wifi-wrong-password" in board.console and "undone" in board.console
        assert reported(fleet)["reverted"] is True and reported(fleet)["trial"] is False
        assert fleet.documents("dev/online")[-1]["online"] is True
        board.resume(600)  # the same document is still there, and is not tried again
        assert board.console.count("on trial") == 1 and board.lives == 1


def test_a_broker_that_is_not_there_is_tried_and_undone(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, broker="nowhere.lan:8883", trial_s=60)
        board.resume(600)
        assert reported(fleet)["reverted"] is True
        assert fleet.documents("dev/online")[-1]["online"] is True


def test_any_reset_ends_a_trial(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, wifi=[BAD], trial_s=3600)
        board.resume(30)
        assert "on trial" in board.console
        board.power_cycle()
        board.boot(BOOT_S)
        assert reported(fleet)["reverted"] is True
        assert fleet.documents("dev/online")[-1]["online"] is True


def test_a_canary_in_a_tried_password_is_nowhere(fleet: VirtualFleet) -> None:
    canary = "canary-5e1f0"
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, wifi=[["works", canary]], trial_s=60)
        board.resume(400)
        said = b"".join(m.payload for m in fleet.seen if "/up/" in m.topic)
        assert canary.encode() not in said + board.console.encode() + board.image()


def test_what_a_change_loads_is_released(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        before = set(board.sandbox.importer.modules)
        desire(fleet, 1, name="x")
        board.resume(5)
        assert set(board.sandbox.importer.modules) == before


def settled(fleet: VirtualFleet, board: Board) -> tuple[Any, Any]:
    config = reported(fleet)["config"]
    return config["name"], config["location"]


@pytest.mark.slow
@pytest.mark.parametrize("torn", [None, -1, 1])
def test_a_cut_at_every_operation_of_a_change_is_old_or_new(
    fleet: VirtualFleet, torn: int | None
) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, name="old", location="old")
        board.resume(5)
        board.power_cycle()
        before = board.snapshot()
        desire(fleet, 2, name="new", location="new", wifi=[GOOD], trial_s=120)
        first = board.flash.operations
        board.boot(60)
        last = board.flash.operations
        for operation in range(first + 1, last + 1):
            board.restore(before)
            board.cut_at(operation, torn)
            board.boot(60)
            board.flash.hook = None
            board.boot(60)
            pair = settled(fleet, board)
            assert pair in (("old", "old"), ("new", "new")), (operation, pair)
            assert fleet.documents("dev/online")[-1]["online"] is True, operation
        assert last - first > 10
