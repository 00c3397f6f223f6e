# SPDX-License-Identifier: MIT
"""A board that is online and has nothing to say: what it holds, and how soon it sees trouble."""

from __future__ import annotations

from typing import Any

import pytest

from fleetling.demo.virtual import START, VirtualFleet
from fleetling.simboard.inprocess import Board

BOOT_S = 30
LOOK_S = 7.5  # of the session, agent/link/session.py
ON_DEMAND = (
    "link.reach",
    "link.login",
    "link.arrivals",
    "link.eventlog",
    "link.floor",
    "storage.files",
)


@pytest.fixture
def fleet() -> VirtualFleet:
    return VirtualFleet()


def session(board: Board) -> Any:
    runtime: Any = board.sandbox.importer.modules["agent"]._runtime
    return runtime.session


def bytes_out(board: Board) -> int:
    return int(session(board).mqtt.bytes_out)


def test_what_only_events_and_messages_need_is_held_no_longer(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        modules = board.sandbox.importer.modules
        assert not [name for name in ON_DEMAND if f"agent.{name}" in modules]
        fleet.command("dev", "ping", expires=START + 300)
        board.resume(1)
        assert fleet.documents("up/reply")[-1]["status"] == "ok"
        assert "agent.link.arrivals" in modules  # more may follow
        board.resume(2 * LOOK_S)
        assert not [name for name in ON_DEMAND if f"agent.{name}" in modules]


def test_a_message_does_not_wait_for_the_next_look(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        for number in range(1, 8):
            board.resume(LOOK_S + 0.7 * number)  # at no fixed place between two looks
            fleet.command("dev", "ping", expires=START + 3000)
            board.resume(0.5)
            assert len(fleet.documents("up/reply")) == number


def test_a_quiet_board_pings_twice_in_a_keep_alive_period(fleet: VirtualFleet) -> None:
    settings: dict[str, object] = {"heartbeat_s": 3600}
    with fleet.board(fleet.provision(settings=settings)) as board:
        board.boot(BOOT_S)
        before = bytes_out(board)
        board.resume(3000)
        assert bytes_out(board) - before == 2 * 3000 // 15  # a PINGREQ has two bytes
        assert not fleet.broker.denied and board.lives == 1


def test_a_lost_connection_and_a_lost_wifi_are_seen_in_time(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        fleet.broker.drop("dev")
        board.resume(0.5)
        assert "W link: mqtt-closed" in board.console
        board.resume(BOOT_S)
        assert fleet.documents("/online")[-1] == {"online": True, "boot": 1}
        fleet.air.points[0]["up"] = False
        board.resume(10 + LOOK_S + 1)
        assert "W link: wifi-lost" in board.console


def test_a_connection_that_is_out_of_date_when_it_is_made_says_nothing(
    fleet: VirtualFleet,
) -> None:
    with fleet.board() as board:
        board.boot(lambda: "joined works" in board.console)
        errors: Any = board.sandbox.importer.modules["agent.errors"]
        session(board).end(errors.LinkError("settings-changed"))
        board.resume(BOOT_S)
        assert "I link: again: settings-changed" in board.console
        assert session(board).connected() and len(fleet.documents("up/birth")) == 1


def test_the_pauses_grow_and_a_steady_connection_makes_them_short_again(
    fleet: VirtualFleet,
) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        fleet.host.refuse = True
        fleet.broker.restart()
        board.resume(600)
        assert 6 <= board.console.count("tls-closed 104") <= 12
        fleet.host.refuse = False
        board.resume(600)
        assert session(board).connected() and session(board).attempt > 6
        fleet.broker.drop("dev")
        board.resume(5)
        assert session(board).connected() and session(board).attempt == 1


def test_a_silent_broker_is_noticed_in_time(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        fleet.host.black_hole = True
        board.resume(15 + 20 + LOOK_S)  # the ping, the wait for its answer, the look
        assert "W link: mqtt-timeout" in board.console
