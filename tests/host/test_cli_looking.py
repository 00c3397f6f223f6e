# SPDX-License-Identifier: MIT
"""`fleetling status`, `events` and `crash` with the database alone: no broker answers here."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from test_cli import INIT, run

from fleetling.cli.status import _lines
from fleetling.fleet.state import Device
from fleetling.hub.records import Message, Records
from fleetling.registry import Store

NOW = time.time()
ESCAPE = "\x1b[31m"
CRASH = {
    "task": "app",
    "error": "ValueError",
    "text": f"broken {ESCAPE}",
    "trace": [["app.py", 2, "main"]],
    "heap": {"free": 100_000},
    "log": ["       3 I link: on the broker"],
    "boot": 3,
    "up": 77,
    "again": 2,
}
EVENTS: tuple[dict[str, Any], ...] = (
    {"seq": 1, "up": 0, "code": "boot", "boot": 3, "cause": "watchdog", "why": "hung"},
    {"seq": 2, "up": 9, "code": "alert", "metric": "heap", "kind": "leak", "raised": True},
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looking")
    made = run(*INIT, "--no-passphrase", cwd=folder)
    assert made.returncode == 0, made.stderr
    store = Store(f"sqlite:///{folder}/hub.db")
    store.expect(["kitchen", "quiet"])
    records = Records(store)
    beats = [
        {"boot": 3, "up": 60 * n, "m": {"heap": [n, n, n, 90_000 + n], "rssi": [-60] * 4}}
        for n in range(1, 9)
    ]
    records.add([Message("kitchen", "health", NOW - 600 + n, b) for n, b in enumerate(beats)])
    records.add([Message("kitchen", "event", NOW - 60 + n, e) for n, e in enumerate(EVENTS)])
    records.add([Message("kitchen", "crash", NOW - 30, CRASH)])
    return folder


def test_status_shows_figures_alerts_and_what_is_missing(fleet: Path) -> None:
    done = run("status", "kitchen", cwd=fleet)
    assert done.returncode == 0, done.stderr
    assert "No broker answers" in done.stdout
    assert "90,008 bytes   ▁▂▃▄▅▆▇█" in done.stdout and "-60 dBm" in done.stdout
    assert "ALERT" in done.stdout and "heap leak" in done.stdout
    found = json.loads(run("status", "kitchen", "--json", cwd=fleet).stdout)
    assert found["state"] == "unknown" and found["alerts"][0]["metric"] == "heap"


def test_what_a_board_says_that_makes_no_sense_hides_nothing_else(fleet: Path) -> None:
    store = Store(f"sqlite:///{fleet}/hub.db")
    store.expect(["odd"])
    records = Records(store)
    records.add([Message("odd", "event", NOW - 9, {"seq": 1, "code": "first", "at": 10**17})])
    records.add([Message("odd", "event", NOW - 8, {"seq": 2, "code": "second", "at": 7})])
    records.add([Message("odd", "crash", NOW - 7, {**CRASH, "at": -(10**30)})])
    done = run("status", "odd", cwd=fleet)
    assert done.returncode == 0, done.stderr
    assert "first" in done.stdout and "1970-01-01 00:00:07  second" in done.stdout
    done = run("crash", "odd", cwd=fleet)
    assert done.returncode == 0 and "ValueError in app" in done.stdout, done.stderr
    for keys in (5, True, [["a"]], "ab", {"app.rate": "setting-range"}):
        device = Device("odd", reported={"keys": keys})
        shown = [text for name, text in _lines(device, "", [], None, [], []) if name == "settings"]
        assert len(shown) == 1 and ("app.rate" in shown[0]) is isinstance(keys, dict)


def test_events_by_time_code_and_device(fleet: Path) -> None:
    shown = run("events", "kitchen", cwd=fleet).stdout
    assert "cause watchdog" in shown and "heap leak raised" in shown
    alone = run("events", "--code", "alert", "--json", cwd=fleet).stdout.splitlines()
    assert [json.loads(line)["seq"] for line in alone] == [2]
    assert json.loads(alone[0])["device"] == "kitchen"
    assert "cause watchdog" in run("events", "--since", "999999w", cwd=fleet).stdout
    assert "No events in the last 1s" in run("events", "--since", "1s", cwd=fleet).stdout
    assert "fleetling hub" in run("events", "quiet", cwd=fleet).stdout


def test_a_crash_with_the_lines_of_the_application(fleet: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("async def main(task):\n    raise ValueError('broken')\n")
    shown = run("crash", "kitchen", "--source", str(tmp_path), cwd=fleet).stdout
    for words in ("ValueError in app", "boot 3, 77 s", "2 times more", "app.py:2 in main"):
        assert words in shown
    assert "raise ValueError('broken')" in shown and "| " in shown and ESCAPE not in shown
    assert "--source FOLDER" in run("crash", "kitchen", cwd=fleet).stdout
    assert json.loads(run("crash", "kitchen", "--json", cwd=fleet).stdout)["boot"] == 3
    assert "No crash of quiet is known" in run("crash", "quiet", cwd=fleet).stdout
    assert run("crash", "quiet", "--json", cwd=fleet).stdout == "null\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "nobody"), "fleetling device list"),
        (("crash", "nobody"), "fleetling device list"),
        (("events", "nobody"), "fleetling device list"),
        (("events", "--since", "soon"), "90s, 15m, 2h"),
        (("watch",), "No broker answers"),
        (("events", "--follow"), "No broker answers"),
        (("hub", "--metrics", "no"), "HOST:PORT"),
        (("hub", "--metrics", "a..b:1"), "--metrics PORT"),
        (("hub", "--broker", "a..b:1"), "HOST:PORT"),
    ],
)
def test_what_a_person_can_do_wrong_is_told(
    fleet: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run(*arguments, cwd=fleet)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
