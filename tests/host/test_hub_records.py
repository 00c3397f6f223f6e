# SPDX-License-Identifier: MIT
"""Heartbeats, events and crashes in the hub's database: once each, the newest of each device."""

from __future__ import annotations

import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fleetling.hub import records
from fleetling.hub.records import TRIM_EVERY, Message, Records
from fleetling.registry import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/hub.db")


def beat(device: str, up: int, kind: str = "health") -> Message:
    return Message(device, kind, 1000.0 + up, {"boot": 1, "up": up, "m": {"heap": [1, 2, 3, 4]}})


def test_the_same_is_stored_once_whenever_it_comes(store: Store) -> None:
    records = Records(store)
    assert records.add([beat("a", 1), beat("a", 1), beat("a", 2)]) == 2
    assert records.add([beat("a", 2), beat("b", 2), beat("a", 3)]) == 2
    assert Records(store).add([beat("a", 1, "event"), beat("a", 1)]) == 1
    assert [m.document["up"] for m in records.newest("health", ["a"])] == [1, 2, 3]
    assert {m.device_id for m in records.newest("health")} == {"a", "b"}
    assert records.add([]) == 0


def test_the_newest_of_each_device_stay(store: Store) -> None:
    records = Records(store, {"health": 50})
    records.add([beat("quiet", 1), beat("loud", 1, "event")])
    for up in range(1, 1001):
        records.add([beat("loud", up)])
    found = records.newest("health", ["loud"], limit=10_000)
    assert 50 <= len(found) < 50 + TRIM_EVERY and found[-1].document["up"] == 1000
    assert len(records.newest("health", ["quiet"])) == len(records.newest("event", ["loud"])) == 1


def test_a_hub_that_is_started_often_keeps_no_more(store: Store) -> None:
    for start in range(40):
        records = Records(store, {"event": 20})
        records.add([beat("a", 10 * start + n, "event") for n in range(10)])
    assert len(Records(store).newest("event")) <= 20 + 10


def test_a_clock_that_was_ahead_pushes_out_nothing_that_comes(store: Store) -> None:
    records, now = Records(store, {"health": 20}), time.time()
    for start, count in ((now + 1e8, 60), (now - 1000, 3 * TRIM_EVERY - 60)):
        for up in range(count):
            message = Message("a", "health", start + up, {"up": up, "of": start})
            records.add([message])
            if start < now and up > 20:
                found = records.newest("health", ["a"], limit=9999)
                assert sum(m.at < now for m in found) >= 20


def test_a_clock_that_is_behind_takes_no_history_away(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    before = Records(store, {"health": 20})
    before.add([Message("a", "health", now + up, {"up": up}) for up in range(40)])

    class Behind(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(now - 86400, tz)

    monkeypatch.setattr(records, "datetime", Behind)
    Records(store, {"health": 20}).add([Message("a", "health", now - 86400, {"up": 0, "new": 1})])
    found = before.newest("health", ["a"], limit=9999)
    assert [m.document["up"] for m in found] == [0, *range(21, 40)]


def test_newest_by_time_and_number_oldest_first(store: Store) -> None:
    records = Records(store)
    records.add([beat("a", up) for up in (5, 1, 3, 2, 4)])
    assert [m.document["up"] for m in records.newest("health", limit=2)] == [4, 5]
    assert [m.document["up"] for m in records.newest("health", since=1003.0)] == [3, 4, 5]
    assert records.newest("health", ["a"])[0].at == 1001.0


def test_two_hubs_store_the_same_at_once_and_it_is_there_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.db"
    Records(Store(url))
    stored: list[int] = []

    def hub() -> None:
        records = Records(Store(url))
        stored.append(sum(records.add([beat("a", n), beat("a", n + 1)]) for n in range(100)))

    hubs = [threading.Thread(target=hub) for _ in range(2)]
    for thread in hubs:
        thread.start()
    for thread in hubs:
        thread.join()
    assert sum(stored) == 101 == len(Records(Store(url)).newest("health"))


def test_how_fast_it_is(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    records = Records(store)
    messages = [beat(f"d{n % 200}", n) for n in range(10_000)]
    started = time.perf_counter()
    texts = [message.text for message in messages]
    bare = time.perf_counter() - started
    started = time.perf_counter()
    for start in range(0, len(messages), 500):
        records.add(messages[start : start + 500])
    took = time.perf_counter() - started
    with capsys.disabled():
        rate = len(texts) / took
        sys.stdout.write(
            f"\n{rate:.0f} heartbeats a second into SQLite; {took / bare:.0f} times JSON\n"
        )
    assert len(records.newest("health", limit=20_000)) == len(messages)
