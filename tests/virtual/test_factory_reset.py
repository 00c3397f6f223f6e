# SPDX-License-Identifier: MIT
"""Factory reset on a whole board: three levels, four triggers, every cut, no secret left."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_enrolment import private_scalars
from test_settings import desire, reported

from fleetling.demo.virtual import BASE, PASSWORD, SSID, START, VirtualFleet
from fleetling.simboard.chip.flash import SKIP
from fleetling.simboard.inprocess import Board
from fleetling.simboard.inprocess.files import Volume

BOOT_S = 30
CANARY = "canary-1b77e"
OTHER = "canary-90c3d"
PIN, LED = 4, 5
LEVELS = ("config", "app", "identity")
ORDERS = {"config": 1, "app": 2, "identity": 3}


@pytest.fixture
def fleet() -> VirtualFleet:
    made = VirtualFleet()
    made.air.add("home", CANARY)
    made.air.add("office", OTHER)
    return made


def used(fleet: VirtualFleet) -> Board:
    """A board that enrolled, has settings with a secret that was changed once, and is on."""
    board = fleet.board(fleet.unproven())
    board.boot(BOOT_S)
    desire(fleet, 1, name="north", wifi=[["home", CANARY]], trial_s=60)
    board.resume(60)
    desire(fleet, 2, name="north", wifi=[["office", OTHER], [SSID, PASSWORD]], button_pin=PIN)
    board.resume(60)
    assert reported(fleet)["config"]["name"] == "north" and "joined office" in board.console
    assert CANARY.encode() in board.image() and OTHER.encode() in board.image()
    forget_desired(fleet)
    return board


def forget_desired(fleet: VirtualFleet) -> None:
    fleet.broker.publish(f"{BASE}dev/down/desired", b"", retain=True)


def online(fleet: VirtualFleet) -> bool:
    return fleet.documents("dev/online")[-1]["online"] is True


def factory(board: Board) -> dict[str, bytes]:
    nvs: Any = board.chip.modules()["esp32"].NVS("fl_factory")
    found = {}
    for key in ("id", "ca", "broker", "enrol", "wifi", "ntp", "claim_crt", "claim_key"):
        buffer = bytearray(600)
        found[key] = bytes(buffer[: nvs.get_blob(key, buffer)])
    return found


def state(board: Board, key: str) -> int:
    nvs: Any = board.chip.modules()["esp32"].NVS("fl_state")
    try:
        value: int = nvs.get_i32(key)
    except OSError:
        return 0
    return value


def order(board: Board, level: str) -> None:
    """What a trigger leaves behind."""
    nvs: Any = board.chip.modules()["esp32"].NVS("fl_state")
    nvs.set_i32("reset", ORDERS[level])
    nvs.commit()


def resets(fleet: VirtualFleet) -> list[str]:
    """The levels of the resets that were told, each event once."""
    told = {
        e["seq"]: e["level"] for e in fleet.documents("up/event") if e["code"] == "factory-reset"
    }
    return [told[number] for number in sorted(told)]


@pytest.mark.parametrize("level", LEVELS)
def test_by_command_it_comes_back_as_at_its_first_boot(fleet: VirtualFleet, level: str) -> None:
    with used(fleet) as board:
        before, boots = factory(board), state(board, "boots")
        (key,) = private_scalars(board)
        fleet.store.allow_again("dev")
        fleet.command("dev", "reset", START + 10_000, level=level)
        board.run(60)
        reply = fleet.documents("up/reply")[-1]
        assert reply["status"] == "ok"
        assert online(fleet) and "W reset: factory reset: " + level in board.console
        assert resets(fleet) == [level]
        report = reported(fleet)
        assert report["version"] == -1 and "name" not in report["config"]
        image = board.image()
        assert CANARY.encode() not in image and OTHER.encode() not in image
        assert factory(board) == before and state(board, "boots") == boots + 1
        assert state(board, "reset") == 0 and state(board, "button") == 0
        if level == "identity":
            (new,) = private_scalars(board)
            assert new != key and key not in image
            assert len(fleet.store.device("dev").certificates) == 2
        else:
            assert private_scalars(board) == {key}
            assert len(fleet.store.device("dev").certificates) == 1


def test_a_board_whose_hub_does_not_expect_it_waits_and_comes_once_it_is(
    fleet: VirtualFleet,
) -> None:
    with used(fleet) as board:
        fleet.command("dev", "reset", START + 10_000, level="identity")
        board.run(60)
        assert "enrol-used" in board.console and not online(fleet)
        fleet.store.allow_again("dev")
        board.run(900)
        assert online(fleet) and resets(fleet) == ["identity"]


def test_what_no_level_is_called_is_refused(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        for number, level in enumerate((None, "all", "", 1)):
            message = {"id": f"r{number}", "name": "reset", "args": {"level": level}}
            fleet.broker.publish(f"{BASE}dev/down/command", json.dumps(message).encode())
            board.resume(2)
            assert fleet.documents("up/reply")[-1]["code"] == "reset-level"
        assert board.lives == 1 and state(board, "reset") == 0


def test_the_same_message_twice_resets_once(fleet: VirtualFleet) -> None:
    with used(fleet) as board:
        lives = board.lives
        message = {"id": "once", "name": "reset", "args": {"level": "config"}}
        for _ in range(2):
            fleet.broker.publish(f"{BASE}dev/down/command", json.dumps(message).encode())
            board.run(60)
        assert board.lives == lives + 1 and resets(fleet) == ["config"]


def test_at_the_prompt(fleet: VirtualFleet) -> None:
    with used(fleet) as board:
        board.interrupt()
        board.resume(1)
        assert "No such level" in board.repl("import agent; agent.factory_reset('all')", 5)
        board.repl("agent.factory_reset('config')", 5)
        board.run(60)
        assert online(fleet) and resets(fleet) == ["config"]


def test_what_the_fleet_wants_comes_again(fleet: VirtualFleet) -> None:
    with used(fleet) as board:
        desire(fleet, 3, name="south")
        board.resume(10)
        fleet.command("dev", "reset", START + 10_000, level="config")
        board.run(60)
        assert reported(fleet)["version"] == 3 and reported(fleet)["config"]["name"] == "south"


def test_the_application_goes_and_the_factory_slot_runs(fleet: VirtualFleet) -> None:
    with used(fleet) as board:
        board.interrupt()
        board.resume(1)
        board.repl(
            "import os\n"
            "for path in ('/data', '/data/deep', '/mine'):\n"
            "    os.mkdir(path)\n"
            "for path in ('/data/deep/f', '/slots/b.pack', '/slots/a.new', '/mine/f'):\n"
            "    open(path, 'w').close()\n",
            5,
        )
        board.power_cycle()
        board.boot(BOOT_S)
        fleet.command("dev", "reset", START + 10_000, level="app")
        board.run(60)
        left = set(board.files())
        assert not [path for path in left if path.startswith(("/data", "/slots/a", "/slots/b"))]
        assert {"/mine/f", "/boot.py", "/main.py", "/slots/factory.pack"} <= left
        assert online(fleet)


def test_the_slot_that_runs_because_the_factorys_is_damaged_stays(fleet: VirtualFleet) -> None:
    with used(fleet) as board:
        board.interrupt()
        board.resume(1)
        board.repl(
            "import os\n"
            "os.rename('/slots/factory.pack', '/slots/b.pack')\n"
            "f = open('/data', 'w')\n"
            "f.close()\n",
            5,
        )
        order(board, "app")
        board.power_cycle()
        board.boot(60)
        assert online(fleet) and resets(fleet) == ["app"]
        assert "/slots/b.pack" in board.files() and "/data" not in board.files()


def hold(board: Board, seconds: float) -> None:
    """The button pressed while the board starts, for so long."""
    board.power_cycle()
    board.chip.pins[PIN] = 0
    board.at(seconds, lambda: board.chip.pins.__setitem__(PIN, 1))
    board.boot(60)


@pytest.mark.parametrize(("seconds", "done"), [(0, False), (3, False), (7, True)])
def test_the_button_has_to_be_held_as_long_as_it_is_set(
    fleet: VirtualFleet, seconds: float, done: bool
) -> None:
    with used(fleet) as board:
        hold(board, seconds)
        assert online(fleet) and resets(fleet) == (["config"] if done else [])
        assert ("factory reset by button" in board.console) is done
        if done:
            hold(board, 7)  # with the settings the button is gone
            assert resets(fleet) == ["config"]


def test_the_buttons_time_level_and_light_are_settings(fleet: VirtualFleet) -> None:
    given = {"button_pin": PIN, "button_hold_s": 12, "button_level": "app", "led_pin": LED}
    with fleet.board(fleet.provision(settings=given)) as board:
        board.boot(BOOT_S)
        seen: list[int] = []
        for tenth in range(100):
            board.at(0.1 * tenth, lambda: seen.append(board.chip.pins.get(LED, 0)))
        hold(board, 8)
        assert not resets(fleet) and {0, 1} == set(seen) and board.chip.pins[LED] == 0
        hold(board, 14)
        assert resets(fleet) == ["app"] and board.chip.pins[LED] == 0
        hold(board, 14)  # what the flashing tool gave is there again
        assert resets(fleet) == ["app", "app"]


@pytest.mark.parametrize("pin", [24, 48])
def test_a_pin_that_is_none_stops_nothing(fleet: VirtualFleet, pin: int) -> None:
    with fleet.board(fleet.provision(settings={"button_pin": pin, "led_pin": 34})) as board:
        board.boot(BOOT_S)
        board.power_cycle()
        board.boot(BOOT_S)
        assert "boot: button" in board.console and online(fleet)


@pytest.mark.parametrize("named", ["button_pin", "led_pin"])
def test_the_pins_of_the_flash_are_not_taken(fleet: VirtualFleet, named: str) -> None:
    given = {"button_pin": PIN, "led_pin": LED} | {named: 11}
    with fleet.board(fleet.provision(settings=given)) as board:
        board.boot(BOOT_S)
        hold(board, 7)
        assert "flash is connected there" in board.console and online(fleet)
        assert "reset cause" not in board.console and state(board, "button") == 0
        assert not resets(fleet) and state(board, "boots") == 2


def test_a_pin_that_stops_the_chip_ends_in_safe_mode_and_can_be_set_anew(
    fleet: VirtualFleet,
) -> None:
    """As on a chip whose pins the agent does not know: the button is left alone after crashes."""
    with fleet.board(fleet.provision()) as board:
        board.boot(3 * BOOT_S)
        nvs: Any = board.chip.modules()["esp32"].NVS("fl_state")
        nvs.set_i32("button", 1 + 6 | 5 << 6)
        nvs.commit()
        board.power_cycle()
        assert [life.reason for life in board.run(4 * BOOT_S)] == ["reset"] * 3 + ["time"]
        assert online(fleet) and "boot: safe mode" in board.console
        desire(fleet, 1, name="mended", button_pin=PIN)
        board.run(4 * BOOT_S)
        assert state(board, "button") & 63 == 1 + PIN
        board.power_cycle()
        board.boot(BOOT_S)
        assert online(fleet) and reported(fleet)["config"]["name"] == "mended"


def test_flash_that_takes_no_zero_leaves_a_board_that_runs_and_tries_again(
    fleet: VirtualFleet,
) -> None:
    with used(fleet) as board:
        order(board, "config")
        board.power_cycle()

        def refuse(kind: str, addr: int, data: bytes | None, number: int) -> Any:
            return SKIP if data is not None and not any(data) and len(data) >= 32 else None

        board.flash.hook = refuse
        board.boot(60)
        assert "not done: scrub-failed" in board.console and online(fleet)
        assert resets(fleet) == [] and state(board, "reset") == 1
        board.power_cycle()
        board.flash.hook = None
        board.boot(60)
        assert resets(fleet) == ["config"] and CANARY.encode() not in board.image()


def sweep(fleet: VirtualFleet, level: str, torn: int | bytes | None) -> int:
    """Cuts a board that carries out an order at every operation; how many cuts there were."""
    with used(fleet) as board:
        (key,) = private_scalars(board)
        wanted = factory(board)
        order(board, level)
        board.power_cycle()
        start = board.snapshot()
        first: int = board.flash.operations
        board.boot(lambda: state(board, "reset") <= 0)
        last: int = board.flash.operations
        for operation in range(first + 1, last + 3):
            board.restore(start)
            fleet.store.allow_again("dev")
            board.cut_at(operation, torn)
            board.boot(BOOT_S)
            board.flash.hook = None
            where = (operation - first, level, torn)
            board.boot(lambda: state(board, "reset") <= 0)
            # Now, before anything that comes later may have taken its place.
            assert (key in board.image()) == (level != "identity"), where
            board.resume(BOOT_S)
            assert online(fleet), (where, board.console[-600:])
            assert "name" not in reported(fleet)["config"], where
            assert state(board, "reset") == 0 and resets(fleet)[-1] == level, where
            assert factory(board) == wanted, where
            image = board.image()
            assert CANARY.encode() not in image and OTHER.encode() not in image, where
            assert (private_scalars(board) == {key}) == (level != "identity"), where
        return last - first


# What the shallower levels do is a part of the deepest.
CUTS: list[tuple[str, int | bytes | None]] = [
    ("identity", torn) for torn in (None, -1, 1, b"\x33\x0f\x80")
]
CUTS += [(level, torn) for level in ("config", "app") for torn in (None, b"\x33\x0f\x80")]


@pytest.mark.slow
@pytest.mark.parametrize(("level", "torn"), CUTS)
def test_a_cut_at_every_operation_ends_with_the_whole_reset(
    fleet: VirtualFleet, level: str, torn: int | bytes | None, record_property: Any
) -> None:
    cuts = sweep(fleet, level, torn)
    assert cuts > 20
    record_property("tried", cuts)


@pytest.mark.slow
def test_a_cut_before_the_order_is_written_changes_nothing(fleet: VirtualFleet) -> None:
    outcomes = set()
    with used(fleet) as board:
        message = {"id": "c", "name": "reset", "args": {"level": "config"}}
        for ahead in range(1, 14):
            board.power_cycle()
            board.boot(BOOT_S)
            lives = board.lives
            message["id"] = f"c{ahead}"
            board.cut_at(board.flash.operations + ahead)
            fleet.broker.publish(f"{BASE}dev/down/command", json.dumps(message).encode())
            board.run(20)
            board.flash.hook = None
            board.run(60)
            assert online(fleet) and board.lives > lives
            outcomes.add(reported(fleet)["config"].get("name", ""))
            desire(fleet, 100 + ahead, name="north")
            board.run(20)
            forget_desired(fleet)
    assert outcomes == {"", "north"}


def test_files_of_an_application_that_are_too_many_for_the_heap_are_removed(
    fleet: VirtualFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Volume.listdir

    def as_on_a_board(volume: Volume, name: Any = "") -> list[str]:
        names = listed(volume, name)
        if len(names) > 500:
            raise MemoryError("memory allocation failed, allocating 32768 bytes")
        return names

    monkeypatch.setattr(Volume, "listdir", as_on_a_board)
    many = {
        f"data/log/{n:04d}/x" if n % 150 == 0 else f"data/log/{n:04d}": b"x" for n in range(600)
    }
    with fleet.board(files=many) as board:
        board.boot(BOOT_S)
        order(board, "app")
        board.power_cycle()
        board.run(100)
        assert not any(name.startswith("data/") for name in board.files()), board.console
        assert state(board, "reset") == 0 and online(fleet)
