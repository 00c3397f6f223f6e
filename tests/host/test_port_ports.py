# SPDX-License-Identifier: MIT
"""Which port is chosen, from what is named and what is plugged in."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from click.testing import CliRunner
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from fleetling.cli import options
from fleetling.cli import ports as command
from fleetling.errors import FleetlingError
from fleetling.port import ports

BRIDGE = ("/dev/ttyUSB0", 0x10C4, 0xEA60)
NATIVE = ("/dev/ttyACM3", 0x303A, 0x1001)
MODEM = ("/dev/ttyACM0", 0x12D1, 0x1001)
PLAIN = ("/dev/ttyS0", None, None)


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ports.VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def plug(*wanted: tuple[str, int | None, int | None]) -> None:
        found = []
        for device, vid, pid in wanted:
            info = ListPortInfo(device)
            info.vid, info.pid = vid, pid
            found.append(info)
        monkeypatch.setattr(list_ports, "comports", lambda: found)

    return plug


def test_the_only_likely_port_is_taken(plugged: Any) -> None:
    plugged(PLAIN, MODEM, BRIDGE)
    assert ports.choose(None) == "/dev/ttyUSB0" and ports.choose("") == "/dev/ttyUSB0"


def test_what_is_named_comes_first(plugged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(BRIDGE)
    monkeypatch.setenv("ESPTOOL_PORT", "/dev/esptool")
    assert ports.choose(None) == "/dev/esptool"
    monkeypatch.setenv("FLEETLING_PORT", "/dev/fleetling")
    assert ports.choose(None) == "/dev/fleetling"
    assert ports.choose("/dev/given") == "/dev/given"
    monkeypatch.setenv("FLEETLING_PORT", "")
    assert ports.choose(None) == "/dev/esptool"


@pytest.mark.parametrize("url", ["rfc2217://bench:4000?ign_set_control", "socket://bench:4000"])
def test_a_url_is_taken_as_it_is(plugged: Any, url: str) -> None:
    plugged()
    assert ports.choose(url) == url and ports.is_url(url)


def test_several_are_for_a_person_to_choose_from(plugged: Any) -> None:
    plugged(BRIDGE, PLAIN, NATIVE)
    with pytest.raises(FleetlingError, match="/dev/ttyACM3, /dev/ttyUSB0") as told:
        ports.choose(None)
    assert "-p" in told.value.hint
    offered: list[list[ports.Port]] = []

    def pick(likely: list[ports.Port]) -> str:
        offered.append(likely)
        return likely[1].device

    assert ports.choose(None, pick) == "/dev/ttyUSB0"
    assert [port.device for port in offered[0]] == ["/dev/ttyACM3", "/dev/ttyUSB0"]


def test_nobody_is_asked_without_a_terminal(plugged: Any) -> None:
    plugged(BRIDGE, NATIVE)
    with pytest.raises(FleetlingError, match="each of"):
        options.chosen_port(None)


def test_a_person_picks_by_number(plugged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(BRIDGE, NATIVE)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("fleetling.cli.options.click.prompt", lambda *_, **__: 2)
    assert options.chosen_port(None) == "/dev/ttyUSB0"


def test_none_is_told_with_what_is_there(plugged: Any) -> None:
    plugged(PLAIN)
    with pytest.raises(FleetlingError, match="/dev/ttyS0: not likely") as told:
        ports.choose(None)
    assert "fleetling ports" in told.value.hint


def test_the_list_has_likely_ports_first_and_says_why(plugged: Any) -> None:
    plugged(PLAIN, NATIVE, BRIDGE, ("/dev/ttyACM9", 0x303A, 0x8123))
    found = {port.device: (port.chip, port.usb) for port in ports.listed()}
    assert list(found)[-1] == "/dev/ttyS0"
    assert found["/dev/ttyACM3"] == ("ESP32-S3, C3, C6 or H2", "303A:1001")
    assert found["/dev/ttyUSB0"] == ("any, behind CP210x", "10C4:EA60")
    assert found["/dev/ttyACM9"][0] == "ESP32" and found["/dev/ttyS0"] == ("", "")


def test_the_command_shows_them(plugged: Any) -> None:
    plugged(PLAIN, NATIVE)
    shown = CliRunner().invoke(command.command, [], env={"COLUMNS": "120"})
    assert "303A:1001" in shown.stdout and "no board, it seems" in shown.stdout
    made = json.loads(CliRunner().invoke(command.command, ["--json"]).stdout)
    assert [(row["device"], row["likely"]) for row in made] == [
        ("/dev/ttyACM3", True),
        ("/dev/ttyS0", False),
    ]
    plugged()
    empty = CliRunner().invoke(command.command, [])
    assert empty.exit_code == 0 and "rfc2217://" in empty.stderr
