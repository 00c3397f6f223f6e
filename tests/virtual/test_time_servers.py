# SPDX-License-Identifier: MIT
"""A time server that does not answer when it is asked: the board asks again, connected or not."""

from __future__ import annotations

from fleetling.demo.virtual import START, VirtualFleet

HOUR = 3600


def test_one_that_answers_later_is_heard_without_another_connection() -> None:
    fleet = VirtualFleet()
    fleet.air.ntp_up = False
    with fleet.board(built=START - 60) as board:
        board.boot(HOUR)
        assert board.console.count("clock-no-answer") == 1
        assert "at" not in fleet.documents("up/health")[-1]
        fleet.air.ntp_up = True
        board.resume(2 * HOUR)
        heartbeat = fleet.documents("up/health")[-1]
        assert abs(heartbeat["at"] - (START + heartbeat["up"])) < 120
        assert fleet.host.connections == 1 and board.lives == 1


def test_a_clock_that_runs_away_is_put_right_within_hours() -> None:
    fleet = VirtualFleet()
    away = b"""import machine
async def main(task):
    await task.sleep(100)
    machine.RTC().datetime((2040, 1, 1, 0, 0, 0, 0, 0))
    while True:
        await task.sleep(1)
"""
    with fleet.board(app={"app.py": away}) as board:
        board.boot(200)
        assert fleet.documents("up/health")[-1]["at"] > START + 10_000_000
        board.resume(8 * HOUR)
        heartbeat = fleet.documents("up/health")[-1]
        assert abs(heartbeat["at"] - (START + heartbeat["up"])) < 120


def test_one_that_never_answers_is_asked_ever_more_seldom() -> None:
    fleet = VirtualFleet()
    fleet.air.ntp_up = False
    with fleet.board(built=START - 60) as board:
        board.boot(8 * HOUR)
        assert board.console.count("clock-no-answer") == 4  # at the start, after 1, 3 and 7 hours
        board.resume(96 * HOUR)
        assert 7 <= board.console.count("clock-no-answer") <= 10
        assert fleet.host.connections == 1
