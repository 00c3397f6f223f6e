# SPDX-License-Identifier: MIT
"""Crash records that are unusual in some way: they arrive, and keep nothing else from arriving."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_application import app
from test_settings import wish

from fleetling.demo.virtual import VirtualFleet

HEALTH_S = 130


@pytest.fixture
def fleet() -> VirtualFleet:
    return VirtualFleet()


def fresh(fleet: VirtualFleet) -> list[dict[str, Any]]:
    """The heartbeats that were not kept for later."""
    return [document for document in fleet.documents("up/health") if "late" not in document]


RAISING = """\
agent._runtime.log.error("app", chr(1) * 200)
agent._runtime.log.error("app", chr(1) * 200)
agent._runtime.log.error("app", chr(1) * 200)
agent._runtime.log.error("app", chr(1) * 200)
agent._runtime.log.error("app", chr(1) * 200)
await task.sleep(20)
raise ValueError(chr(2) * 500)
"""


@pytest.mark.parametrize("error", ["ValueError", "type('E' * 5000, (Exception,), {})"])
def test_one_that_is_long_on_the_wire_is_cut_to_a_message(fleet: VirtualFleet, error: str) -> None:
    files = app(RAISING.replace("ValueError", error))
    with fleet.board(app=files) as board:
        board.boot(HEALTH_S)
        assert fleet.documents("up/crash"), board.console
        assert fleet.documents("up/crash")[0]["text"].startswith(chr(2) * 100)
        assert len(fresh(fleet)) >= 2 and "fl/crash" not in board.files()
        assert any(event["code"] == "crash" for event in fleet.documents("up/event"))


SPOILT = {
    "a crash record from elsewhere": {"fl/crash": json.dumps({"text": "x" * 5000}).encode()},
    "a crash record that cannot be read": {"fl/crash/folder": b""},
    "heartbeats in no UTF-8": {"fl/health": b'\xff\xfe\n{"boot":1,"late":true}\n'},
    "heartbeats that are too long": {
        "fl/health": b'"%s"\n{"boot":1,"late":true}\n' % (b"x" * 5000)
    },
    "heartbeats that cannot be read": {"fl/health/folder": b""},
}


@pytest.mark.parametrize("files", SPOILT.values(), ids=SPOILT)
def test_what_is_spoilt_keeps_no_heartbeat_back(
    fleet: VirtualFleet, files: dict[str, bytes]
) -> None:
    with fleet.board(files=files) as board:
        board.boot(HEALTH_S)
        assert len(fresh(fleet)) >= 2, board.console
        late = [document for document in fleet.documents("up/health") if "late" in document]
        assert late or b"late" not in files.get("fl/health", b"")


def test_one_that_is_noted_while_others_are_sent_is_sent_too(fleet: VirtualFleet) -> None:
    kept = [{"boot": 0, "up": n, "late": True} for n in range(40)]
    lines = b"".join([json.dumps(line).encode() + b"\n" for line in kept])
    fleet.host.latency = 0.5
    files = app("await task.sleep(75 + 10_000 * task.restarts)\nraise ValueError('once')\n")
    with fleet.board(app=files, files={"fl/health": lines}) as board:
        board.boot(200)
        assert fleet.documents("up/crash"), board.console


SECRET = "o\\\"'pen\\é7"


@pytest.mark.parametrize(
    "what",
    ["{'password': secret}", "('no', secret)", "secret.encode()", "'%r' % secret", "secret"],
)
def test_a_secret_is_struck_out_however_it_is_quoted(fleet: VirtualFleet, what: str) -> None:
    files = app(f"secret = agent.config['token']\nraise ValueError({what})")
    files["settings.json"] = json.dumps(
        {
            "token": {"type": "str", "default": "", "secret": True},
            "user": {"type": "str", "default": "", "secret": True},
        }
    ).encode()
    with fleet.board(app=files) as board:
        board.boot(2)
        wish(fleet, 1, {"app.token": SECRET, "app.user": SECRET[:5]})
        board.run(60)
        texts = [document["text"] for document in fleet.documents("up/crash")]
        assert texts and "***" in texts[-1] and "pen" not in texts[-1] and "7" not in texts[-1]
