# SPDX-License-Identifier: MIT
"""Settings on a whole board: changed, refused, tried and undone, whatever is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleetling import device
from fleetling.demo.virtual import BASE, VirtualFleet
from fleetling.simboard.inprocess import Board
from fleetling.simboard.inprocess.broker import Message

BOOT_S = 20
GOOD = ["other", "another password"]
BAD = ["works", "wrong password"]


@pytest.fixture
def fleet() -> VirtualFleet:
    made = VirtualFleet()
    made.air.add(*GOOD)
    return made


def desire(fleet: VirtualFleet, version: int, epoch: str = "e", **config: Any) -> None:
    wish(fleet, version, config, epoch)


def wish(fleet: VirtualFleet, version: int, config: dict[str, Any], epoch: str = "e") -> None:
    document = {"version": version, "epoch": epoch, "config": config}
    fleet.broker.publish(f"{BASE}dev/down/desired", json.dumps(document).encode(), retain=True)


def reported(fleet: VirtualFleet) -> dict[str, Any]:
    return fleet.documents("up/reported")[-1]


def test_a_change_is_in_force_at_once_reported_and_survives(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        assert reported(fleet)["version"] == -1
        desire(fleet, 1, heartbeat_s=5, name="north wall")
        board.resume(30)
        assert reported(fleet)["version"] == 1 and reported(fleet)["keys"] == {}
        assert reported(fleet)["config"]["name"] == "north wall"
        assert len(fleet.documents("up/health")) >= 4
        board.power_cycle()
        board.boot(BOOT_S)
        assert reported(fleet)["config"]["heartbeat_s"] == 5


def test_what_is_invalid_is_refused_by_key_and_the_rest_applies(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, heartbeat_s=-1, nope=7, log_level="X", name="n" * 33, location="here")
        board.resume(5)
        assert reported(fleet)["keys"] == {
            "heartbeat_s": "setting-range",
            "nope": "setting-unknown",
            "log_level": "setting-choice",
            "name": "setting-length",
        }
        assert reported(fleet)["config"]["location"] == "here"


def test_old_versions_are_ignored_unless_the_epoch_is_new(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 5, name="five")
        board.resume(5)
        desire(fleet, 4, name="four")
        board.resume(5)
        assert reported(fleet)["config"]["name"] == "five"
        desire(fleet, 1, "new", name="one")
        board.resume(5)
        assert reported(fleet)["config"]["name"] == "one"


def test_a_good_network_is_confirmed_by_the_broker(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, wifi=[GOOD], trial_s=120)
        board.resume(60)
        assert "joined other" in board.console and "confirmed" in board.console
        assert reported(fleet)["trial"] is False and reported(fleet)["version"] == 1
        board.power_cycle()
        fleet.air.points[0]["up"] = False
        board.boot(BOOT_S)
        assert board.console.count("joined other") == 2


def test_a_wrong_password_is_tried_and_undone_by_itself(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, wifi=[BAD], trial_s=60)
        board.resume(400)
        assert "wifi-wrong-password" in board.console and "undone" in board.console
        assert reported(fleet)["reverted"] is True and reported(fleet)["trial"] is False
        assert fleet.documents("dev/online")[-1]["online"] is True
        board.resume(600)  # the same document is still there, and is not tried again
        assert board.console.count("on trial") == 1 and board.lives == 1


def test_a_broker_that_is_not_there_is_tried_and_undone(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, broker="nowhere.lan:8883", trial_s=60)
        board.resume(600)
        assert reported(fleet)["reverted"] is True
        assert fleet.documents("dev/online")[-1]["online"] is True


def test_any_reset_ends_a_trial(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, wifi=[BAD], trial_s=3600)
        board.resume(30)
        assert "on trial" in board.console
        board.power_cycle()
        board.boot(BOOT_S)
        assert reported(fleet)["reverted"] is True
        assert fleet.documents("dev/online")[-1]["online"] is True


def test_a_canary_in_a_tried_password_is_nowhere(fleet: VirtualFleet) -> None:
    canary = "canary-5e1f0"
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, wifi=[["works", canary]], trial_s=60)
        board.resume(400)
        said = b"".join(m.payload for m in fleet.seen if "/up/" in m.topic)
        assert canary.encode() not in said + board.console.encode() + board.image()


def test_what_a_change_loads_is_released(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        before = set(board.sandbox.importer.modules)
        desire(fleet, 1, name="x")
        board.resume(10)
        assert set(board.sandbox.importer.modules) == before


def settled(fleet: VirtualFleet, board: Board) -> tuple[Any, Any]:
    config = reported(fleet)["config"]
    return config["name"], config["location"]


@pytest.mark.slow
@pytest.mark.parametrize("torn", [None, -1, 1])
def test_a_cut_at_every_operation_of_a_change_is_old_or_new(
    fleet: VirtualFleet, torn: int | None, record_property: Any
) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, name="old", location="old")
        board.resume(5)
        board.power_cycle()
        before = board.snapshot()
        desire(fleet, 2, name="new", location="new", wifi=[GOOD], trial_s=120)
        first = board.flash.operations
        board.boot(60)
        last = board.flash.operations
        for operation in range(first + 1, last + 1):
            board.restore(before)
            board.cut_at(operation, torn)
            board.boot(60)
            board.flash.hook = None
            board.boot(60)
            pair = settled(fleet, board)
            assert pair in (("old", "old"), ("new", "new")), (operation, pair)
            assert fleet.documents("dev/online")[-1]["online"] is True, operation
        assert last - first > 10
        record_property("tried", last - first)


SCHEMA = {
    "rate": {"type": "float", "default": 1.0, "least": 0.1, "greatest": 10},
    "name": {"type": "str", "default": "own", "longest": 8},
    "token": {"type": "str", "default": "", "secret": True},
    "bad": {"type": "int", "default": "no int"},
}


def test_an_application_declares_its_own_and_reads_them(fleet: VirtualFleet) -> None:
    app = {"settings.json": json.dumps(SCHEMA).encode()}
    with fleet.board(app=app) as board:
        board.boot(BOOT_S)
        assert "settings-file bad" in board.console
        published = fleet.documents("up/schema")[-1]
        assert published["more"] == 0 and published["settings"]["app.rate"]["greatest"] == 10
        assert published["settings"]["app.token"]["default"] is None
        assert published["settings"]["heartbeat_s"]["type"] == "float"
        assert not [name for name in reported(fleet)["config"] if name.startswith("app.")]
        config = {"app.rate": 2.5, "app.token": "canary-77", "app.name": "too long a name"}
        wish(fleet, 1, config)
        board.resume(5)
        report = reported(fleet)
        assert report["keys"] == {"app.name": "setting-length"}
        assert report["config"]["app.rate"] == 2.5 and report["config"]["app.token"] is None
        assert "app.token" in report["secret"]
        assert "canary-77" not in board.console + str(fleet.documents("up/reported"))
        board.interrupt()
        board.resume(1)
        shown = board.repl(
            "import agent\n"
            "c = agent.config\n"
            "print(c['rate'], c['token'], c['name'], c['heartbeat_s'])\n"
            "c.on_change(('rate',), lambda: print('rate is', c['rate']))\n"
            "agent._runtime.settings.use({'app.rate': 3})\n",
            5,
        )
        assert "2.5 canary-77 own 60" in shown and "rate is 3" in shown


@pytest.mark.parametrize("data", [b"[1]", b"{", b"\xff", b""])
def test_settings_that_make_no_sense_stop_nothing(fleet: VirtualFleet, data: bytes) -> None:
    with fleet.board(app={"settings.json": data}) as board:
        board.boot(BOOT_S)
        assert fleet.documents("up/schema")[-1]["settings"]["heartbeat_s"]
        assert ("settings-file" in board.console) is bool(data)


def test_what_is_said_fits_in_a_message_whatever_was_asked(fleet: VirtualFleet) -> None:
    many = {
        f"a_setting_with_long_{n:02d}": {
            "type": "str",
            "default": "d" * 60,
            "choices": ["d" * 60, "e" * 60],
        }
        for n in range(32)
    }
    with fleet.board(app={"settings.json": json.dumps(many).encode()}) as board:
        board.boot(BOOT_S)
        said = [m.payload for m in fleet.seen if m.topic.endswith("up/schema")]
        assert len(said[-1]) <= 4096 and json.loads(said[-1])["more"] > 0
        assert "window" in json.loads(said[-1])["settings"]
        wish(fleet, 1, {f"x{n}": 1 for n in range(300)} | {"y" * 200: 1})
        board.resume(5)
        said = [m.payload for m in fleet.seen if m.topic.endswith("up/reported")]
        report = json.loads(said[-1])
        assert len(said[-1]) <= 4096 and report["version"] == 1
        assert report["keys"]["x0"] == "setting-unknown"
        assert report["more"] == 301 - len(report["keys"])
        board.resume(60)
        assert board.lives == 1 and fleet.documents("dev/online")[-1]["online"] is True


def test_a_document_that_is_refused_whole_is_answered(fleet: VirtualFleet) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        desire(fleet, 1, name="x")
        board.resume(5)
        wish(fleet, 2, {"name": "y", "groups": ["g" * 60] * 10})
        board.resume(5)
        report = reported(fleet)
        assert report["refused"] == {"code": "settings-size", "version": 2, "epoch": "e"}
        assert report["version"] == 1 and report["config"]["name"] == "x"
        fleet.broker.publish(f"{BASE}dev/down/desired", b"{", retain=True)
        board.resume(5)
        assert reported(fleet)["refused"]["code"] == "settings-document"
        desire(fleet, 3, name="z")
        board.resume(5)
        assert "refused" not in reported(fleet) and reported(fleet)["config"]["name"] == "z"


def test_settings_of_another_release_are_kept_for_its_return(fleet: VirtualFleet) -> None:
    app = {"settings.json": json.dumps(SCHEMA).encode()}
    other = device.pack(device.slot_files("1.1.0", {}, compiled=False))
    with fleet.board(app=app, files={"other": other}) as board:
        board.boot(BOOT_S)
        wish(fleet, 1, {"name": "x", "app.rate": 2.5})
        board.resume(5)
        board.interrupt()
        board.resume(1)
        # Another slot with another schema, as an update would bring it, and back.
        board.repl(
            "import os\n"
            "os.rename('/slots/factory.pack', '/old')\n"
            "os.rename('/other', '/slots/factory.pack')\n",
            5,
        )
        board.power_cycle()
        board.boot(BOOT_S)
        assert reported(fleet)["keys"] == {"app.rate": "setting-unknown"}
        wish(fleet, 2, {"name": "y", "app.rate": 2.5})
        board.resume(5)
        board.interrupt()
        board.resume(1)
        board.repl(
            "import os\nos.rename('/old', '/slots/factory.pack')\n",
            5,
        )
        board.power_cycle()
        board.boot(BOOT_S)
        assert reported(fleet)["config"]["app.rate"] == 2.5 and not reported(fleet)["keys"]


RISKY = {"mode": {"type": "str", "default": "a", "risky": True}}


def test_a_risky_setting_of_an_application_is_confirmed_by_a_connection_of_its_own(
    fleet: VirtualFleet,
) -> None:
    with fleet.board(app={"settings.json": json.dumps(RISKY).encode()}) as board:
        board.boot(BOOT_S)
        wish(fleet, 1, {"app.mode": "b", "trial_s": 60})
        board.resume(30)
        said = reported(fleet)
        assert not said["trial"] and said["config"]["app.mode"] == "b", board.console
        board.power_cycle()
        board.boot(100)
        said = reported(fleet)
        assert not said["reverted"] and said["config"]["app.mode"] == "b"


def test_one_that_cuts_the_board_off_is_undone_and_that_is_said(fleet: VirtualFleet) -> None:
    with fleet.board(app={"settings.json": json.dumps(RISKY).encode()}) as board:
        board.boot(BOOT_S)

        def cut(message: Message) -> None:
            if message.topic.endswith("up/reported"):
                fleet.host.black_hole = True

        cuts = fleet.broker.listeners
        cuts.append(cut)
        wish(fleet, 1, {"app.mode": "b", "trial_s": 60})
        board.resume(100)
        cuts.pop()
        fleet.host.black_hole = False
        board.resume(100)
        said = reported(fleet)
        assert said["reverted"] and not said["trial"] and "app.mode" not in said["config"], (
            board.console + str(said)
        )


@pytest.mark.parametrize(
    "version",
    ["1e999", '"' + "v" * 3900 + '"', "9" * 3900, "[[[1]]]", '{"a":"' + "\\u0001" * 600 + '"}'],
)
def test_that_a_document_is_refused_is_said_whatever_it_calls_itself(
    fleet: VirtualFleet, version: str
) -> None:
    with fleet.board() as board:
        board.boot(BOOT_S)
        payload = f'{{"version":{version},"epoch":"e","config":{{}}}}'.encode()
        fleet.broker.publish(f"{BASE}dev/down/desired", payload)
        board.resume(5)
        (said,) = [m.payload for m in fleet.seen if b'"refused"' in m.payload]
        refused = json.loads(said, parse_constant=pytest.fail)["refused"]
        assert refused == {"code": "settings-document", "version": None, "epoch": "e"}
