# SPDX-License-Identifier: MIT
"""The whole agent on the CPython board, in virtual time: the main job, and what disturbs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from held import held

from fleetling import device
from fleetling.demo.virtual import BASE, START, VirtualFleet
from fleetling.image.flash import build_flash, first_files
from fleetling.image.nvs import build_nvs
from fleetling.simboard.chip import stock
from fleetling.simboard.inprocess import Board

ROOT = Path(__file__).parents[2]
BOOT_S = 20
FIRST_LIFE_S = 30


@pytest.fixture
def fleet() -> VirtualFleet:
    return VirtualFleet()


def sequence(fleet: VirtualFleet) -> list[int]:
    return [event["seq"] for event in fleet.documents("up/event")]


def test_the_main_job(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        assert board.boot(BOOT_S).reason == "time"
        assert fleet.documents("/online") == [{"online": True, "boot": 1}]
        (birth,) = fleet.documents("up/birth")
        assert (
            birth["id"] == "dev" and birth["slot"] == "factory" and birth["partition"] == "ota_0"
        )
        board.resume(150)
        assert len(fleet.documents("up/health")) == 3  # the first comes soon
        fleet.command("dev", "ping", expires=START + 300)
        board.resume(2)
        assert fleet.documents("up/reply")[-1]["status"] == "ok"
        fleet.command("dev", "reboot", expires=START + 300)
        outcome = board.resume(30)
        assert outcome.reason == "reset"
        assert fleet.documents("/online")[-1] == {"online": False}  # it said good-bye
        board.boot(BOOT_S)
        board.power_cycle()
        board.boot(BOOT_S)
        causes = [(e["cause"], e["why"]) for e in fleet.documents("up/event")]
        assert causes == [("power-on", ""), ("hard", "command"), ("power-on", "")]
        assert sequence(fleet) == [1, 2, 3]


def test_the_board_runs_the_very_files_of_this_repository(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        files = board.files()
        loaded = board.sandbox.importer.modules
    slot = device.unpack(files["/slots/factory.pack"])
    assert "agent.link.session" in loaded
    for name, module in loaded.items():
        if name != "agent.version":  # the build's own
            path = str(module.__file__)
            name = path.removeprefix("/slot-factory/")
            assert slot[name] == (ROOT / name).read_bytes(), path
    for name in ("boot.py", "main.py"):
        assert files[f"/{name}"] == (ROOT / name).read_bytes()


def test_what_runs_once_is_released(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        loaded = set(board.sandbox.importer.modules)
    for name in (
        "wiring",
        "identity.stored",
        "storage.nvsmap",
        "repl",
        "link.dial",
        "link.tls",
        "birth",
    ):
        assert f"agent.{name}" not in loaded
    loaded -= {"agent.update", "agent.update.wing"}
    assert not [name for name in loaded if name.startswith(("agent.crypto.", "agent.update."))]


def test_what_was_released_is_held_by_nobody(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        board.resume(150)
        fleet.command("dev", "ping", expires=START + 300)
        assert not held(board)
        fleet.broker.publish(
            f"{BASE}dev/down/desired", b'{"epoch":"e","version":1,"config":{"ntp":"x.lan"}}'
        )
        board.resume(30)
        assert fleet.documents("up/reported")[-1]["version"] == 1
        assert not held(board)


def test_what_is_resident_fits_its_budget(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        loaded = {name for name in board.sandbox.importer.modules if name.startswith("agent")}
    resident = 0
    for path, data in device.slot_files("1").items():
        module = path.removesuffix(".mpy").removesuffix("/__init__").replace("/", ".")
        if module in loaded:
            loaded.remove(module)
            resident += len(data)
    assert not loaded and resident <= 24 * 1024, resident  # docs/design.md, 1


def test_the_summary_at_the_prompt(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        board.interrupt()
        board.resume(1)
        assert "Stopped by Ctrl-C" in board.console
        shown = board.repl("import agent; agent.status()", seconds=5)
        assert "device    dev" in shown and "broker.lan:8883" in shown and "I link:" in shown
        board.repl("agent.dev(True)", seconds=5)
        board.power_cycle()
        board.boot(BOOT_S)
        assert "development mode: no watchdog" in board.console
        board.interrupt()
        outcome = board.resume(300)
        assert outcome.reason == "time"  # no watchdog bites


def test_at_the_prompt_the_watchdog_bites_unless_in_development_mode(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        board.interrupt()
        assert board.resume(120).reason == "wdt"


class Faults:
    """Ways to disturb a board that is online, each with the code that the board must give."""

    def wifi_gone(self, fleet: VirtualFleet, board: Board) -> str:
        fleet.air.points[0]["up"] = False
        return "wifi-lost"

    def refused(self, fleet: VirtualFleet, board: Board) -> str:
        fleet.host.refuse = True
        fleet.broker.restart()
        return "tls-closed 104"  # lwIP tells a refused connection as one that was reset

    def silent(self, fleet: VirtualFleet, board: Board) -> str:
        fleet.host.black_hole = True
        return "mqtt-timeout"

    def nameless(self, fleet: VirtualFleet, board: Board) -> str:
        fleet.host.unknown = fleet.door.unknown = True
        fleet.broker.restart()
        return "tcp-failed"

    def repair(self, fleet: VirtualFleet) -> None:
        fleet.air.points[0]["up"] = True
        fleet.host.refuse = fleet.host.black_hole = False
        fleet.host.unknown = fleet.door.unknown = False


@pytest.mark.parametrize("fault", ["wifi_gone", "refused", "silent", "nameless"])
def test_it_comes_back_from_each_fault(fleet: VirtualFleet, fault: str) -> None:
    faults = Faults()
    with fleet.board() as board:
        board.boot(FIRST_LIFE_S)
        code = getattr(faults, fault)(fleet, board)
        assert board.resume(600).reason == "time"
        assert code in board.console
        births = len(fleet.documents("up/birth"))
        faults.repair(fleet)
        assert board.resume(420).reason == "time"  # the longest pause and the joining
        assert len(fleet.documents("up/birth")) > births
        assert board.lives == 1


def test_two_hundred_forced_reconnects_lose_no_event(fleet: VirtualFleet) -> None:
    settings: dict[str, object] = {"reconnect_s": 1}
    with fleet.board(fleet.provision(settings=settings)) as board:
        board.boot(BOOT_S)
        runtime: Any = board.sandbox.importer.modules["agent"]._runtime

        async def report(task: Any) -> None:
            """An event now and then, whether the board is on the broker or not."""
            for number in range(200):
                await task.sleep(2.9)
                runtime.events.add("test", number=number)

        runtime.supervisor.task("report", report)
        for number in range(200):
            if number % 10 == 9:
                fleet.broker.restart()
            else:
                fleet.broker.drop("dev")
            assert board.resume(3).reason == "time"
        assert board.resume(10).reason == "time"
        assert board.lives == 1
    assert sorted(set(sequence(fleet))) == list(range(1, 202))
    assert len(fleet.documents("up/birth")) == 201


def test_a_board_that_was_never_provisioned_says_so_and_stays_up(fleet: VirtualFleet) -> None:
    image = build_flash(
        firmware=stock.build_app(), nvs=b"\xff" * 0x4000, files=first_files("1", compiled=False)
    )
    with Board(image, net=fleet.net, air=fleet.air) as board:
        assert board.boot(200).reason == "time"
        assert "never provisioned" in board.console and board.lives == 1


@pytest.mark.parametrize("spoilt", ["truncated", "random", "one bit"])
def test_a_spoilt_nvs_leaves_the_board_up(fleet: VirtualFleet, spoilt: str) -> None:
    board = fleet.board()
    flash = board.flash.store
    if spoilt == "truncated":
        flash.write(0x9400, b"\xff" * 0x3C00)
    elif spoilt == "random":
        flash.write(0x9000, bytes(range(256)) * 0x40)
    else:
        flash.write(0x9000 + 0x100, bytes((0,)))
    with board:
        assert board.boot(200).reason == "time"
        assert board.lives == 1 and "fleetling" in board.console


def test_nvs_wiped_by_the_firmware_does_not_lose_the_board(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        board.power_cycle()
        board.flash.store.write(0x9000, b"\xff" * 0x4000)
        board.boot(BOOT_S)
        assert "NVS is empty" in board.console
        assert fleet.documents("/online")[-1] == {"online": True, "boot": 1}


def test_a_power_cut_at_every_operation_of_the_first_boot(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        first = board.flash.operations
        fresh = board.snapshot()
        board.boot(BOOT_S)
        last = board.flash.operations
        cuts = 0
        for operation in range(first + 1, last + 1):
            for torn in (None, -1, 1):
                board.restore(fresh)
                fleet.seen.clear()
                board.cut_at(operation, torn)
                outcome = board.boot(BOOT_S)
                assert outcome.reason in ("power-cut", "time"), (operation, torn, outcome)
                cuts += outcome.reason == "power-cut"
                board.flash.hook = None
                board.boot(BOOT_S)
                online = fleet.documents("/online")
                assert online and online[-1]["online"], (operation, torn, board.console[-500:])
                numbers = sequence(fleet)
                assert numbers == sorted(numbers), (operation, torn)
    assert cuts > 20


def test_a_damaged_slot_falls_back_and_no_slot_leaves_a_prompt(fleet: VirtualFleet) -> None:
    files = first_files("1.0.0", compiled=False)
    good = files["slots/factory.pack"]
    spoilt = [
        good[:-1],
        good + b"#",
        good[:40] + b"#" + good[41:],
        good[:-2000] + b"#" + good[-1999:],
        b"",
        good[:12],
    ]
    nvs = build_nvs(fleet.provision())
    for number, pack in enumerate(spoilt):
        damaged = {**files, "slots/factory.pack": pack, "slots/b.pack": good}
        image = build_flash(firmware=stock.build_app(), nvs=nvs, files=damaged)
        with Board(image, unix=START) as board:
            board.boot(BOOT_S)
            assert "factory" in board.console.split("\n", 1)[0], number
            assert board.sandbox.importer.path[0] == "/slot-b", number
    del damaged["slots/b.pack"]
    image = build_flash(firmware=stock.build_app(), nvs=nvs, files=damaged)
    with Board(image, unix=START) as board:
        board.boot(BOOT_S)
        assert "boot: no slot is good" in board.console


def test_a_canary_password_is_nowhere_but_in_its_store(fleet: VirtualFleet) -> None:
    canary = "canary-7f3a9"
    fleet.air.add("other", canary)
    fleet.air.points[0]["up"] = False
    wifi = [("works", "wrong"), ("other", canary)]
    with fleet.board(fleet.provision(wifi=wifi)) as board:
        board.boot(60)
        board.interrupt()
        board.resume(1)
        shown = board.repl("import agent; agent.status()", seconds=5)
        assert fleet.documents("up/birth")
        said = b"".join(message.payload for message in fleet.seen)
        assert canary.encode() not in said and canary not in board.console + shown


def test_topics_are_those_of_the_board(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        assert {message.topic for message in fleet.seen} == {
            f"{BASE}dev/{topic}"
            for topic in (
                "online",
                "up/birth",
                "up/update",
                "up/schema",
                "up/reported",
                "up/event",
                "up/health",
            )
        }
        assert not fleet.broker.denied


@pytest.mark.parametrize(
    ("wifi", "code"),
    [(("works", "wrong"), "wifi-wrong-password"), (("nowhere", ""), "wifi-no-ap")],
)
def test_why_a_network_cannot_be_joined_is_told(
    fleet: VirtualFleet, wifi: tuple[str, str], code: str
) -> None:
    with fleet.board(fleet.provision(wifi=[wifi])) as board:
        assert board.boot(60).reason == "time"
        assert f"{wifi[0]}: {code}" in board.console


def test_the_next_network_is_joined_when_the_first_is_not_there(fleet: VirtualFleet) -> None:
    with fleet.board(fleet.provision(wifi=[("nowhere", ""), ("works", "open sesame")])) as board:
        board.boot(60)
        assert fleet.documents("/online") == [{"online": True, "boot": 1}]


def test_a_network_that_leads_nowhere_gives_way_to_the_next(fleet: VirtualFleet) -> None:
    fleet.air.add("dead end", "")
    wifi = [("dead end", ""), ("nowhere", ""), ("works", "open sesame")]
    with fleet.board(fleet.provision(wifi=wifi)) as board:
        fleet.host.black_hole = True
        board.boot(1)
        deadline = board.now + 1200
        while board.console.count("joined works") < 1:
            assert board.now < deadline, board.console
            board.resume(1)
        fleet.host.black_hole = False
        board.resume(400)
        assert fleet.documents("/online") == [{"online": True, "boot": 1}]
        # Where that one leads nowhere either, the first has its turn again.
        fleet.host.black_hole = True
        joined = board.console.count("joined dead end")
        board.resume(3600)
        assert board.console.count("joined dead end") > joined
        assert board.lives == 1


def test_the_only_network_is_not_left_because_the_broker_is_away(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        fleet.host.black_hole = True
        board.resume(3600)
        assert board.console.count("wifi: joined") == 1


@pytest.mark.parametrize("number", ['"' * 48, "ü" * 48, "\x01" * 48])
def test_a_command_to_reboot_that_is_retained_is_carried_out_once_at_most(
    fleet: VirtualFleet, number: str
) -> None:
    message = {"id": number, "name": "reboot"}
    with fleet.board() as board:
        board.boot(BOOT_S)
        payload = json.dumps(message, ensure_ascii=False).encode()
        fleet.broker.publish(f"{BASE}dev/down/command", payload, retain=True)
        board.run(200)
        assert board.lives <= 2, board.console
