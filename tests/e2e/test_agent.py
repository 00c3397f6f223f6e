# SPDX-License-Identifier: MIT
"""The agent on the real interpreter, against the real broker: the main job, and what disturbs
it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetling.broker.process import find_mosquitto
from fleetling.demo.fleet import HOST, WIFI, TemporaryFleet
from fleetling.fleet.operator import Operator
from fleetling.image.filesystem import read_filesystem
from fleetling.pki import make_authority
from fleetling.simboard.process.board import AccessPoint, ProcessBoard

BASE = "fleetling/v1/"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[TemporaryFleet]:
    made = TemporaryFleet(tmp_path, broker="mosquitto")
    with made.broker:
        yield made


class Run:
    """A board and what its console says."""

    def __init__(self, fleet: TemporaryFleet, name: str = "dev", **changes: Any) -> None:
        self.lines: list[str] = []
        provision = fleet.provision(name, **changes)
        self.board: ProcessBoard = fleet.board(provision, on_line=self.lines.append)

    def __enter__(self) -> Run:
        self.board.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.board.stop()

    def says(self, text: str, timeout_s: float = 20) -> bool:
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if any(text in line for line in self.lines):
                return True
            time.sleep(0.05)
        return False


def online(operator: Operator, boot: int = 1, timeout_s: float = 20) -> bool:
    def holds(state: object) -> bool:
        device = operator.state.devices.get("dev")
        return device is not None and device.online and (device.boot or 0) >= boot

    return operator.wait(holds, timeout_s)


def test_the_main_job(fleet: TemporaryFleet) -> None:
    with fleet.operator() as operator, Run(fleet) as run:
        assert online(operator)
        device = operator.state.devices["dev"]
        assert operator.wait(lambda _: device.heartbeats >= 2, 15)
        assert device.birth["build"] == "ESP32_GENERIC-OTA" and device.birth["slot"] == "factory"
        assert device.birth["id"] == "dev" and device.birth["partition"] == "ota_0"
        assert 0 < device.health["m"]["heap"][0] < 2 * 164_000
        assert operator.command("dev", "ping")["status"] == "ok"
        assert operator.command("dev", "info")["result"]["commands"] == [
            "info",
            "ping",
            "previous",
            "reboot",
            "reset",
        ]
        assert operator.command("dev", "dance")["code"] == "command-unknown"
        assert operator.command("dev", "reboot")["status"] == "ok"
        assert online(operator, boot=2)
        run.board.power_cut()
        assert operator.wait(lambda _: not device.online, 15)
        run.board.start()
        assert online(operator, boot=3)
        assert operator.wait(lambda _: device.last_event == 3, 10)
        causes = [(event["cause"], event["why"]) for event in device.events]
        assert causes == [("power-on", ""), ("hard", "command"), ("power-on", "")]
        assert device.missed_events == 0


def other_ca(fleet: TemporaryFleet) -> dict[str, Any]:
    return {"ca": make_authority("another CA").identity.certificate_der}


def plain_port(fleet: TemporaryFleet) -> dict[str, Any]:
    return {"broker": f"{HOST}:1"}


def stranger(fleet: TemporaryFleet) -> dict[str, Any]:
    return {"identity": make_authority("another CA").client("dev")}


def other_key(fleet: TemporaryFleet) -> dict[str, Any]:
    mine, other = fleet.authority.client("dev"), fleet.authority.client("dev")
    return {"identity": type(mine)(mine.certificate, other.key)}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (other_ca, "tls-ca"),
        (plain_port, "tcp-failed"),
        (stranger, "tls-"),
        (other_key, "tls-"),
    ],
)
def test_each_way_to_fail_has_its_code(
    fleet: TemporaryFleet,
    change: Callable[[TemporaryFleet], dict[str, Any]],
    code: str,
) -> None:
    with Run(fleet, **change(fleet)) as run:
        assert run.says(f"link: {code}"), run.lines
        assert run.board.powered


def test_a_certificate_for_another_name_or_time_is_refused(tmp_path: Path) -> None:
    for names, days, code in ((["broker.example"], 2, "tls-name"), ([HOST], 0, "tls-expired")):
        folder = tmp_path / code
        folder.mkdir()
        fleet = TemporaryFleet(folder, broker="mosquitto")
        fleet.write("broker", fleet.authority.server(names, days))
        time.sleep(1.1 if days == 0 else 0)
        with fleet.broker, Run(fleet) as run:
            assert run.says(f"link: {code}"), run.lines


def test_a_server_that_speaks_no_tls_is_refused(tmp_path: Path) -> None:
    fleet = TemporaryFleet(tmp_path, broker="mosquitto")
    program = find_mosquitto()
    assert program is not None
    plain = subprocess.Popen(
        [program, "-p", str(fleet.files.port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        with Run(fleet) as run:
            assert run.says("link: tls-closed"), run.lines
    finally:
        plain.terminate()
        plain.wait()


def test_a_wrong_password_and_an_absent_network_have_their_codes(fleet: TemporaryFleet) -> None:
    with fleet.operator() as operator, Run(fleet) as run:
        assert online(operator)
        run.board.set_air([AccessPoint(WIFI.ssid, "another password")])
        assert run.says("wifi-wrong-password", 90), run.lines
        run.board.set_air([WIFI])
        assert run.says("wifi: joined", 30)


def test_bad_messages_leave_the_board_up(fleet: TemporaryFleet) -> None:
    with fleet.operator() as operator, Run(fleet) as run:
        assert online(operator)
        topic = f"{BASE}dev/down/command"
        for payload in (b"", b"\xff", b"[" * 4000, b"{}", b'{"id":1}', bytes(4097), bytes(60000)):
            operator.publish(topic, payload)
        for number in range(300):
            operator.publish(topic, json.dumps({"id": f"f{number}", "name": "ping"}).encode())
        operator.publish(f"{BASE}dev/down/nothing/of/ours", b"x")
        assert run.says("command-malformed") and run.says("mqtt-too-long 4097")
        time.sleep(2)
        assert operator.command("dev", "ping")["status"] == "ok"
        device = operator.state.devices["dev"]
        assert device.boot == 1 and operator.wait(lambda _: device.heartbeats >= 2, 10)
        assert device.health["link"]["dropped"] >= 2


def test_nothing_of_the_boards_secrets_is_on_its_console(fleet: TemporaryFleet) -> None:
    with fleet.operator() as operator, Run(fleet) as run:
        assert online(operator)
        shown = "\n".join(run.lines) + json.dumps(operator.state.devices["dev"].birth)
    assert WIFI.password not in shown


def test_the_agents_files_are_the_same_bytes_on_the_board(fleet: TemporaryFleet) -> None:
    with fleet.operator() as operator, Run(fleet) as run:
        assert online(operator)
    flash = (run.board.folder / "flash.bin").read_bytes()
    files = read_filesystem(flash[0x310000:0x400000])
    for name in ("boot.py", "main.py"):
        assert files[f"/{name}"] == (Path(__file__).parents[2] / name).read_bytes()
