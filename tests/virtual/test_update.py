# SPDX-License-Identifier: MIT
"""Updates on a whole board: from the assignment to the confirmation, and back where it fails."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from tuf_repository import signer
from update_world import World, app, firmware, slot_of

from fleetling import device
from fleetling.simboard.inprocess import Board
from fleetling.simboard.inprocess.flashing import write_file

BOOT_S = 20
LONG_S = 400


@pytest.fixture
def world() -> World:
    return World()


def update(world: World, board: Board, *targets: str, state: str = "confirmed") -> dict[str, Any]:
    """Assigns and lets the board run until the report says so."""
    world.publish()
    world.assign(*targets)
    board.run(LONG_S)
    report = world.reports()[-1]
    assert report["state"] == state, (world.states(), report, board.console[-3000:])
    return report


def test_an_application(world: World) -> None:
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        report = update(world, board, path)
        assert report["app"] == "1.1.0" and report["code"] == ""
        assert board.console.count("app says 1.1.0") == 1 and board.lives == 2
        assert world.documents("up/birth")[-1]["app"] == "1.1.0"
        assert world.documents("up/birth")[-1]["slot"] == "a"
        (event,) = world.events("update")
        assert event["state"] == "confirmed" and event["app"] == "1.1.0"
        # The agent's files came from the running slot: two requests, for head and for what is new.
        assert [r for r in world.server.requests if ".app" in r][1:] == [world.server.requests[-1]]


def test_a_build_without_the_optional_signatures(world: World) -> None:
    """ECDSA does; a role that RSA or Ed25519 alone have signed is not trusted, and says so."""
    path = world.add_app("1.1.0", without=device.OPTIONAL)
    with world.board_of(without=device.OPTIONAL) as board:
        board.boot(BOOT_S)
        update(world, board, path)
        world.repository.set_keys("timestamp", [signer(50, "ed25519")])
        world.repository.publish("root", "timestamp")
        world.assign(world.add_app("1.2.0"))
        board.run(60)
        assert world.reports()[-1]["code"] == "tuf-threshold"
        assert world.documents("up/birth")[-1]["app"] == "1.1.0"


def test_a_firmware(world: World) -> None:
    path = world.add_firmware("1.1.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        report = update(world, board, path)
        assert report["firmware"] == "1.1.0"
        assert world.documents("up/birth")[-1]["partition"] == "ota_1"
        assert board.lives == 2


def test_a_firmware_by_delta(world: World) -> None:
    base = firmware("1.0.0")
    path = world.add_firmware("1.1.0", base=base)
    with world.board_of(image=base) as board:
        board.boot(BOOT_S)
        update(world, board, path)
        assert world.documents("up/birth")[-1]["partition"] == "ota_1"
        assert any(".delta" in request for request in world.server.requests)
        assert not any(".fw" in request for request in world.server.requests)


def test_both_together(world: World) -> None:
    one, two = world.add_app("1.1.0", requires={"firmware": "1.1.0"}), world.add_firmware("1.1.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        report = update(world, board, one, two)
        assert (report["app"], report["firmware"]) == ("1.1.0", "1.1.0")
        birth = world.documents("up/birth")[-1]
        assert (birth["app"], birth["partition"]) == ("1.1.0", "ota_1") and board.lives == 2


def test_one_that_crashes_is_reverted_and_not_tried_again(world: World) -> None:
    bad = app("bad", "raise ValueError('no')")
    path = world.add_app("1.1.0", bad)
    with world.board_of() as board:
        board.boot(BOOT_S)
        report = update(world, board, path, state="reverted")
        assert report["code"].startswith("trial-")
        assert world.documents("up/birth")[-1]["app"] == "1.0.0"
        # What crashed is named, not what runs when it is told.
        manifest = slot_of("1.1.0", bad)["manifest.json"]
        assert world.documents("up/crash")[-1]["app"] == ["1.1.0", f"{zlib.crc32(manifest):08x}"]
        report = update(world, board, path, state="refused")
        assert report["code"] == "update-condemned"


def command(world: World, board: Board, name: str, **args: Any) -> dict[str, Any]:
    world.command("dev", name, 1 << 32, **args)
    before = len(world.documents("up/reply"))
    board.resume(lambda: len(world.documents("up/reply")) > before)
    return world.documents("up/reply")[-1]


def test_the_previous_application_comes_back_without_a_download(world: World) -> None:
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        update(world, board, path)
        world.server.requests.clear()
        assert command(world, board, "previous", kind="app")["status"] == "ok"
        board.run(LONG_S)
        assert world.documents("up/birth")[-1]["app"] == "1.0.0"
        assert [event["app"] for event in world.events("update")[:2]] == ["1.1.0", "1.0.0"]
        # The assignment still stands, and does not bring it back.
        assert world.reports()[-1]["code"] == "update-condemned"
        assert not [request for request in world.server.requests if ".app" in request]
        # And once more back: a person may.
        assert command(world, board, "previous", kind="app")["status"] == "ok"
        board.run(LONG_S)
        assert world.documents("up/birth")[-1]["app"] == "1.1.0"


def test_the_previous_firmware_comes_back(world: World) -> None:
    path = world.add_firmware("1.1.0", security=1)
    with world.board_of() as board:
        board.boot(BOOT_S)
        assert command(world, board, "previous", kind="firmware")["code"] == "firmware-image"
        assert command(world, board, "previous", kind="app")["code"] == "update-none"
        assert command(world, board, "previous", kind="x")["code"] == "update-kind"
        update(world, board, path)
        assert world.documents("up/birth")[-1]["release"] == "1.1.0"
        # The floor has moved with the confirmation.
        assert command(world, board, "previous", kind="firmware")["code"] == "update-security"
        two = world.add_firmware("1.2.0", security=1)
        update(world, board, two)
        assert command(world, board, "previous", kind="firmware")["status"] == "ok"
        board.run(LONG_S)
        assert world.documents("up/birth")[-1]["release"] == "1.1.0"


@pytest.mark.parametrize("kind", ["app", "firmware"])
@pytest.mark.parametrize("state", ["verified", "trial"])
@pytest.mark.parametrize("assigned", [True, False])
def test_the_way_to_the_previous_is_gone_on_with_after_a_loss_of_power(
    world: World, kind: str, state: str, assigned: bool
) -> None:
    """Nobody repeats the command, and the assignment that brought what is left may do so."""
    path = world.add_app("1.1.0") if kind == "app" else world.add_firmware("1.1.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        update(world, board, path)
        if not assigned:
            world.broker.publish("fleetling/v1/dev/down/update", b"", retain=True)
        world.command("dev", "previous", 1 << 32, kind=kind)
        prepared = (b'"id": "previous"', b'"state": "%s"' % state.encode())
        end = board.now + 60
        while not all(part in board.files()["/fl/update"] for part in prepared):
            assert board.now < end
            if board.alive:
                board.resume(0.02)
            else:
                board.boot(0.02)
        board.power_cycle()
        board.run(LONG_S)
        birth = world.documents("up/birth")[-1]
        assert (birth["app"], birth["partition"]) == ("1.0.0", "ota_0"), world.states()
        assert "confirmed" in world.states()[world.states().index("switching") :]


def test_the_way_to_the_previous_is_begun_whole_or_not_at_all(
    world: World, record_property: Any
) -> None:
    """The power goes in each operation until it resets for it."""
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        update(world, board, path)
        board.power_cycle()
        board.boot(BOOT_S)
        board.power_cycle()
        start = board.snapshot()
        number = 0
        while True:
            board.restore(start)
            board.boot(BOOT_S)
            world.seen.clear()
            world.command("dev", "previous", 1 << 32, kind="app")
            board.cut_at(board.flash.operations + number)
            if board.resume(20).reason != "power-cut":
                break
            board.run(100)
            assert world.documents("up/birth")[-1]["app"] in ("1.0.0", "1.1.0")
            codes = {report["code"] for report in world.reports()}
            assert codes <= {"", "update-condemned"}, (number, codes)
            number += 1
        record_property("tried", number)
        assert number > 4


def test_a_previous_one_that_was_damaged_is_refused_at_once(world: World) -> None:
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        update(world, board, path)
        spoilt = bytearray(board.files()["/slots/factory.pack"])
        spoilt[-3] ^= 1
        board.power_cycle()
        write_file(board.flash, "/slots/factory.pack", bytes(spoilt))
        board.boot(BOOT_S)
        world.server.requests.clear()
        assert command(world, board, "previous", kind="app")["status"] == "ok"
        board.run(LONG_S)
        assert (world.reports()[-1]["state"], world.reports()[-1]["code"]) == (
            "refused",
            "update-flash",
        )
        assert not world.server.requests
        assert world.documents("up/birth")[-1]["app"] == "1.1.0"
        # What goes on running is not held for bad.
        assert not json.loads(board.files()["/fl/update"])["bad"]
        # Nor is it under way for ever where the power went before it said so.
        left = json.loads(board.files()["/fl/update"]) | {"state": "fetching", "code": ""}
        board.power_cycle()
        write_file(board.flash, "/fl/update", json.dumps(left).encode())
        world.broker.publish("fleetling/v1/dev/down/update", b"", retain=True)
        board.boot(BOOT_S)
        assert json.loads(board.files()["/fl/update"])["state"] == "refused"


def test_where_the_previous_one_fails_what_was_left_for_it_may_come_again(world: World) -> None:
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        update(world, board, path)
        assert command(world, board, "previous", kind="app")["status"] == "ok"
        world.host.black_hole = True
        board.run(3600)
        world.host.black_hole = False
        board.run(LONG_S)
        assert "trial" in world.states() and "reverted" in world.states()
        assert world.documents("up/birth")[-1]["app"] == "1.1.0"
        assert not json.loads(board.files()["/fl/update"])["bad"]


def test_without_the_broker_a_trial_ends_but_nothing_is_condemned(world: World) -> None:
    path = world.add_app("1.1.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.assign(path)
        while board.lives == 1:
            board.run(1)
        world.host.refuse = True
        board.run(100)
        assert board.lives == 2  # healthy otherwise: it goes on for longer than trial_s
        board.run(200)
        world.host.refuse = False
        board.run(100)
        (event,) = world.events("update")
        assert (event["state"], event["reason"]) == ("reverted", "trial-link")
        assert world.documents("up/birth")[-1]["app"] == "1.0.0"
        update(world, board, path)
