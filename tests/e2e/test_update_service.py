# SPDX-License-Identifier: MIT
"""Assigning updates from the command line, over mosquitto, to clients that play boards."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from published import publish_releases
from test_config_service import Bench, bench

from fleetling.demo.fleet import HOST
from fleetling.fleet.state import PREFIX, Device

__all__ = ["bench"]

PATHS = ("pump/1.1.0.app", "pump/1.2.0.app", "esp32/1.26.0.fw")
BIRTH = {
    "board": "Generic ESP32 module with OTA with ESP32",
    "build": "ESP32_GENERIC-OTA",
    "agent": "0.1.0",
    "app": "1.0.0",
    "release": "1.25.0",
    "commands": ["ping", "previous", "reset"],
}
FAILS = [("fetching", ""), ("trial", ""), ("reverted", "trial-crash")]
WORKS = [("fetching", ""), ("switching", ""), ("trial", ""), ("confirmed", "")]


class Player:
    """A client with a board's certificate. `script`: the states that an assignment goes through,
    as (state, code)."""

    def __init__(self, bench: Bench, name: str, script: list[tuple[str, str]]) -> None:
        self.name, self.script = name, script
        self.orders: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.more: dict[str, Any] = {}
        self.reply: dict[str, Any] = {"status": "ok", "result": None}
        self._order = threading.Lock()
        certificate, key = bench.fleet.write(name, bench.fleet.authority.client(name, 2))
        context = ssl.create_default_context(cafile=str(bench.fleet.ca))
        context.load_cert_chain(certificate, key)
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
        client.tls_set_context(context)
        client.on_connect = self._connected
        client.on_message = self._received
        client.will_set(f"{PREFIX}{name}/online", b'{"online":false}', 1, True)
        self.client = client
        self.port = bench.fleet.files.port

    def say(self, topic: str, document: dict[str, Any], *, retain: bool = True) -> None:
        payload = json.dumps(document).encode()
        self.client.publish(f"{PREFIX}{self.name}/{topic}", payload, 1, retain)

    def report(self, order: dict[str, Any], state: str, code: str = "", **more: Any) -> None:
        document = {
            "state": state,
            "id": order["id"],
            "targets": order["targets"],
            "code": code,
            "detail": "",
            "done": 50,
            "of": 100,
            "at": int(time.time()),
            "tries": 1,
            "why": "",
            "app": order["targets"][0].split("/")[1].removesuffix(".app"),
        }
        self.say("up/update", {**document, **self.more, **more})

    def _connected(self, *_: Any) -> None:
        self.client.subscribe(f"{PREFIX}{self.name}/down/#", 1)
        self.say("up/birth", BIRTH)
        self.say("online", {"online": True, "boot": 1})

    def _received(self, client: Any, data: Any, message: mqtt.MQTTMessage) -> None:
        document = json.loads(message.payload)
        if message.topic.endswith("down/command"):
            self.commands.append(document)
            self.say("up/reply", {"id": document["id"], **self.reply}, retain=False)
        if not message.topic.endswith("down/update"):
            return
        if self.orders and self.orders[-1]["id"] == document["id"]:
            return
        self.orders.append(document)
        if not document["targets"]:
            self.say("up/update", {"state": "idle", "id": document["id"], "targets": []})
            return
        for state, code in self.script:
            self.report(document, state, code)

    def told(self) -> list[str]:
        """The targets that it was assigned."""
        return [path for order in self.orders for path in order["targets"]]


@contextmanager
def player(
    bench: Bench, name: str, script: list[tuple[str, str]] | None = None
) -> Iterator[Player]:
    bench.fleet.store().expect([name])
    made = Player(bench, name, WORKS if script is None else script)
    made.client.connect(HOST, made.port, 30)
    made.client.loop_start()
    try:
        yield made
    finally:
        made.say("online", {"online": False})
        made.client.disconnect()
        made.client.loop_stop()


@pytest.fixture
def play(bench: Bench) -> Iterator[Callable[..., list[Player]]]:
    """Boards that are online: play(number, script)."""
    publish_releases(bench.home / "repository", PATHS)
    with ExitStack() as stack:

        def make(count: int, script: list[tuple[str, str]] | None = None) -> list[Player]:
            made = [stack.enter_context(player(bench, f"b{n:02}", script)) for n in range(count)]
            online(bench, count)
            return made

        yield make


def online(bench: Bench, count: int) -> None:
    with bench.fleet.operator() as operator:
        assert operator.wait(
            lambda s: sum(d.online and bool(d.birth) for d in s.devices.values()) >= count, 20
        )


def heard(bench: Bench, name: str, holds: Callable[[Device], bool]) -> None:
    """Waits until the broker has it of a board."""
    with bench.fleet.operator() as operator:
        assert operator.wait(lambda s: name in s.devices and holds(s.devices[name]), 10)


def words(text: str) -> str:
    return " ".join(text.split())


def test_one_board_from_assignment_to_confirmed(
    bench: Bench, play: Callable[..., list[Player]]
) -> None:
    (board,) = play(1)
    done = bench.run("update", "assign", "pump/1.2.0", "b00", "--wait")
    assert "b00: runs it for good" in done.stderr and "1 of 1 run it." in done.stdout
    assert board.told() == ["pump/1.2.0.app"] and "jitter_s" not in board.orders[0]
    # It is retained, and nothing is sent twice.
    again = bench.run("update", "assign", "pump/1.2.0", "b00")
    assert "Nobody was to be told" in again.stdout and "Running it already: b00" in again.stdout
    found = bench.json("update", "status", "b00")["b00"]
    assert found["standing"] == "done" and found["report"]["versions"] == {"app": "1.2.0"}
    shown = bench.run("update", "status").stdout
    assert "confirmed" in shown and "pump/1.2.0" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_two_kinds_move_together_at_their_time(
    bench: Bench, play: Callable[..., list[Player]]
) -> None:
    (board,) = play(1, [("assigned", "")])
    board.more = {"why": "not-before"}
    at = ("--not-before", "2030-01-01T03:00", "--deadline", "2030-01-02T03:00+01:00")
    bench.run("update", "assign", "pump/1.2.0", "esp32/1.26.0.fw", "b00", *at, "--jitter", "1m")
    heard(bench, "b00", lambda d: bool(d.update))
    (order,) = board.orders
    assert order["targets"] == ["pump/1.2.0.app", "esp32/1.26.0.fw"]
    assert (order["not_before"], order["deadline"]) == (1893466800, 1893549600)
    assert order["jitter_s"] == 60
    shown = bench.run("update", "status", "b00").stdout
    assert "waits for its time, 2030-01-01 03:00 UTC" in words(shown)


def test_waves_go_on_only_when_the_last_one_has_confirmed(
    bench: Bench, play: Callable[..., list[Player]]
) -> None:
    boards = play(6)
    boards[0].script = [("trial", "")]  # until it is let go
    rollout = subprocess.Popen(
        [
            *(sys.executable, "-m", "fleetling", "update", "assign", "pump/1.2.0", "--fleet"),
            *("--waves", "1,50%,100%", "--yes", "--home", str(bench.home)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 20
    while not boards[0].orders and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(2)
    assert [len(board.orders) for board in boards] == [1, 0, 0, 0, 0, 0]
    boards[0].report(boards[0].orders[0], "confirmed")
    out, errors = rollout.communicate(timeout=60)
    assert rollout.returncode == 0, (out, errors)
    assert "6 of 6 run it." in out
    assert errors.index("wave 1 of 3") < errors.index("b03: ")
    assert [board.told() for board in boards] == [["pump/1.2.0.app"]] * 6


def test_a_bad_version_stops_at_its_threshold(
    bench: Bench, play: Callable[..., list[Player]]
) -> None:
    """FAULTS D-22."""
    boards = play(12)
    for board in boards[3:]:
        board.script = FAILS
    boards[4].script = [("waiting", "")]  # has it, and waits for its window
    arguments = ("update", "assign", "pump/1.2.0", "--fleet", "--waves", "1,3,6,100%")
    done = bench.run(*arguments, "--stop-at", "20%", "--yes", code=1)
    told = [board.told() for board in boards]
    assert told == [["pump/1.2.0.app"]] * 6 + [[]] * 6
    assert boards[4].orders[-1]["targets"] == []  # taken back
    assert "Stopped: 2 of 6 could not keep it." in done.stdout
    assert (
        "Taken back from 1 device" in done.stdout
        and "Never assigned it: 6 devices." in done.stdout
    )
    assert "crashed" in done.stdout and "fleetling crash b03" in words(done.stdout)
    # Asked again, it stops where it was; nothing is hidden in a file.
    assert "Stopped" in bench.run(*arguments, "--yes", code=1).stdout
    assert [board.told() for board in boards] == told
    # A better version is another matter.
    for board in boards:
        board.script = WORKS
    bench.run("update", "assign", "pump/1.1.0", "--fleet", "--waves", "1,100%", "--yes")
    assert all(board.told()[-1] == "pump/1.1.0.app" for board in boards)


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(
    bench: Bench, play: Callable[..., list[Player]]
) -> None:
    boards = play(4)
    boards[0].script = [("fetching", "")]
    arguments = ("update", "assign", "pump/1.2.0", "--fleet", "--waves", "1,100%", "--yes")
    rollout = subprocess.Popen(
        [sys.executable, "-m", "fleetling", *arguments],
        env={**os.environ, "FLEETLING_HOME": str(bench.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell ignores SIGINT, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert rollout.stderr is not None
    while "fetches" not in rollout.stderr.readline():
        pass
    rollout.send_signal(signal.SIGINT)
    _, errors = rollout.communicate(timeout=20)
    assert rollout.returncode == 130 and "Traceback" not in errors
    assert "1 of 4 have it assigned (1 fetching)" in errors
    assert "fleetling update assign pump/1.2.0 --fleet --waves 1,100% --yes" in errors
    assert [len(board.orders) for board in boards] == [1, 0, 0, 0]
    boards[0].report(boards[0].orders[0], "confirmed")
    assert "4 of 4 run it." in bench.run(*arguments).stdout
    assert [len(board.orders) for board in boards] == [1, 1, 1, 1]


def test_a_broker_that_goes_away_in_between(
    bench: Bench, play: Callable[..., list[Player]]
) -> None:
    boards = play(2, [("fetching", "")])
    rollout = subprocess.Popen(
        [
            *(sys.executable, "-m", "fleetling", "update", "assign", "pump/1.2.0", "--fleet"),
            *("--waves", "1,100%", "--yes", "--home", str(bench.home)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert rollout.stderr is not None
    while "fetches" not in rollout.stderr.readline():
        pass
    bench.fleet.broker.stop()
    time.sleep(1)
    bench.fleet.broker.start()
    boards[1].script = WORKS
    boards[0].report(boards[0].orders[0], "confirmed")
    out, errors = rollout.communicate(timeout=60)
    assert rollout.returncode == 0 and "2 of 2 run it." in out, (out, errors)
    assert [len(board.orders) for board in boards] == [1, 1]


def test_who_is_away_takes_it_later_and_holds_nobody_up(
    bench: Bench, play: Callable[..., list[Player]]
) -> None:
    boards = play(2)
    bench.fleet.store().expect(["a-far"])
    arguments = ("update", "assign", "pump/1.2.0", "--fleet", "--waves", "1,100%", "--yes")
    done = bench.run(*arguments, code=1)
    assert "2 of 3 run it." in done.stdout and "comes: 1 device." in done.stdout
    assert all(board.told() for board in boards)
    with player(bench, "a-far") as far:
        assert "3 of 3 run it." in bench.run(*arguments).stdout
        assert far.told() == ["pump/1.2.0.app"]


def test_failures_in_words_again_and_cancel(
    bench: Bench, play: Callable[..., list[Player]]
) -> None:
    (board,) = play(1, [("refused", "update-condemned")])
    done = bench.run("update", "assign", "pump/1.2.0", "b00", "--wait", code=1)
    assert "has failed here before" in done.stdout and "0 of 1 run it" in done.stdout
    assert "--again" in bench.run("update", "assign", "pump/1.2.0", "b00").stdout
    assert len(board.orders) == 1
    board.script, board.more = [("fetching", "")], {"why": "retry", "code": "http-slow"}
    bench.run("update", "assign", "pump/1.2.0", "b00", "--again")
    shown = words(bench.run("update", "status", "b00").stdout)
    assert "tries again soon: the server does not answer" in shown
    assert bench.run("update", "cancel", "b00").stdout == "b00: taken back\n"
    heard(bench, "b00", lambda d: d.update.get("state") == "idle")
    assert "nothing is assigned" in bench.run("update", "status", "b00").stdout
    assert "nothing is under way" in bench.run("update", "cancel", "b00").stdout
    board.script, board.more = [("unheard", "of-code")], {}
    bench.run("update", "assign", "pump/1.2.0", "b00")
    heard(bench, "b00", lambda d: d.update.get("code") == "of-code")
    assert "unheard: of-code" in words(bench.run("update", "status").stdout)
    late = bench.run("update", "cancel", "--fleet", "--yes", code=1)
    assert "Too late for b00" in late.stderr


def test_previous(bench: Bench, play: Callable[..., list[Player]]) -> None:
    (board,) = play(1)
    bench.run("update", "assign", "pump/1.2.0", "b00", "--wait")
    done = bench.run("update", "previous", "b00", "--kind", "app")
    assert "goes back" in done.stdout
    (command,) = board.commands
    assert (command["name"], command["args"]) == ("previous", {"kind": "app"})
    assert board.orders[-1]["targets"] == []  # so that it is not taken for new
    board.reply = {"status": "error", "code": "update-none", "detail": "app"}
    refused = bench.run("update", "previous", "b00", "--kind", "app", code=1)
    assert "nothing to go back to" in refused.stderr
    board.script = [("fetching", "")]
    bench.run("update", "assign", "pump/1.2.0", "b00")
    assert "cancel" in bench.run("update", "previous", "b00", "--kind", "app", code=1).stderr


def test_status_and_watch_show_it(bench: Bench, play: Callable[..., list[Player]]) -> None:
    play(1, [("fetching", "")])
    bench.run("update", "assign", "pump/1.2.0", "b00")
    heard(bench, "b00", lambda d: bool(d.update))
    shown = bench.run("status", "b00").stdout
    assert "update " in shown and "app 1.2.0" in shown and "50 %" in shown
    assert bench.json("status", "b00")["update"]["state"] == "fetching"
    watch = subprocess.Popen(
        [sys.executable, "-m", "fleetling", "watch", "--home", str(bench.home)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    seen = ""
    while "update" not in seen:
        seen = watch.stdout.readline()
    watch.terminate()
    watch.communicate(timeout=20)
    assert "b00  update: fetches" in seen


def test_groups_and_who_cannot_take_it(bench: Bench, play: Callable[..., list[Player]]) -> None:
    boards = play(3)
    boards[1].say("up/birth", {**BIRTH, "build": "ESP32_GENERIC", "app": "2.0.0"})
    boards[2].say("up/birth", {**BIRTH, "commands": ["ping"]})
    heard(bench, "b02", lambda d: d.birth.get("commands") == ["ping"])
    refused = bench.run("update", "assign", "esp32/1.26.0", "b00", "b01", code=1)
    assert "b01 cannot take it: esp32/1.26.0.fw is for ESP32_GENERIC-OTA" in words(refused.stderr)
    assert "runs app 2.0.0" in bench.run("update", "assign", "pump/1.2.0", "b01", code=1).stderr
    assert "takes no updates" in bench.run("update", "assign", "pump/1.2.0", "b02", code=1).stderr
    assert not any(board.orders for board in boards)
    done = bench.run("update", "assign", "esp32/1.26.0", "--fleet", "--yes")
    assert "Left out: b01" in done.stderr and "Left out: b02" in done.stderr
    assert "Assigned to 1 device." in done.stdout
    for n in (0, 1):
        bench.run("device", "tag", f"b{n:02}", "--add", "beta")
    bench.run("group", "set", "early", "tag=beta")
    found = bench.json("update", "assign", "pump/1.2.0", "--group", "early", "--yes")
    assert found["published"] == ["b00"] and list(found["devices"]) == ["b00"]


@pytest.mark.slow
def test_what_a_person_can_do_wrong(bench: Bench) -> None:
    bench.fleet.store().expect(["one"])
    empty = bench.run("update", "assign", "pump/1.2.0", "one", code=1)
    assert "Nothing is published" in empty.stderr
    publish_releases(bench.home / "repository", (*PATHS, "esp32/1.26.0.app"))
    for arguments, said in (
        (("assign", "one"), "Which release"),
        (("assign", "pump/1.2.0"), "Which devices"),
        (("assign", "pump/1.2.0", "one", "--fleet"), "one of them"),
        (("assign", "pump/9", "one"), "Of pump there is: pump/1.2.0.app, pump/1.1.0.app."),
        (("assign", "valve/1", "one"), "There are releases of: esp32, pump."),
        (("assign", "pump/1.2.0.0123456789abcdef.delta", "one"), "is a delta"),
        (("assign", "pump/1.1.0", "pump/1.2.0", "one"), "of one kind"),
        (("assign", "esp32/1.26.0", "one"), "Say which"),
        (("assign", "pump/1.2.0", "nobody"), "device list"),
        (("assign", "pump/1.2.0", "--group", "none"), "group list"),
        (("assign", "pump/1.2.0", "--fleet"), "--yes"),
        (("assign", "pump/1.2.0", "one", "--deadline", "soon"), "no time"),
        (("assign", "pump/1.2.0", "one", "--deadline", "+soon"), "no time span"),
        (
            ("assign", "pump/1.2.0", "one", "--not-before", "+2h", "--deadline", "+1h"),
            "before --not-before",
        ),
        (("assign", "pump/1.2.0", "one", "--jitter", "2d"), "a day"),
        (("assign", "pump/1.2.0", "one", "--stop-at", "5%"), "--waves"),
        (("assign", "pump/1.2.0", "one", "--waves", "10%,1%"), "become smaller"),
        (("assign", "pump/1.2.0", "one", "--waves", "all"), "no wave"),
        (("assign", "pump/1.2.0", "one", "--waves", "1", "--stop-at", "x"), "no share"),
        (("assign", "pump/1.2.0", "one", "--waves", "1,100%"), "Nobody of them is online"),
        (("cancel",), "Which devices"),
        (("previous", "one", "--kind", "app"), "away"),
        (("status", "nobody"), "device list"),
    ):
        done = bench.run("update", *arguments, code=1)
        assert said in words(done.stderr), (arguments, done.stderr)
    assert bench.run("update", "previous", "one", code=2).stderr
    with bench.fleet.operator() as operator:
        assert not operator.wait(lambda s: bool(s.devices), 1)
    away = bench.run("update", "assign", "pump/1.2.0", "one", "--wait", code=1)
    assert "0 of 1 run it." in away.stdout and "comes: 1 device." in away.stdout
    assert "away; takes it when it comes" in words(bench.run("update", "status").stdout)


def test_without_a_broker(bench: Bench) -> None:
    bench.fleet.store().expect(["one"])
    publish_releases(bench.home / "repository", PATHS)
    bench.fleet.broker.stop()
    for arguments in (("assign", "pump/1.2.0", "one"), ("status",), ("cancel", "one")):
        assert "No broker answers" in bench.run("update", *arguments, code=1).stderr
