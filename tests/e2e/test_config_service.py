# SPDX-License-Identifier: MIT
"""Settings from the command line to boards on the real interpreter and back, over mosquitto."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fleetling_command import fleetling

from fleetling.config.schema import Schema
from fleetling.config.store import ConfigStore
from fleetling.demo.fleet import HOST, WIFI, TemporaryFleet
from fleetling.fleet.state import PREFIX
from fleetling.simboard.process.board import ProcessBoard

CANARY = "canary-8f3a-secret"
APP = {
    "settings.json": json.dumps(
        {
            "rate": {"type": "float", "default": 1.0, "least": 0.1, "greatest": 10},
            "token": {"type": "str", "default": "", "longest": 40, "secret": True},
        }
    ).encode()
}


@dataclass
class Bench:
    """A fleet's folder, a broker, and boards; `run` is the command line."""

    fleet: TemporaryFleet
    home: Path
    lines: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def run(
        self, *arguments: str, stdin: str | None = None, code: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("FLEETLING_")}
        done = fleetling(
            *arguments,
            *("--home", str(self.home)),
            env={**clean, "COLUMNS": "80", **env},
            stdin=stdin or "",
        )
        self.said.append(done.stdout + done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, (arguments, done.stdout, done.stderr)
        return done

    def json(self, *arguments: str, **options: Any) -> Any:
        return json.loads(self.run(*arguments, "--json", **options).stdout)

    def board(self, name: str) -> ProcessBoard:
        self.fleet.store().expect([name])
        return self.fleet.board(self.fleet.provision(name), app=APP, on_line=self.lines.append)

    def rows(self, name: str) -> dict[str, Any]:
        return {row["name"]: row for row in self.json("config", "show", name)[name]}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    fleet = TemporaryFleet(tmp_path, broker="mosquitto")
    home = tmp_path / "home"
    secrets = home / "secrets"
    secrets.mkdir(parents=True)
    (home / "fleetling.toml").write_text(
        f'name = "farm"\nbroker = "{HOST}:{fleet.files.port}"\n'
        f'database = "sqlite:///{fleet.database}"\n'
    )
    (secrets / "fleet-ca.pem").write_bytes(fleet.ca.read_bytes())
    operator = fleet.authority.client("operator", 2)
    (secrets / "operator.pem").write_bytes(operator.certificate_pem)
    (secrets / "operator.key").write_bytes(operator.key_pem())
    with fleet.broker:
        yield Bench(fleet, home)


@pytest.fixture
def board(bench: Bench) -> Iterator[ProcessBoard]:
    made = bench.board("one")
    operator = bench.fleet.operator()
    try:
        made.start()
        with operator:
            assert operator.wait(
                lambda s: "one" in s.devices and bool(s.devices["one"].reported), 30
            ), bench.lines
        yield made
    finally:
        made.stop()


def test_a_life_with_settings(bench: Bench, board: ProcessBoard) -> None:
    rows = bench.rows("one")
    assert (rows["heartbeat_s"]["value"], rows["heartbeat_s"]["origin"]) == (2, "flashed")
    assert rows["app.rate"]["origin"] == "default" and rows["wifi"]["value"] is None

    done = bench.run("config", "set", "one", "heartbeat_s=3", "app.rate=2.5", "--wait")
    assert "one: applied" in done.stderr and "1 of 1" in done.stdout
    rows = bench.rows("one")
    assert (rows["app.rate"]["value"], rows["app.rate"]["origin"]) == (2.5, "device one")
    assert (
        rows["app.rate"]["note"] == "" and "No diff" in bench.run("config", "diff", "one").stdout
    )

    # Refused here, before anything is stored or sent; nothing of it is done.
    before = bench.json("config", "history", "one")
    for argument, words in (
        ("app.rate=99", "float, 0.1 to 10"),
        ("app.rat=1", "did you mean app.rate"),
        ("app.rate=fast", "not float"),
        ("heartbeat_s=3", "no setting"),
    ):
        extra = ["nonsense=1"] if "no setting" in words else ["name=x"]
        wrong = bench.run("config", "set", "one", argument, *extra, code=1)
        assert words in wrong.stderr
    assert bench.json("config", "history", "one") == before

    # The fleet, a group, and falling back through them.
    bench.run("config", "set", "--fleet", "heartbeat_s=9", "role=pump")
    bench.run("device", "tag", "one", "--add", "beta")
    assert (
        "1 device is in early: one"
        in bench.run("group", "set", "early", "tag=beta", "agent>=0", "--priority", "3").stdout
    )
    bench.run("config", "set", "--group", "early", "heartbeat_s=7")
    assert bench.rows("one")["heartbeat_s"]["origin"] == "device one"
    found = bench.json("config", "unset", "one", "heartbeat_s", "--wait")
    assert found["one"]["status"] == "applied"
    row = bench.rows("one")["heartbeat_s"]
    assert (row["value"], row["origin"], row["note"]) == (7, "group early", "")
    bench.run("device", "tag", "one", "--remove", "beta")
    assert bench.rows("one")["heartbeat_s"]["value"] == 9
    would = bench.json("config", "unset", "--fleet", "heartbeat_s", "--dry-run")
    assert would["one"] == {"app.rate": 2.5, "role": "pump"}
    assert bench.rows("one")["heartbeat_s"]["value"] == 9


def test_a_secret_never_shows(bench: Bench, board: ProcessBoard) -> None:
    environment: dict[str, Any] = {"FLEETLING_WIFI_PASSWORD": CANARY}
    options = ("--wifi", "elsewhere")
    bench.run("config", "set", "one", *options, "--dry-run", **environment)
    bench.run("config", "set", "one", *options, "--dry-run", "--json", **environment)
    bench.run("config", "set", "one", "app.token=@-", "--wait", stdin=CANARY + "\n")
    # An argument is no place for one.
    assert "--ask" in bench.run("config", "set", "one", f"app.token={CANARY}", code=1).stderr
    # The board's real network stays in the list, so it still comes back.
    bench.run("config", "set", "one", "--wifi", WIFI.ssid, FLEETLING_WIFI_PASSWORD=WIFI.password)
    bench.run(
        "config", "set", "one", *options, "--wait", "--timeout", "40", **environment, code=None
    )
    for command in ("show", "history", "diff"):
        bench.run("config", command, "one")
        bench.run("config", command, "one", "--json")
    editor = bench.home / "editor"
    editor.write_text('#!/bin/sh\ncp "$1" "$0.seen"\necho \'name = "x"\' >> "$1"\n')
    editor.chmod(0o700)
    bench.run("config", "edit", "one", EDITOR=str(editor))
    seen = (bench.home / "editor.seen").read_text()
    assert 'wifi = "(unchanged)"' in seen and '"app.token" = "(unchanged)"' in seen
    config = ConfigStore(bench.fleet.store()).state().wanted("one")
    assert config["name"] == "x" and config["app.token"] == CANARY
    assert [pair[0] for pair in config["wifi"]] == ["elsewhere", WIFI.ssid]
    for text in (*bench.said, *bench.lines, seen):
        assert CANARY not in text and WIFI.password not in text


def test_a_reset(bench: Bench, board: ProcessBoard) -> None:
    bench.run("config", "set", "--fleet", "role=pump")
    bench.run("config", "set", "one", "name=north", "--wait")
    assert "--yes" in bench.run("reset", "one", "--level", "config", code=1).stderr
    operator = bench.fleet.operator()
    with operator:
        operator.wait(lambda s: "one" in s.devices and s.devices["one"].online, 10)
        bench.run("reset", "one", "--level", "config", "--yes")
        assert operator.wait(
            lambda s: any(e["code"] == "factory-reset" for e in s.devices["one"].events), 30
        ), bench.lines
        assert operator.wait(
            lambda s: s.devices["one"].reported.get("config", {}).get("role") == "pump", 30
        )
        assert "name" not in operator.state.devices["one"].reported["config"]
        assert "reset to level config" in bench.run("config", "history", "one").stdout
        # With --keep-settings they come straight back.
        bench.run("config", "set", "one", "name=south", "--wait")
        boot = operator.state.devices["one"].boot
        bench.run("reset", "one", "--level", "config", "--yes", "--keep-settings")
        assert operator.wait(lambda s: s.devices["one"].boot not in (boot, None), 30)
        assert operator.wait(
            lambda s: s.devices["one"].reported.get("config", {}).get("name") == "south", 30
        )


def test_what_a_person_can_do_wrong(bench: Bench) -> None:
    bench.fleet.store().expect(["one"])
    for arguments, words in (
        (("config", "show"), "--group"),
        (("config", "show", "one", "--fleet"), "one of them"),
        (("config", "show", "nobody"), "device list"),
        (("config", "show", "--group", "none"), "group set"),
        (("config", "set", "one"), "NAME=VALUE"),
        (("config", "set", "heartbeat_s=3"), "Whose"),
        (("config", "set", "nobody", "heartbeat_s=3"), "device list"),
        (("config", "set", "one", "heartbeat_s=0"), "0.1 to 86400"),
        (("config", "set", "one", "name=a", "name=b"), "twice"),
        (("config", "set", "one", "name=@/nowhere"), "/nowhere"),
        (("config", "set", "one", "--wifi", "home"), "FLEETLING_WIFI_PASSWORD"),
        (("config", "set", "one", "--ask", "name"), "=@FILE"),
        (("config", "unset", "one"), "Which setting"),
        (("config", "unset", "one", "nonsense"), "not set"),
        (("config", "edit", "one"), "EDITOR"),
        (("config", "diff", "one", "two", "three"), "one id or two"),
        (("config", "diff", "nobody"), "device list"),
        (("group", "set", "g", "colour=red"), "character 1"),
        (("group", "set", "a b", "tag=x"), "a-z"),
        (("group", "members", "none"), "group set"),
        (("group", "delete", "none", "--yes"), "group set"),
        (("device", "tag", "one", "--add", "a b"), "no tag"),
        (("device", "tag", "nobody", "--add", "a"), "device list"),
        (("reset", "one", "--level", "config", "--yes"), "Away"),
        (("reset", "nobody", "--level", "config", "--yes"), "device list"),
    ):
        done = bench.run(*arguments, code=1, EDITOR="")
        assert words in " ".join(done.stderr.split()), (arguments, done.stderr)
    state = ConfigStore(bench.fleet.store()).state()
    assert state.layers.by_scope == {} and state.published == {}


def test_without_a_broker(bench: Bench) -> None:
    bench.fleet.store().expect(["one"])
    bench.run("config", "set", "one", "name=north", "app.any=3")
    bench.fleet.broker.stop()
    done = bench.run("config", "show", "one")
    assert "north" in done.stdout and "No broker answers" in done.stderr
    assert "not yet" in done.stdout
    bench.run("config", "history", "one")
    refused = bench.run("config", "set", "one", "name=south", code=1)
    assert "Nothing was changed" in refused.stderr
    assert ConfigStore(bench.fleet.store()).state().wanted("one")["name"] == "north"


def test_a_board_that_is_away_gets_it_when_it_comes_and_may_refuse(bench: Bench) -> None:
    made = bench.board("one")
    # It never spoke, so nobody here knows its application's settings.
    done = bench.run(
        "config", "set", "one", "name=north", "app.rate=99", "--wait", "--timeout", "2", code=1
    )
    assert "Not checked: app.rate" in done.stderr and "away" in done.stderr
    try:
        made.start()
        until = time.monotonic() + 30
        while bench.rows("one")["name"]["note"] and time.monotonic() < until:
            time.sleep(0.5)
        rows = bench.rows("one")
        assert rows["name"]["note"] == ""
        assert rows["app.rate"]["note"].startswith("refused: app.rate is out of its range")
        # The same again waits for nothing new, and says what the board says.
        again = bench.run("config", "set", "one", "name=north", "--wait", code=1)
        assert "one: refused\n  app.rate is out of its range: float, 0.1 to 10" in again.stderr
        assert bench.json("config", "unset", "one", "app.rate", "--wait")["one"]["refused"] == {}
    finally:
        made.stop()


def test_ctrl_c_while_waiting_says_what_becomes_of_the_change(bench: Bench) -> None:
    bench.fleet.store().expect(["one"])
    with bench.fleet.operator() as operator:
        operator.deliver(f"{PREFIX}one/online", b'{"online":true}', retain=True)
    waiting = subprocess.Popen(
        [sys.executable, "-m", "fleetling", "config", "set", "one", "name=x", "--wait"],
        env={**os.environ, "FLEETLING_HOME": str(bench.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell ignores SIGINT, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert waiting.stderr is not None
    assert "waiting" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    _, errors = waiting.communicate(timeout=20)
    assert waiting.returncode == 130 and "boards will take it" in errors
    assert "Traceback" not in errors


def test_a_newer_agent_than_this_installation(bench: Bench) -> None:
    bench.fleet.store().expect(["one"])
    words = {"settings": {"x": {"type": "colour", "default": ""}}}
    with bench.fleet.operator() as operator:
        operator.deliver(f"{PREFIX}one/up/schema", json.dumps(words).encode(), retain=True)
    assert "newer" in bench.run("config", "set", "one", "name=a", code=1).stderr


def test_a_revoked_board_is_in_no_group_and_holds_up_none(bench: Bench) -> None:
    store = bench.fleet.store()
    store.expect(["good", "bad"])
    words = Schema(None).words
    words["name"] = {**words["name"], "longest": 1}
    ConfigStore(store).learn({"bad": {"schema": json.dumps({"settings": words})}})
    bench.run("group", "set", "g", "id=nobody")
    bench.run("config", "set", "--group", "g", "name=long")
    assert "bad: " in bench.run("group", "set", "g", "id=*", code=1).stderr
    store.revoke("bad")
    made = bench.json("group", "set", "g", "id=*")
    assert (made["members"], made["published"]) == (["good"], ["good"])
    assert bench.json("group", "members", "g") == ["good"]
    assert [group["members"] for group in bench.json("group", "list")] == [1]
    assert bench.json("group", "delete", "g", "--yes")["published"] == ["good"]
