# SPDX-License-Identifier: MIT
"""The rules of both brokers, tested by trying to break them over mutual TLS."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from fleetling.broker.config import BrokerFiles
from fleetling.broker.process import LocalBroker
from fleetling.demo.fleet import HOST, TemporaryFleet
from fleetling.pki import Identity, make_authority, revocation_list

BASE = "fleetling/v1/"


class Client:
    """A client over TLS that records what it hears; a context manager."""

    def __init__(self, fleet: TemporaryFleet, identity: Identity | None, *, claim: bool = False):
        self.heard: list[tuple[str, bytes]] = []
        self._granted: dict[int, list[Any]] = {}
        self._news = threading.Condition()
        self.connected = False
        name = f"test-{id(self)}"
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
        context = ssl.create_default_context(cafile=str(fleet.ca))
        if identity is not None:
            context.load_cert_chain(*fleet.write(name, identity))
        self._client.tls_set_context(context)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._port = fleet.files.claim_port if claim else fleet.files.port

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, props: Any) -> None:
        with self._news:
            self.connected = not reason.is_failure
            self._news.notify_all()

    def _on_message(self, client: Any, data: Any, message: mqtt.MQTTMessage) -> None:
        with self._news:
            self.heard.append((message.topic, bytes(message.payload)))
            self._news.notify_all()

    def _on_subscribe(self, client: Any, data: Any, mid: int, codes: Any, props: Any) -> None:
        with self._news:
            self._granted[mid] = codes
            self._news.notify_all()

    def __enter__(self) -> Client:
        try:
            self._client.connect(HOST, self._port)
        except (OSError, ssl.SSLError):
            return self
        self._client.loop_start()
        with self._news:
            self._news.wait_for(lambda: self.connected, 2)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def subscribe(self, topic: str) -> None:
        _, mid = self._client.subscribe(topic, 1)
        assert mid is not None
        with self._news:
            assert self._news.wait_for(lambda: mid in self._granted, 5)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    def hears(self, topic: str, payload: bytes, timeout_s: float = 5) -> bool:
        with self._news:
            return self._news.wait_for(lambda: (topic, payload) in self.heard, timeout_s)


@pytest.fixture(scope="module", params=["mosquitto", "amqtt"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[TemporaryFleet]:
    made = TemporaryFleet(tmp_path_factory.mktemp(request.param), broker=request.param)
    with made.broker:
        yield made


def device(fleet: TemporaryFleet, name: str) -> Client:
    return Client(fleet, fleet.authority.client(name, 2))


def claim(fleet: TemporaryFleet, name: str) -> Client:
    return Client(fleet, fleet.claims.claim(name, 2), claim=True)


def staff(fleet: TemporaryFleet, name: str = "operator") -> Client:
    return Client(fleet, fleet.authority.client(name, 2))


def test_a_board_says_and_hears_what_is_its_own(fleet: TemporaryFleet) -> None:
    with device(fleet, "a") as board, staff(fleet) as operator:
        operator.subscribe(f"{BASE}+/up/#")
        board.subscribe(f"{BASE}a/down/#")
        board.publish(f"{BASE}a/up/event", b"1")
        operator.publish(f"{BASE}a/down/command", b"2")
        assert operator.hears(f"{BASE}a/up/event", b"1")
        assert board.hears(f"{BASE}a/down/command", b"2")


FORBIDDEN_TO_SAY = ["b/up/event", "b/online", "a/down/command", "a", "claim-a/up/enrol", "x/y"]


@pytest.mark.parametrize("topic", FORBIDDEN_TO_SAY)
def test_a_board_cannot_say_what_is_not_its_own(fleet: TemporaryFleet, topic: str) -> None:
    with staff(fleet) as operator:
        operator.subscribe(f"{BASE}#")
        with device(fleet, "a") as board:
            board.publish(BASE + topic, b"forged")
        with device(fleet, "a") as board:
            board.publish(f"{BASE}a/up/event", topic.encode())
        # Order is kept, so what was said before this has been heard or dropped.
        assert operator.hears(f"{BASE}a/up/event", topic.encode())
        assert not [heard for heard in operator.heard if heard[1] == b"forged"]


FORBIDDEN_TO_HEAR = [
    "fleetling/v1/b/down/#",
    "fleetling/v1/+/down/command",
    "fleetling/v1/#",
    "fleetling/#",
    "#",
    "+/v1/b/down/command",
    "fleetling/v1/a/up/#",
    "$SYS/#",
]


@pytest.mark.parametrize("topic", FORBIDDEN_TO_HEAR)
def test_a_board_hears_nothing_of_others(fleet: TemporaryFleet, topic: str) -> None:
    with device(fleet, "a") as board, staff(fleet) as operator:
        board.subscribe(f"{BASE}a/down/#")
        board.subscribe(topic)
        operator.publish(f"{BASE}b/down/command", b"secret")
        with device(fleet, "b") as other:
            other.publish(f"{BASE}b/up/event", b"secret")
        board.publish(f"{BASE}a/up/event", b"own")
        operator.publish(f"{BASE}a/down/command", b"end")
        assert board.hears(f"{BASE}a/down/command", b"end")
        assert {heard[0] for heard in board.heard} == {f"{BASE}a/down/command"}


def test_a_claim_reaches_its_own_enrolment_alone(fleet: TemporaryFleet) -> None:
    with staff(fleet) as hub, claim(fleet, "a") as board:
        assert board.connected
        hub.subscribe(f"{BASE}#")
        board.subscribe(f"{BASE}claim-a/down/enrol")
        for topic in ("a/up/event", "a/up/enrol", "claim-b/up/enrol", "claim-a/up/event"):
            board.publish(BASE + topic, b"forged")
        board.publish(f"{BASE}claim-a/up/enrol", b"request")
        assert hub.hears(f"{BASE}claim-a/up/enrol", b"request")
        for topic in ("a/down/#", "claim-b/down/enrol", "#"):
            board.subscribe(topic if topic == "#" else BASE + topic)
        hub.publish(f"{BASE}a/down/command", b"secret")
        hub.publish(f"{BASE}claim-b/down/enrol", b"secret")
        hub.publish(f"{BASE}claim-a/down/enrol", b"answer")
        assert board.hears(f"{BASE}claim-a/down/enrol", b"answer")
        assert [heard for heard in hub.heard if heard[1] == b"forged"] == []
        assert {heard[1] for heard in board.heard} == {b"answer"}


def test_each_door_takes_its_own_authority_only(fleet: TemporaryFleet) -> None:
    with Client(fleet, fleet.claims.claim("a", 2)) as through_the_wrong_door:
        assert not through_the_wrong_door.connected
    with Client(fleet, fleet.authority.client("a", 2), claim=True) as the_other_way:
        assert not the_other_way.connected
    # A claim CA that went bad signs a name of the staff, or of a board: it stays a claim.
    with staff(fleet) as hub, Client(fleet, fleet.claims.client("operator", 2), claim=True) as bad:
        hub.subscribe(f"{BASE}#")
        bad.publish(f"{BASE}b/down/command", b"forged")
        bad.publish(f"{BASE}operator/up/enrol", b"end")
        assert hub.hears(f"{BASE}operator/up/enrol", b"end")
        assert len(hub.heard) == 1


def test_nobody_comes_in_without_a_certificate_of_ours(fleet: TemporaryFleet) -> None:
    stranger = make_authority("Fleetling demo fleet CA", days=2)  # the same name, another key
    for identity in (None, stranger.client("a", 2)):
        for door in (False, True):
            with Client(fleet, identity, claim=door) as client:
                assert not client.connected


def test_mosquitto_turns_away_who_was_revoked(tmp_path: Path) -> None:
    fleet = TemporaryFleet(tmp_path, broker="mosquitto")
    bad, good = fleet.authority.client("bad", 2), fleet.authority.client("good", 2)
    crl = tmp_path / "fleet.crl"
    crl.write_bytes(revocation_list(fleet.authority, [bad.certificate.serial_number]))
    files = BrokerFiles(**{**vars(fleet.files), "fleet_crl": crl})
    with LocalBroker(files, tmp_path):
        with Client(fleet, bad) as client:
            assert not client.connected
        with Client(fleet, good) as client:
            assert client.connected


def test_retained_state_waits_for_a_board_that_comes_later(fleet: TemporaryFleet) -> None:
    with staff(fleet) as operator:
        operator.publish(f"{BASE}late/down/desired", b"wanted", retain=True)
    time.sleep(0.2)
    with device(fleet, "late") as board:
        board.subscribe(f"{BASE}late/down/#")
        assert board.hears(f"{BASE}late/down/desired", b"wanted")
