# SPDX-License-Identifier: MIT
"""The agent itself and the host's commands understand each other: assignments out, reports in."""

from __future__ import annotations

import pytest
from update_world import World, app

from fleetling.demo.virtual import BASE
from fleetling.fleet.state import FleetState
from fleetling.update.assignment import Assignment
from fleetling.update.fit import why_not
from fleetling.update.repository import Release
from fleetling.update.standing import At, Standing, standing
from fleetling.update.words import sentence

BOOT_S = 20
LONG_S = 400


class Desk:
    """What the host publishes for the board, and what it makes of the answers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.state = FleetState()
        self.heard = self.assigned = 0

    def assign(self, *targets: str, **times: int) -> None:
        self.assigned += 1  # not `new_id`: how long a board waits for its turn depends on the id
        topic = f"{BASE}dev/down/update"
        message = Assignment(f"order-{self.assigned}", targets, **times).message()
        self.world.broker.publish(topic, message, retain=True)
        self.state.apply(topic, message, 1.0)

    def look(self) -> list[Standing]:
        """Where the board stood after each message since the last look."""
        found = []
        for message in self.world.seen[self.heard :]:
            if self.state.apply(message.topic, bytes(message.payload), 1.0) is not None:
                found.append(standing(self.state.devices["dev"]))
        self.heard = len(self.world.seen)
        return found


@pytest.fixture
def desk() -> Desk:
    return Desk(World())


def test_an_update_as_the_host_sees_it(desk: Desk) -> None:
    path = desk.world.add_app("1.1.0")
    desk.world.publish()
    with desk.world.board_of() as board:
        board.boot(BOOT_S)
        desk.look()
        desk.assign(path, jitter_s=30, deadline=1)
        board.run(LONG_S)
        found = desk.look()
        kinds = [one.at for one in found]
        assert kinds[-1] is At.DONE and sentence(found[-1]) == "runs it for good"
        first = kinds.index(At.OPEN)
        assert not {At.NONE, At.BAD} & set(kinds) and not {At.AWAY} & set(kinds[first:])
        said = list(dict.fromkeys(one.report.state for one in found[first:]))
        assert said == ["assigned", "fetching", "switching", "trial", "confirmed"], said
        assert "waits for its turn" in {sentence(one) for one in found}
        assert any(one.report.share for one in found)
        # The same again, under another id.
        desk.assign(path)
        board.run(30)
        assert desk.look()[-1].at is At.DONE
        assert sentence(standing(desk.state.devices["dev"])) == "it runs this already"


def test_failures_as_the_host_sees_them(desk: Desk) -> None:
    bad = desk.world.add_app("1.1.0", app("bad", "raise ValueError('no')"))
    old = desk.world.add_app("0.9.0")
    held = desk.world.add_app("1.2.0", requires={"firmware": "9.0"})
    desk.world.publish()
    with desk.world.board_of() as board:
        board.boot(BOOT_S)
        for path, at, words in (
            (bad, At.BAD, "went back to what ran before: the new release"),
            (bad, At.BAD, "has failed here before"),
            (old, At.BAD, "the board runs a newer version"),
            ("pump/7.0.0.app", At.OPEN, "tries again soon"),  # the server may be behind
            (held, At.HELD, "held"),
        ):
            desk.assign(path)
            board.run(LONG_S)
            found = desk.look()[-1]
            assert found.at is at and words in sentence(found), (path, found, sentence(found))
        # What the host can know before, it does.
        device = desk.state.devices["dev"]
        assert "newer" in why_not(device, [Release(old, "app", "0.9.0", {})])
        assert why_not(device, [Release(bad, "app", "1.1.0", {})]) == ""
        chip = Release("esp32/1.fw", "firmware", "1", {"chip": "esp32s3", "boards": []})
        assert "an esp32" in why_not(device, [chip])


def test_taken_back_while_it_waits(desk: Desk) -> None:
    path = desk.world.add_app("1.1.0")
    desk.world.publish()
    with desk.world.board_of() as board:
        board.boot(BOOT_S)
        desk.assign(path, not_before=4_000_000_000)
        board.run(60)
        found = desk.look()[-1]
        assert found.at is At.OPEN and found.recallable
        assert "waits for its time, 2096-" in sentence(found)
        desk.assign()
        board.run(60)
        found = desk.look()[-1]
        assert found.at is At.NONE and sentence(found) == "nothing is assigned"


def test_assigned_another_while_it_tries_the_last(desk: Desk) -> None:
    """Nothing that it says of the last may count for the new one."""
    first, second = desk.world.add_app("1.1.0"), desk.world.add_app("1.2.0")
    desk.world.publish()
    with desk.world.board_of() as board:
        board.boot(BOOT_S)
        desk.assign(first)
        while not desk.world.reported("trial"):
            board.run(5)
        desk.look()
        desk.assign(second)
        board.run(LONG_S)
        found = desk.look()
        assert "confirmed" in {one.report.state for one in found}
        for each in found:
            assert each.at is not At.DONE or dict(each.report.versions) == {"app": "1.2.0"}, each
        assert found[-1].at in (At.DONE, At.BAD)
