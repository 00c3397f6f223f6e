# SPDX-License-Identifier: MIT
"""An update in lives of its own: metadata is fetched before it is verified, and the payload in a
life after that."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_update_alone import ALONE, SHORT, is_alone, short_of_memory
from tuf_repository import ONLINE
from update_world import World, run_until

from fleetling.simboard.inprocess import Board

VERIFIES = "agent.update.tuf.client"
CONNECTS = "agent.link.http"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def board(world: World) -> Iterator[Board]:
    with world.board_of() as made:
        yield made


def metadata(world: World) -> list[str]:
    """The names of the metadata files that were asked for, since the board was assigned."""
    names = [request.partition(" ")[0] for request in world.server.requests]
    return [name.rpartition("/")[2] for name in names if "metadata/" in name]


def ends(world: World, board: Board, state: str, seconds: int = 9000) -> bool:
    """Runs a board that is short of memory in each of its lives until it reports the state."""
    until = board.now + seconds
    while not world.reported(state) and board.now < until:
        board.chip.heap_held = SHORT
        board.run(10)
    return world.reported(state)


def test_the_code_that_verifies_is_not_loaded_while_a_connection_is_open(
    world: World, board: Board
) -> None:
    path = world.add_app("1.1.0")
    short_of_memory(world, board, path)
    assert run_until(board, 120, lambda: "update-alone" in board.console)
    world.server.requests.clear()
    seen = set()

    def look(*_: object) -> None:
        """At each request, and at each operation of the flash."""
        loaded = board.sandbox.importer.modules
        seen.add((VERIFIES in loaded, CONNECTS in loaded))

    world.server.instead = board.flash.hook = look
    assert ends(world, board, "confirmed")
    assert {(True, False), (False, True)} < seen and (True, True) not in seen
    assert metadata(world)[:2] == ["timestamp.json", "2.snapshot.json"]
    assert sorted(metadata(world)[2:4]) == ["1.pump.json", "2.targets.json"]
    assert metadata(world)[4:] == ["1.root.json", "2.root.json"]
    assert not [name for name in board.files() if name.startswith("/fl/ahead/")]


@pytest.mark.parametrize(("consistent", "lives"), [(True, 2 + 2), (False, 2 + 4)])
def test_what_nobody_could_guess_is_fetched_in_another_life(
    world: World, board: Board, consistent: bool, lives: int
) -> None:
    """Roles with names of their own, two of them one below the other; and files without a
    version in their names."""
    repository = world.repository
    repository.root.consistent_snapshot = consistent
    for parent, name in (("targets", "fruit"), ("fruit", "pears/2")):
        repository.delegate(parent, name, ["lamp/*"])
    repository.files.clear()
    repository.publish("root", bump=False)
    world.anchor = repository.published["root"]
    path = world.add_app("1.1.0", kind="app")
    target = repository.targets["pump"].targets.pop(path)
    path = target.path = "lamp/1.1.0.app"
    repository.targets["pears/2"].targets[path] = target
    data = repository.files[next(name for name in repository.files if "1.1.0" in name)]
    digest = target.hashes["sha256"]
    repository.files[f"targets/lamp/{digest}.1.1.0.app" if consistent else f"targets/{path}"] = (
        data
    )
    repository.publish("fruit", "pears/2")
    with world.board_of() as board:
        short_of_memory(world, board, path)
        assert ends(world, board, "confirmed"), board.console[-3000:]
        assert board.console.count(ALONE) == lives
        assert world.documents("up/birth")[-1]["app"] == "1.1.0"


def test_there_is_an_end_to_it(world: World, board: Board) -> None:
    """A chain of roles longer than a board goes, one life for each."""
    chain = ["targets", *(f"chain-{number}" for number in range(20))]
    for parent, name in itertools.pairwise(chain):
        world.repository.delegate(parent, name, ["lamp/2.app"])
    world.repository.publish(*chain[1:])
    short_of_memory(world, board, "lamp/2.app")
    assert run_until(board, 3000, lambda: "update-over" in board.console)
    assert board.console.count(ALONE) == 13
    kept = json.loads(board.files()["/fl/update"])["alone"]
    assert kept["code"] == "update-ahead" and len(kept["wanted"]) == 12


@pytest.mark.parametrize(
    "change",
    [
        lambda signed: signed["meta"]["snapshot.json"].update(version=99),
        lambda signed: signed.update(expires="2020-01-01T00:00:00Z"),
    ],
)
def test_metadata_that_was_changed_on_the_way_is_refused_as_ever(
    world: World, board: Board, change: Callable[[dict[str, Any]], None]
) -> None:
    path = world.add_app("1.1.0")
    short_of_memory(world, board, path)
    world.repository.publish("timestamp", change=lambda document: change(document["signed"]))
    asked = []
    world.server.instead = lambda path: asked.append(path) if is_alone(board) else None
    assert ends(world, board, "failed")
    assert world.reports()[-1]["code"] == "tuf-threshold"
    # Once in each life: a heap in which it was verified has no room for another connection.
    assert asked.count("metadata/timestamp.json") == 3
    assert board.console.count(ALONE) == 3
    assert not [name for name in board.files() if name.startswith("/fl/ahead/")]
    world.repository.publish(*ONLINE)
    world.assign(path)
    assert ends(world, board, "confirmed")


def test_a_payload_that_is_not_there_is_looked_for_anew(world: World, board: Board) -> None:
    path = world.add_app("1.1.0")
    short_of_memory(world, board, path)
    names = [name for name in world.repository.files if "1.1.0" in name]
    payloads = {name: world.repository.files.pop(name) for name in names}
    assert run_until(board, 3000, lambda: "update-over" in board.console)
    assert board.console.count(ALONE) == 2
    board.run(15)  # in which the usual life tries as well
    board.chip.heap_held = SHORT
    world.repository.files.update(payloads)
    world.server.requests.clear()
    assert ends(world, board, "confirmed")
    assert board.console.count(ALONE) == 4
    assert metadata(world).count("timestamp.json") == 1
