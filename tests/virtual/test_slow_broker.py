# SPDX-License-Identifier: MIT
"""A broker that answers everything, but late: the board waits, and is not taken for hung."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleetling.demo.virtual import BASE, START, VirtualFleet
from fleetling.simboard.inprocess.broker import Message


@pytest.fixture
def fleet() -> VirtualFleet:
    return VirtualFleet()


def lines(documents: list[dict[str, Any]]) -> bytes:
    return b"".join([json.dumps(document).encode() + b"\n" for document in documents])


def test_what_a_long_absence_left_takes_longer_than_a_deadline(fleet: VirtualFleet) -> None:
    kept: list[dict[str, Any]] = [{"boot": 1, "up": n, "late": True} for n in range(40)]
    fleet.host.latency = 0.5
    with fleet.board(files={"fl/health": lines(kept)}) as board:
        assert board.boot(200).reason == "time", board.console
        sent = [d for d in fleet.documents("up/health") if d.get("late")]
        assert len(sent) >= 40 and "fl/health" not in board.files()


def test_so_do_events(fleet: VirtualFleet) -> None:
    kept: list[dict[str, Any]] = [{"seq": n, "up": n, "code": "crash"} for n in range(1, 60)]
    fleet.host.latency = 0.5
    with fleet.board(files={"fl/events": lines(kept)}) as board:
        assert board.boot(200).reason == "time", board.console
        assert len(fleet.documents("up/event")) >= 60


def test_so_does_the_greeting(fleet: VirtualFleet) -> None:
    def slow(message: Message) -> None:
        fleet.host.latency = 8

    fleet.broker.listeners.append(slow)
    with fleet.board() as board:
        assert board.boot(400).reason == "time", board.console
        assert fleet.documents("up/health"), board.console


def test_so_do_answers_to_commands(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(30)
        fleet.host.latency = 4.5
        for number in range(8):
            message = {"id": f"x{number}", "name": "ping", "expires": START + 3600}
            fleet.broker.publish(f"{BASE}dev/down/command", json.dumps(message).encode())
        assert board.resume(150).reason == "time", board.console
        assert len(fleet.documents("up/reply")) == 8
