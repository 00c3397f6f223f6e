# SPDX-License-Identifier: MIT
"""How to test an application without a board: `pip install fleetling pytest`, then `pytest`."""

from __future__ import annotations

import pytest

from fleetling.testing import AppBoard

SENSOR, PUMP = 34, 25
WET, DRY = 1.5, 0.2  # volts
QUICK = {"heartbeat_s": 10, "app.interval_s": 1}

pytestmark = pytest.mark.fleetling(settings=QUICK)


def test_dry_soil_is_watered_and_wet_soil_is_not(fleetling_board: AppBoard) -> None:
    board = fleetling_board
    board.volts[SENSOR] = WET
    board.start()
    board.run(60)
    assert board.gauges["soil"] == 75 and "waterings" not in board.counts
    board.volts[SENSOR] = DRY
    board.until(lambda: board.pins[PUMP] == 1, 5, "the pump")
    board.volts[SENSOR] = WET
    board.until(lambda: board.pins[PUMP] == 0, 5, "the pump to stop")
    board.run(20)
    assert board.counts["waterings"] == 1


def test_what_is_dry_is_a_setting(fleetling_board: AppBoard) -> None:
    board = fleetling_board
    board.volts[SENSOR] = WET
    board.start()
    assert board.set(app={"dry_below": 80}) == {}
    board.until(lambda: board.pins[PUMP] == 1, 10, "the pump")
    assert board.set(app={"dry_below": 101}) == {"app.dry_below": "setting-range"}


def test_it_waters_without_wifi_and_tells_of_it_later(fleetling_board: AppBoard) -> None:
    board = fleetling_board
    board.volts[SENSOR] = WET
    board.start()
    board.wifi(False)
    board.volts[SENSOR] = DRY
    board.until(lambda: board.pins[PUMP] == 1, 30, "the pump")
    board.volts[SENSOR] = WET
    board.run(60)
    board.wifi(True)
    board.until(lambda: board.online and board.counts.get("waterings", 0) > 0, 300, "the news")


def test_the_pump_is_off_after_a_loss_of_power_at_any_moment(fleetling_board: AppBoard) -> None:
    board = fleetling_board
    board.volts[SENSOR] = WET
    board.start()
    for _ in board.power_cuts(30, every=20, settle_s=30):
        assert board.pins[PUMP] == 0 and board.mode == "normal"


@pytest.mark.fleetling(files={"settings.json": b'{"interval_s": {"type": "int", "default": 1}}'})
def test_an_application_that_fails_ends_in_safe_mode_and_the_board_stays(
    fleetling_board: AppBoard,
) -> None:
    board = fleetling_board  # its settings lack dry_below, which the pump reads
    board.until(lambda: board.mode == "safe", 600, "safe mode")
    assert board.crashes[-1]["task"] == "pump" and board.crashes[-1]["error"].startswith(
        "KeyError"
    )
    assert board.command("ping")["status"] == "ok"
