# SPDX-License-Identifier: MIT
"""What the checks of a board make of what it says."""

from __future__ import annotations

import struct
import zlib
from datetime import timedelta
from typing import Any

import pytest

from fleetling.pki import make_authority
from fleetling.port import checks
from fleetling.port.checks import GOOD, SKIPPED, WARNING, WRONG
from fleetling.port.facts import Facts
from fleetling.port.prompt import raised

OTA_0, OTA_1 = (
    [0, 16, 0x10000, 0x180000, "ota_0", False],
    [0, 17, 0x190000, 0x180000, "ota_1", False],
)
OTADATA = [1, 0, 0xD000, 0x2000, "otadata", False]
NVS = [1, 2, 0x9000, 0x4000, "nvs", False]
BLANK = "ff" * 32
NOW = checks.now()


def entry(number: int, state: int) -> str:
    crc = zlib.crc32(struct.pack("<I", number), 0xFFFFFFFF)
    return (struct.pack("<I", number) + bytes(20) + struct.pack("<II", state, crc)).hex()


def facts(**other: Any) -> Facts:
    said = {
        "interpreter": "micropython",
        "platform": "esp32",
        "version": [1, 24, 0],
        "build": "ESP32_GENERIC-OTA",
        "heap": 160_000,
        "storage": [983_040, 900_000],
        "littlefs": True,
        "partitions": [OTA_0, OTA_1, OTADATA, NVS],
        "runs": "ota_0",
        "otadata": [entry(1, 2), BLANK],
    }
    return Facts({**said, **other})


def states(given: Facts) -> dict[str, str]:
    return {found.check: found.state for found in (check(given) for check in checks.BEFORE)}


def test_a_stock_ota_board_is_good() -> None:
    assert set(states(facts()).values()) == {GOOD}


@pytest.mark.parametrize(
    ("other", "check", "state"),
    [
        ({"interpreter": "circuitpython"}, "firmware", WRONG),
        ({"platform": "rp2"}, "firmware", WRONG),
        ({"version": [1, 23, 9]}, "firmware", WRONG),
        ({"version": [1, 9, 9]}, "firmware", WRONG),
        ({"version": [2, 0, 0]}, "firmware", GOOD),
        ({"heap": 119_999}, "heap", WRONG),
        ({"heap": 120_000}, "heap", GOOD),
        ({"partitions": [OTA_0, OTADATA, NVS]}, "table", WARNING),
        ({"partitions": [OTA_0, OTA_1, NVS]}, "table", WARNING),
        ({"partitions": []}, "table", SKIPPED),
        ({"partitions": [[1, 2, 0x9000, 0x3000, "nvs", False]]}, "nvs", WRONG),
        ({"littlefs": False}, "storage", WRONG),
        ({"storage": [399_999, 399_999]}, "storage", WARNING),
        ({"otadata": [BLANK, BLANK]}, "rollback", WARNING),
        ({"otadata": [entry(1, 0), BLANK]}, "rollback", WARNING),
        ({"otadata": [entry(1, 0xFFFFFFFF), BLANK]}, "rollback", WARNING),
        ({"otadata": [entry(1, 1), BLANK]}, "rollback", GOOD),
        ({"otadata": [entry(1, 2), entry(2, 4)]}, "rollback", GOOD),
        ({"otadata": [entry(3, 0), entry(2, 2)], "runs": "ota_1"}, "rollback", GOOD),
        ({"otadata": [entry(3, 0), entry(2, 2)], "runs": "ota_0"}, "rollback", WARNING),
    ],
)
def test_what_is_amiss_is_found(other: dict[str, Any], check: str, state: str) -> None:
    given = facts(**other)
    assert states(given)[check] == state
    for each in checks.BEFORE:
        found = each(given)
        assert found.remedy or found.state in (GOOD, SKIPPED), "nothing without a remedy"


def test_a_board_that_says_nothing_stops_no_check() -> None:
    assert states(Facts())["firmware"] == WRONG


def test_the_clock() -> None:
    unix = int(NOW.timestamp())
    assert checks.clock(facts(unix=unix + 300, synced=True), NOW).state == GOOD
    assert checks.clock(facts(unix=unix - 302, synced=True), NOW).state == WRONG
    assert checks.clock(facts(unix=unix - 9999, synced=False), NOW).state == WARNING
    assert checks.clock(facts(unix=946684800), NOW).state == WARNING
    assert checks.clock(facts(), NOW).state == SKIPPED


def test_the_identity() -> None:
    assert checks.identity(facts()).state == WRONG
    assert checks.identity(facts(id="a", identity_error="identity-ca")).state == WRONG
    assert checks.identity(facts(id="a")).state == WARNING
    assert checks.identity(facts(id="a", own_key=True)).state == GOOD
    assert checks.mode(facts(safe=True)).state == WRONG
    assert checks.mode(facts(dev=1)).state == WARNING


def test_the_dates_of_a_certificate() -> None:
    made = make_authority("farm").client("a", 60).certificate_der

    def state(after: timedelta) -> str:
        return checks.certificate("c", made, NOW + after, remedy="renew").state

    assert state(timedelta()) == GOOD
    assert state(timedelta(days=31)) == WARNING
    assert state(timedelta(days=61)) == WRONG
    assert state(timedelta(days=-9)) == WRONG
    assert checks.certificate("c", b"", NOW, remedy="").state == SKIPPED
    assert checks.certificate("c", made[:-3], NOW, remedy="").state == WRONG


def test_files_and_the_agent_of_this_installation() -> None:
    wanted = {"boot.py": "1", "main.py": "2"}
    assert checks.files({"boot.py": "1", "main.py": "2"}, wanted).state == GOOD
    assert checks.files({"boot.py": "1", "main.py": "3"}, wanted).state == WARNING
    assert checks.files({"boot.py": "1", "main.py": None}, wanted).state == WRONG
    agent = {"agent/a.mpy": "1"}
    same = {"agent/a.mpy": "1", "app.mpy": "9"}
    assert checks.agent({"a": same}, "a", agent).state == GOOD
    assert checks.agent({"a": {**same, "agent/b.mpy": "1"}}, "a", agent).state == WARNING
    assert checks.agent({"a": {}, "b": same}, "b", {**agent, "agent/b.mpy": "1"}).state == WARNING
    assert checks.agent({"a": None}, "a", agent).state == WRONG
    assert checks.agent({}, "factory", agent).state == WRONG


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("OSError: [Errno 28] ENOSPC", "OSError", 28),
        ("OSError: 28", "OSError", 28),
        ("OSError: (-4354, 'ESP_ERR_NVS_NOT_FOUND')", "OSError", -4354),
        ("ValueError: 28", "ValueError", None),
        ("KeyboardInterrupt: ", "KeyboardInterrupt", None),
        ("", "an exception without a word", None),
    ],
)
def test_an_exception_of_the_board_is_read(text: str, kind: str, number: int | None) -> None:
    trace = f'Traceback (most recent call last):\r\n  File "<stdin>"\r\n{text}\r\n' if text else ""
    found = raised(trace)
    assert (found.kind, found.number) == (kind, number)
