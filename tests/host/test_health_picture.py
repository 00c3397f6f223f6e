# SPDX-License-Identifier: MIT
"""Figures and events as people see them; boards may say anything."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from fleetling.cli.looking import event_text
from fleetling.errors import FleetlingError
from fleetling.fleet.state import Device, FleetState
from fleetling.health.picture import (
    age,
    figure,
    needs_help,
    open_alerts,
    since,
    spark,
    state_of,
)
from fleetling.health.trace import frames
from fleetling.hub.health import HealthKeeper
from fleetling.hub.metrics import FleetCollector

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
WORDS = st.sampled_from(["m", "heap", "seq", "code", "alert", "metric", "raised", "trace", "mode"])


def test_sparks_span_their_own_range_and_show_gaps() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert spark([5, 5], 8) == "▄▄" and spark([], 8) == "" and spark([None], 8) == ""
    assert spark([1, None, 9], 8) == "▁·█" and spark([1, 2, 3, 9], 2) == "▁█"


def test_spans_of_time() -> None:
    assert [age(n) for n in (-5, 0, 119, 120, 7199, 7200, 172800)] == [
        *("0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "2 d"),
    ]
    assert since("90s") == 90 and since(" 2h ") == 7200 and since("7d") == 604800
    for wrong in ("", "2", "h", "-1h", "2 h", "1y", "9999999s"):
        with pytest.raises(FleetlingError, match="no time span"):
            since(wrong)


def alert(raised: bool, metric: str = "heap", kind: str = "leak") -> dict[str, Any]:
    return {"code": "alert", "metric": metric, "kind": kind, "raised": raised}


def test_an_alert_is_open_until_it_is_cleared_or_forgotten() -> None:
    assert open_alerts([alert(True)]) == [alert(True)]
    assert open_alerts([alert(True), alert(False)]) == []
    assert open_alerts([alert(True), alert(False, "rssi")]) == [alert(True)]
    assert open_alerts([alert(True), {"code": "boot"}]) == []


def test_what_needs_help_comes_first() -> None:
    fine, away, bad, safe = Device("a", online=True), Device("b"), Device("c", online=True), None
    bad.events.append(alert(True))
    safe = Device("d", online=True, birth={"mode": "safe"})
    order = sorted([fine, away, bad, safe], key=lambda d: (needs_help(d), d.id))
    assert [device.id for device in order] == ["c", "d", "b", "a"]
    assert [state_of(d) for d in (fine, away, safe)] == ["online", "away", "safe mode"]


@given(st.lists(st.dictionaries(WORDS | st.text(max_size=4), ANY, max_size=5), max_size=6))
def test_nothing_that_a_board_says_breaks_the_picture(documents: list[dict[str, Any]]) -> None:
    state = FleetState()
    for document in documents:
        for topic in ("online", "up/birth", "up/health", "up/reported", "up/crash", "up/event"):
            payload = json.dumps(document).encode()
            state.apply(f"fleetling/v1/x/{topic}", payload, 1.0)
    device = state.devices.get("x", Device("x"))
    assert state_of(device) and needs_help(device) in (0, 1, 2)
    open_alerts(device.events)
    assert figure(device.health, "heap") is None or isinstance(figure(device.health, "heap"), int)
    frames(device.crash, device.birth.get("agent"), None)
    for event in device.events:
        assert event_text(event).isprintable()


@pytest.mark.parametrize("name", ["a\0.py", "\ud800.py", "a" * 5000 + ".py", "agent/\0.py"])
def test_a_file_that_cannot_be_has_no_lines(name: str, tmp_path: Path) -> None:
    found = frames({"trace": [[name, 1, "main"]]}, tmp_path, tmp_path)
    assert [frame.source for frame in found] == [""]


@pytest.mark.parametrize("value", [10**400, -(10**400), True, 0, 2**53 - 1, 2**53])
def test_no_number_of_a_board_takes_the_figures_of_all_away(value: int) -> None:
    state = FleetState()
    for name in ("bad", "good"):
        for topic, key in (("online", "boot"), ("up/health", "up"), ("up/reported", "version")):
            text = json.dumps({"online": True, key: value if name == "bad" else 7})
            state.apply(f"fleetling/v1/{name}/{topic}", text.encode(), 1.0)
    keeper = SimpleNamespace(lock=Lock(), state=state, stored=0, dropped=0, malformed=0)
    registry = CollectorRegistry()
    registry.register(FleetCollector(cast(HealthKeeper, keeper)))
    text = generate_latest(registry).decode()
    assert 'fleetling_device_boots_total{device="good"} 7.0' in text
    assert ('uptime_seconds{device="bad"}' in text) is (abs(value) < 2**53)


def test_numbers_that_began_again_are_no_copies() -> None:
    state = FleetState()

    def say(seq: int, **more: Any) -> bool:
        payload = json.dumps({"seq": seq, "code": "boot", **more}).encode()
        return state.apply("fleetling/v1/a/up/event", payload, 1.0) is not None

    assert say(4, boot=1) and say(5, boot=2) and not say(5, boot=2) and not say(4, boot=1)
    assert say(1, boot=3) and not say(1, boot=3) and say(2, boot=4)  # the file system was new
    assert state.devices["a"].missed_events == 0
