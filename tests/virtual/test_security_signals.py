# SPDX-License-Identifier: MIT
"""What an attacker causes is told, once and then ever less often."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from fleetling.demo.virtual import BASE, BROKER, VirtualFleet
from fleetling.pki import make_authority
from fleetling.simboard.inprocess import ServerTls


@pytest.fixture
def fleet() -> VirtualFleet:
    return VirtualFleet()


def signals(fleet: VirtualFleet) -> list[tuple[str, int]]:
    found: dict[int, dict[str, Any]] = {e["seq"]: e for e in fleet.documents("up/event")}
    return [(e["kind"], e["count"]) for e in found.values() if e["code"] == "security"]


def test_a_broker_of_another_authority_is_told_when_the_right_one_is_back(
    fleet: VirtualFleet,
) -> None:
    with fleet.board(fleet.provision(settings={"reconnect_s": 5})) as board:
        board.boot(30)
        assert signals(fleet) == []
        mine = fleet.host.tls
        other = make_authority("Virtual fleet CA").server([BROKER], 36500)
        fleet.host.tls = ServerTls([other.certificate_der], other.key_der)
        fleet.broker.restart()
        board.resume(600)
        fleet.host.tls = mine
        board.resume(100)
        told = signals(fleet)
        assert {kind for kind, _ in told} == {"tls-ca"}
        counts = [count for _, count in told]
        assert len(counts) >= 2 and all(b >= 2 * a for a, b in pairwise(counts))


def test_refused_commands_are_told(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(30)
        for number in range(20):
            message = {"id": f"x{number}", "name": "format-everything"}
            fleet.broker.publish(f"{BASE}dev/down/command", json.dumps(message).encode())
            board.resume(1)
        board.resume(120)
        assert signals(fleet) == [("command-refused", 20)]
        assert fleet.documents("up/health")[-1]["link"]["failures"] == {"command-refused": 20}
