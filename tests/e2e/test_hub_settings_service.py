# SPDX-License-Identifier: MIT
"""The hub publishes settings by what boards say, also of what they said while it was down."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from fleetling.config.layers import FLEET, Group, Layer, Scope
from fleetling.config.reconcile import Published
from fleetling.config.store import ConfigStore
from fleetling.demo.fleet import HOST, TemporaryFleet
from fleetling.fleet.operator import Operator
from fleetling.fleet.state import PREFIX
from fleetling.hub import settings
from fleetling.hub.settings import SettingsKeeper


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[TemporaryFleet]:
    made = TemporaryFleet(tmp_path, broker="mosquitto")
    with made.broker:
        yield made


@contextmanager
def keeper(fleet: TemporaryFleet, name: str = "1") -> Iterator[SettingsKeeper]:
    certificate, key = fleet.write(f"hub-{name}", fleet.authority.client("hub", 2))
    with SettingsKeeper(
        ConfigStore(fleet.store()),
        HOST,
        fleet.files.port,
        ca=fleet.ca,
        certificate=certificate,
        key=key,
        name=name,
    ) as made:
        yield made


def say(operator: Operator, name: str, topic: str, document: object) -> None:
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    operator.deliver(f"{PREFIX}{name}/{topic}", payload, retain=True)


def comes(holds: Callable[[], bool], seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()


def grouped(fleet: TemporaryFleet) -> ConfigStore:
    store = ConfigStore(fleet.store())
    store.set_group(Group("new", "agent>=2"))
    store.change([Layer(Scope("group", "new"), {"heartbeat_s": 5})], by="test")
    return store


def sent(store: ConfigStore, name: str) -> Published | None:
    found = store.published(name)
    return found if found is not None and found.sent else None


def test_a_board_that_comes_into_a_group_gets_its_settings(fleet: TemporaryFleet) -> None:
    store = grouped(fleet)
    with fleet.operator() as operator, keeper(fleet) as hub:
        say(operator, "a", "up/birth", {"agent": "1.0"})
        say(operator, "b", "up/birth", {"agent": "2.0"})
        assert comes(lambda: sent(store, "b") == Published(1, {"heartbeat_s": 5}))
        assert comes(lambda: store.state().of("a").birth == {"agent": "1.0"})
        assert store.published("a") is None  # nothing is set for it anywhere
        say(operator, "a", "up/birth", {"agent": "2.1"})
        assert comes(lambda: sent(store, "a") == Published(1, {"heartbeat_s": 5}))
        say(operator, "a", "up/birth", {"agent": "1.9"})  # and back
        assert comes(lambda: sent(store, "a") == Published(2, {}))
        assert comes(lambda: hub.published == 3) and hub.malformed == 0


def test_what_was_said_while_no_hub_was_there_counts(fleet: TemporaryFleet) -> None:
    store = grouped(fleet)
    with fleet.operator() as operator:
        say(operator, "a", "up/birth", {"agent": "2.0"})
        with keeper(fleet):
            assert comes(lambda: sent(store, "a") is not None)


def test_a_broker_that_restarts_is_found_again(fleet: TemporaryFleet) -> None:
    store = grouped(fleet)
    with keeper(fleet):
        fleet.broker.stop()
        fleet.broker.start()
        with fleet.operator() as operator:
            say(operator, "a", "up/birth", {"agent": "2.0"})
        assert comes(lambda: sent(store, "a") is not None)


def test_malformed_input_is_counted_and_harms_nothing(fleet: TemporaryFleet) -> None:
    store = grouped(fleet)
    with fleet.operator() as operator, keeper(fleet) as hub:
        wrong: list[tuple[str, str, object]] = [
            ("a", "up/birth", b"\xff"),
            ("a", "up/birth", b"[]"),
            ("a", "up/birth", b"[" * 3000),
            ("a", "up/schema", {}),
            ("a", "up/schema", {"settings": 3}),
            ("a", "up/reported", b'"' + b"x" * 9000 + b'"'),
            ("A-B", "up/birth", {}),
            ("x" * 60, "up/birth", {}),
        ]
        say(operator, "z", "up/birth", {"agent": "1.0"})
        assert comes(lambda: store.state().of("z").birth != {})  # it listens now
        for name, topic, document in wrong:
            say(operator, name, topic, document)
        say(operator, "a", "up/schema", {"settings": {"x": 3}})  # no sense, but a schema's form
        say(operator, "a", "up/reported", {"config": 7, "keys": [], "version": "x"})
        say(operator, "b", "up/birth", {"agent": ["2"], "board": 3})
        say(operator, "c", "up/birth", {"agent": "2.0"})
        assert comes(lambda: sent(store, "c") is not None)
        assert comes(lambda: hub.malformed == len(wrong)), hub.malformed


def test_a_bug_that_one_board_meets_keeps_nothing_from_the_others(
    fleet: TemporaryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = grouped(fleet)
    learn = ConfigStore.learn

    def failing(self: ConfigStore, found: Any) -> None:
        if "bad" in found:
            raise TypeError("a bug")
        learn(self, found)

    monkeypatch.setattr(ConfigStore, "learn", failing)
    with fleet.operator() as operator:
        for name in ("a", "bad", "c"):
            say(operator, name, "up/birth", {"agent": "2.0"})
        with keeper(fleet):
            assert comes(lambda: sent(store, "a") is not None and sent(store, "c") is not None)
            say(operator, "d", "up/birth", {"agent": "2.0"})
            assert comes(lambda: sent(store, "d") is not None)


def test_two_hubs_and_an_operator_end_with_the_newest(fleet: TemporaryFleet) -> None:
    store = grouped(fleet)
    names = [f"b{number}" for number in range(10)]
    kept: dict[str, bytes] = {}
    with fleet.operator() as operator, keeper(fleet, "1"), keeper(fleet, "2"):

        def speak() -> None:
            for number in range(3):
                for name in names:
                    say(operator, name, "up/birth", {"agent": f"{1 + number % 2}.0"})

        speaker = threading.Thread(target=speak)
        speaker.start()
        for number in range(5):
            layer = store.state().layers.get(FLEET)
            store.change([Layer(FLEET, {"role": str(number)}, layer.number)], by="test")
            time.sleep(0.1)
        speaker.join()
        for name in names:  # their facts are in, so the next word decides
            say(operator, name, "up/birth", {"agent": "2.0"})
        wanted = {"heartbeat_s": 5, "role": "4"}
        for name in names:
            assert comes(
                lambda name=name: (
                    (found := sent(store, name)) is not None  # type: ignore[misc]
                    and found.config == wanted
                )
            )
    # What the broker keeps is that.
    with fleet.operator() as operator:
        operator._client.on_message = lambda *a: kept.update({a[2].topic: a[2].payload})
        operator._client.subscribe(f"{PREFIX}+/down/desired", 1)
        assert comes(lambda: sum("desired" in topic for topic in kept) == len(names))
    for name in names:
        found = json.loads(kept[f"{PREFIX}{name}/down/desired"])
        last = store.published(name)
        assert last is not None and (found["version"], found["config"]) == (last.version, wanted)
        assert found["epoch"] == store.epoch


def test_a_database_that_is_away_is_waited_for(
    fleet: TemporaryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "RETRY_S", 0.1)
    store = grouped(fleet)
    learn, times = ConfigStore.learn, [3]

    def away(self: ConfigStore, found: dict[str, dict[str, str]]) -> None:
        if times[0]:
            times[0] -= 1
            raise OperationalError("INSERT", None, Exception("away"))
        learn(self, found)

    monkeypatch.setattr(ConfigStore, "learn", away)
    with fleet.operator() as operator, keeper(fleet):
        say(operator, "a", "up/birth", {"agent": "2.0"})
        assert comes(lambda: sent(store, "a") is not None)
