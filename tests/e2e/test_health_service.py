# SPDX-License-Identifier: MIT
"""The hub keeps what boards say of their health, also what they said while it was down."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from test_hub_settings_service import comes

from fleetling.broker.process import free_port
from fleetling.demo.application import APPLICATION
from fleetling.demo.fleet import HOST, TemporaryFleet
from fleetling.fleet.operator import Operator
from fleetling.fleet.state import PREFIX
from fleetling.hub import health, metrics
from fleetling.hub.health import HealthKeeper
from fleetling.hub.records import Message, Records


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[TemporaryFleet]:
    made = TemporaryFleet(tmp_path, broker="mosquitto")
    with made.broker:
        yield made


@contextmanager
def keeper(fleet: TemporaryFleet, records: Records | None = None) -> Iterator[HealthKeeper]:
    certificate, key = fleet.write("hub", fleet.authority.client("hub", 2))
    with HealthKeeper(
        records or Records(fleet.store()),
        HOST,
        fleet.files.port,
        ca=fleet.ca,
        certificate=certificate,
        key=key,
    ) as made:
        yield made


def say(operator: Operator, topic: str, document: object) -> None:
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    operator.deliver(f"{PREFIX}{topic}", payload)


def numbers(fleet: TemporaryFleet) -> list[int]:
    return [message.document["seq"] for message in Records(fleet.store()).newest("event")]


def event(seq: int) -> dict[str, object]:
    return {"seq": seq, "up": seq, "code": "boot", "boot": seq}


def test_events_that_come_while_no_hub_is_up_wait_for_it(fleet: TemporaryFleet) -> None:
    with fleet.operator() as operator:
        with keeper(fleet) as hub:
            assert hub.listening.wait(10)
            say(operator, "a/up/event", event(1))
            assert comes(lambda: numbers(fleet) == [1])
        for number in (2, 3, 3, 4):
            say(operator, "a/up/event", event(number))
        with keeper(fleet) as hub:
            assert comes(lambda: numbers(fleet) == [1, 2, 3, 4])
            assert hub.malformed == hub.dropped == 0


def test_nothing_is_acknowledged_before_it_is_stored(
    fleet: TemporaryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(Records):
        def add(self, messages: object) -> int:
            raise OperationalError("insert", {}, Exception("away"))

    monkeypatch.setattr(health, "RETRY_S", 0.1)
    with fleet.operator() as operator:
        with keeper(fleet, Away(fleet.store())) as hub:
            assert hub.listening.wait(10)
            say(operator, "a/up/event", event(1))
            assert comes(lambda: bool(hub.state.devices))
        assert numbers(fleet) == []
        with keeper(fleet):
            assert comes(lambda: numbers(fleet) == [1])


def test_what_nobody_foresaw_ends_neither_the_worker_nor_the_connection(
    fleet: TemporaryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Records):
        def add(self, messages: Iterable[Message]) -> int:
            found = list(messages)
            if any(message.device_id == "bad" for message in found):
                raise TypeError("a bug")
            return super().add(found)

    with fleet.operator() as operator, keeper(fleet, Broken(fleet.store())) as hub:
        assert hub.listening.wait(10)
        apply = hub.state.apply

        def failing(topic: str, *rest: Any) -> Any:
            if "/worse/" in topic:
                raise TypeError("another")
            return apply(topic, *rest)

        monkeypatch.setattr(hub.state, "apply", failing)
        for name, number in (("a", 1), ("bad", 2), ("worse", 3), ("b", 4)):
            say(operator, f"{name}/up/event", event(number))
        assert comes(lambda: numbers(fleet) == [1, 4]), numbers(fleet)
        assert (hub.dropped, hub.malformed) == (1, 1)


def test_heartbeats_are_dropped_before_events_when_the_database_is_slow(
    fleet: TemporaryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()

    class Slow(Records):
        def add(self, messages: list[Message]) -> int:  # type: ignore[override]
            goes_on.wait(30)
            return super().add(messages)

    monkeypatch.setattr(health, "WAITING", 20)
    with fleet.operator() as operator, keeper(fleet, Slow(fleet.store())) as hub:
        assert hub.listening.wait(10)
        for up in range(100):
            beat = json.dumps({"boot": 1, "up": up, "m": {}}).encode()
            operator._client.publish(f"{PREFIX}a/up/health", beat, qos=0)  # as boards do
        for number in range(1, 31):
            say(operator, "a/up/event", event(number))
        assert comes(lambda: hub.dropped > 50)
        goes_on.set()
        assert comes(lambda: numbers(fleet) == list(range(1, 31)))


def test_what_ends_a_listener_ends_the_command_that_waits(fleet: TemporaryFleet) -> None:
    # As `fleetling watch | head -1`: the network's thread writes into the pipe.
    def tell(*_: object) -> None:
        raise BrokenPipeError

    with fleet.operator(tell) as operator:
        say(operator, "a/up/event", event(1))
        with pytest.raises(BrokenPipeError):
            operator.wait(lambda _: False, 20)


def test_malformed_messages_are_counted_and_end_nothing(fleet: TemporaryFleet) -> None:
    with fleet.operator() as operator, keeper(fleet) as hub:
        assert hub.listening.wait(10)
        for payload in (b"[" * 3000, b"\xff", b"[]", b'{"x":"' + b"x" * 9000 + b'"}'):
            say(operator, "a/up/health", payload)
        say(operator, "Bad Name/up/event", event(1))
        say(operator, "a/up/event", event(1))
        assert comes(lambda: numbers(fleet) == [1])
        assert hub.malformed == 5


def test_a_board_that_crashes_is_kept_and_measured(fleet: TemporaryFleet) -> None:
    board = fleet.board(fleet.provision("dev", settings={"heartbeat_s": 1}), app=APPLICATION)
    port = free_port()
    with fleet.operator() as operator, keeper(fleet) as hub:
        server = metrics.serve(hub, str(port))
        try:
            board.start()
            assert operator.wait(
                lambda s: "dev" in s.devices and s.devices["dev"].heartbeats > 1, 20
            )
            document = {"version": 1, "epoch": "t", "config": {"app.fault": "crash"}}
            topic = f"{PREFIX}dev/down/desired"
            operator.publish(topic, json.dumps(document).encode(), retain=True)
            records = Records(fleet.store())
            assert comes(lambda: bool(records.newest("crash", ["dev"])), 30)
            (crash, *_) = records.newest("crash", ["dev"])
            assert crash.document["trace"][-1][0] == "app.py"
            assert crash.document["error"] == "ValueError"
            assert len(records.newest("health", ["dev"])) > 1
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                text = page.read().decode()
        finally:
            server.shutdown()
            board.stop()
    assert 'fleetling_device_heap_free_bytes{device="dev"}' in text
    assert 'fleetling_device_boots_total{device="dev"}' in text
    assert "# TYPE fleetling_hub_messages_stored_total counter" in text
