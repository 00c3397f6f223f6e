# SPDX-License-Identifier: MIT
"""Assignments, reports and their words: what is typed, what boards say."""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
import time
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetling.errors import FleetlingError
from fleetling.fleet.state import Device, FleetState
from fleetling.hub.health import HealthKeeper
from fleetling.hub.metrics import FleetCollector
from fleetling.update.assignment import Assignment, moment, new_id, span, spread
from fleetling.update.picture import as_data, in_a_line
from fleetling.update.standing import RESCUE, STATES, At, Report, standing
from fleetling.update.words import CODES, bar, code_words, mark, sentence

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools/fleetling/simboard/shims")]
order: Any = importlib.import_module("agent.update.order")
ASSIGNED = {"id": "one", "targets": ["pump/1.2.0.app"], "not_before": 1893466800}


def board(online: bool = True, assigned: Any = None, **update: Any) -> Device:
    return Device(
        "b", online=online, assigned=ASSIGNED if assigned is None else assigned, update=update
    )


def test_a_board_reads_what_is_assigned() -> None:
    made = Assignment(new_id(), ("pump/1.2.0.app", "esp32/1.26.0.fw"), 5, 7, 60)
    found = order.parse(made.message())
    assert (found["id"], tuple(found["targets"])) == (made.id, made.targets)
    assert (found["not_before"], found["deadline"], found["jitter_s"]) == (5, 7, 60)
    assert Assignment.read(json.loads(made.message())) == made
    assert order.parse(Assignment(new_id()).message())["targets"] == []
    assert Assignment.read(json.loads(Assignment("x").message())) is None


def test_times() -> None:
    now = time.time()
    assert abs(moment("+1h30m") - now - 5400) < 5 and abs(moment("+90") - now - 90) < 5
    assert moment("2030-01-01T03:00") == moment("2030-01-01T04:00+01:00") == 1893466800
    assert (span("15m"), span("90"), span("1d2h")) == (900, 90, 93600)
    for text in ("", "+", "tomorrow", "+2x", "2h", "+2h3", "25:00"):
        with pytest.raises(FleetlingError):
            moment(text)
    assert [spread(count) for count in (1, 2, 300, 9000)] == [None, 2, 300, 3600]


@pytest.mark.parametrize(
    ("device", "at", "text"),
    [
        (board(assigned={}), At.NONE, "nothing is assigned"),
        (board(assigned={"id": "x", "targets": []}, state="idle"), At.NONE, "nothing is assigned"),
        (board(assigned={}, state="confirmed", id="old"), At.NONE, "runs it for good"),
        (board(False), At.AWAY, "takes it when it comes"),
        (board(False, state="confirmed", id="old"), At.AWAY, "takes it when it comes"),
        (board(state="confirmed", id="old"), At.PENDING, "has not answered"),
        (board(state="fetching", id="one"), At.OPEN, "fetches"),
        (board(False, state="switching", id="one"), At.OPEN, "and is away"),
        (board(state="assigned", id="one", why="not-before"), At.OPEN, "2030-01-01 03:00 UTC"),
        (board(state="waiting", id="one", why="window"), At.OPEN, "waits for its window"),
        (board(state="waiting", id="one", why="clock"), At.OPEN, "knows the time"),
        (board(state="waiting", id="one", why="moon"), At.OPEN, "moon"),
        (board(state="waiting", id="one", why="requires"), At.HELD, "held"),
        (board(state="idle", id="one", code="same"), At.DONE, "runs this already"),
        (board(state="confirmed", id="one"), At.DONE, "runs it for good"),
        (board(state="confirmed", id="one", app="1.2.0"), At.DONE, "runs it for good"),
        (board(state="confirmed", id="one", app="1.1.0"), At.PENDING, "has not answered"),
        (board(state="confirmed", id="one", firmware="1.1.0"), At.DONE, "runs it for good"),
        (board(state="failed", id="one", code="update-space"), At.BAD, "no room"),
        (board(state="refused", id="one", code="tuf-hash"), At.BAD, "release verify"),
        (board(state="reverted", id="one", code="trial-crash"), At.BAD, "fleetling crash b"),
        (board(state="reverted", id="one", code="new-code"), At.BAD, "new-code"),
        (board(False, state="rescue", code="rescue-none"), At.AWAY, "fleetling flash"),
        (board(False, assigned={}, state="rescue", code="rescue-tls"), At.NONE, "fleet's CA"),
    ],
)
def test_standings_and_their_sentences(device: Device, at: At, text: str) -> None:
    found = standing(device)
    assert found.at is at and text in sentence(found), sentence(found)
    assert mark(found) and in_a_line(found) and json.dumps(as_data(found))


def test_an_assignment_of_something_else_is_none() -> None:
    device = board(state="confirmed", id="one")
    assert standing(device, ("pump/1.2.0.app",)).at is At.DONE
    assert standing(device, ("pump/1.3.0.app",)).at is At.NONE


def test_what_can_be_taken_back() -> None:
    for state in STATES:
        found = standing(board(state=state, id="one"))
        early = state in ("idle", "assigned", "fetching", "verified", "waiting")
        assert found.recallable == early, state
    assert standing(board(False)).recallable and not standing(board(assigned={})).recallable


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
WORDS = ("state", "id", "targets", "code", "detail", "why", "done", "of", "at", "app", "tries")


# A busy machine is no reason to fail.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(st.sampled_from(WORDS), JSON), st.dictionaries(st.sampled_from(WORDS), JSON)
)
def test_whatever_a_board_says_it_is_shown_safely(
    update: dict[str, Any], assigned: dict[str, Any]
) -> None:
    state = FleetState()
    for topic, document in (("up/update", update), ("down/update", assigned)):
        state.apply(f"fleetling/v1/b/{topic}", json.dumps(document).encode(), 1.0)
    found = standing(state.devices["b"])
    for text in (sentence(found), mark(found), in_a_line(found), bar(found.report.share)):
        assert text.isprintable()
    json.dumps(as_data(found))


def test_an_empty_assignment_is_none_and_no_sign_of_life() -> None:
    state = FleetState()
    topic = "fleetling/v1/b/down/update"
    state.apply(topic, json.dumps(ASSIGNED).encode(), 7.0)
    assert standing(state.devices["b"]).at is At.AWAY and state.devices["b"].last_seen == 0
    state.apply(topic, b"", 8.0)
    assert standing(state.devices["b"]).at is At.NONE


def test_progress() -> None:
    report = Report.read({"state": "fetching", "done": 430, "of": 1000})
    assert bar(report.share) == "████░░░░░░  43 %"
    assert bar(Report.read({"done": 5}).share) == ""
    assert bar(Report.read({"done": 9, "of": 3}).share) == "██████████ 100 %"


def test_the_hub_counts_states() -> None:
    fleet = FleetState()
    for number, state in enumerate(("confirmed", "confirmed", "failed", "moon", 7)):
        document = json.dumps({"state": state}).encode()
        fleet.apply(f"fleetling/v1/b{number}/up/update", document, 1.0)
    keeper = SimpleNamespace(lock=Lock(), state=fleet, stored=0, dropped=0, malformed=0)
    metrics = FleetCollector(cast(HealthKeeper, keeper)).collect()
    (found,) = [metric for metric in metrics if metric.name == "fleetling_devices"]
    counted = {sample.labels["update"]: sample.value for sample in found.samples}
    assert set(counted) == {*STATES, RESCUE} and sum(counted.values()) == 3
    assert (counted["confirmed"], counted["failed"]) == (2, 1)


def test_every_code_of_an_update_has_words() -> None:
    """What the board's update raises, and the trial's codes."""
    codes = set()
    for path in (ROOT / "agent/update").rglob("*.py"):
        text = path.read_text()
        codes |= set(re.findall(r'"(trial-[a-z]+)"', text))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                *("AgentError", "Refused", "LinkError", "StorageError"),
            ):
                codes |= {
                    found.value
                    for found in ast.walk(node.args[0])
                    if isinstance(found, ast.Constant) and isinstance(found.value, str)
                }
    codes |= set(re.findall(r'"(rescue-[a-z]+)"', (ROOT / "rescue.py").read_text()))
    codes = {code for code in codes if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", code)}
    assert len(codes) > 30
    assert {code for code in codes if code_words(code)[0] == code} == set()
    assert all(what and not what.endswith(".") for what, _ in CODES.values())
