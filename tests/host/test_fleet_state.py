# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from typing import Any

import pytest

from fleetling.config.store import checked
from fleetling.fleet.state import KEPT_EVENTS, KEPT_REPLIES, FleetState


def send(state: FleetState, topic: str, document: Any) -> bool:
    return state.apply(f"fleetling/v1/{topic}", json.dumps(document).encode(), 1.0) is not None


def test_a_board_comes_goes_and_describes_itself() -> None:
    state = FleetState()
    assert send(state, "a/online", {"online": True, "boot": 3})
    assert send(state, "a/up/birth", {"agent": "0.1.0"})
    assert send(state, "a/up/health", {"uptime_s": 5})
    device = state.devices["a"]
    assert (device.online, device.boot, device.heartbeats) == (True, 3, 1)
    assert send(state, "a/online", {"online": False})
    assert not device.online and device.boot == 3


def test_a_second_copy_of_an_event_is_no_news_and_a_gap_is_counted() -> None:
    state = FleetState()
    assert send(state, "a/up/event", {"seq": 4, "code": "boot"})
    assert not send(state, "a/up/event", {"seq": 4, "code": "boot"})
    assert send(state, "a/up/event", {"seq": 7, "code": "boot"})
    assert state.devices["a"].missed_events == 2
    assert [event["seq"] for event in state.devices["a"].events] == [4, 7]


def test_an_event_without_a_number_is_kept_and_counts_for_nothing() -> None:
    state = FleetState()
    for number, code in ((7, "boot"), (0, "rescue"), (8, "boot")):
        event = json.dumps({"seq": number, "code": code}).encode()
        state.apply("fleetling/v1/a/up/event", event, 1.0)
    device = state.devices["a"]
    assert [event["code"] for event in device.events] == ["boot", "rescue", "boot"]
    assert (device.last_event, device.missed_events) == (8, 0)


def test_what_is_malformed_or_foreign_changes_nothing() -> None:
    state = FleetState()
    for topic, payload in (
        ("other/a/online", b"{}"),
        ("fleetling/v1/a/online", b""),
        ("fleetling/v1/a/online", b"\xff"),
        ("fleetling/v1/a/online", b"[]"),
        ("fleetling/v1/a/online", b"[" * 3000),
        ("fleetling/v1//online", b"{}"),
    ):
        assert state.apply(topic, payload, 1.0) is None
    assert state.devices == {} and state.malformed == 4
    assert not send(state, "a/up/event", {"seq": "7"})
    assert not send(state, "a/up/reply", {"id": 7})
    assert not send(state, "a/up/nothing", {})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_number_that_json_does_not_have_is_malformed(number: str) -> None:
    state = FleetState()
    payload = b'{"up":1,"m":[%s]}' % number.encode()
    assert state.apply("fleetling/v1/a/up/health", payload, 1.0) is None and state.malformed == 1
    assert checked("birth", payload) is None


def test_what_is_kept_is_bounded() -> None:
    state = FleetState()
    for number in range(1, 500):
        send(state, "a/up/event", {"seq": number, "code": "x"})
        send(state, "a/up/reply", {"id": str(number)})
    device = state.devices["a"]
    assert len(device.events) == KEPT_EVENTS and len(device.replies) == KEPT_REPLIES
    assert "499" in device.replies


def test_a_claim_is_no_device() -> None:
    state = FleetState()
    assert state.apply("fleetling/v1/claim-dev/up/enrol", b'{"csr":""}', 1.0) is None
    assert state.devices == {} and state.malformed == 0
