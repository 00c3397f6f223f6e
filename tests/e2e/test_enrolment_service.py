# SPDX-License-Identifier: MIT
"""Enrolment against a real broker: a thousand claims at one hub, and who cheats or fails."""

from __future__ import annotations

import base64
import json
import queue
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy.exc import OperationalError

from fleetling.demo.fleet import HOST, TemporaryFleet
from fleetling.fleet.state import PREFIX
from fleetling.hub import service
from fleetling.hub.enrol import Enroller
from fleetling.pki import Identity, make_authority

BOARDS = 1000
AT_ONCE = 20
PATIENCE_S = 20


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[TemporaryFleet]:
    made = TemporaryFleet(tmp_path, broker="mosquitto")
    with made.broker:
        yield made


def request(name: str, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    csr = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return json.dumps({"csr": base64.b64encode(csr.public_bytes(Encoding.DER)).decode()}).encode()


class Refused(Exception):
    """The broker did not let it in."""


class Client:
    """What a board says over one of the doors, and what it hears; a context manager."""

    def __init__(self, fleet: TemporaryFleet, identity: Identity, name: str, port: int) -> None:
        certificate, key = fleet.write(f"client-{name}", identity)
        context = ssl.create_default_context(cafile=str(fleet.ca))
        context.load_cert_chain(certificate, key)
        self.name = name
        self._port = port
        self._heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
        self._client.tls_set_context(context)
        self._client.on_connect = self._connected
        self._client.on_message = lambda *a: self._heard.put(json.loads(a[2].payload))
        self._client.on_subscribe = lambda *a: self._ready.put(not a[3][0].is_failure)

    def _connected(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe(f"{PREFIX}{self.name}/down/enrol", 1)

    def __enter__(self) -> Client:
        try:
            self._client.connect(HOST, self._port)
            self._client.loop_start()
            if not self._ready.get(timeout=5):
                raise Refused
        except (OSError, queue.Empty) as e:
            self._client.loop_stop()
            raise Refused from e
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, payload: bytes) -> None:
        self._client.publish(f"{PREFIX}{self.name}/up/enrol", payload, 1)

    def hear(self, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        return self._heard.get(timeout=timeout_s)

    def ask(self, payload: bytes) -> dict[str, Any]:
        self.send(payload)
        return self.hear()


def claim(fleet: TemporaryFleet, name: str) -> Client:
    return Client(fleet, fleet.claims.claim(name, 2), f"claim-{name}", fleet.files.claim_port)


@pytest.mark.slow
def test_a_thousand_boards_enrol_at_one_hub(fleet: TemporaryFleet) -> None:
    names = [f"board-{number:04d}" for number in range(BOARDS)]
    fleet.store().expect(names)
    requests = {name: request(name) for name in names}
    with fleet.hub() as hub:
        began = time.monotonic()

        def enrol(name: str) -> float:
            started = time.monotonic()
            with claim(fleet, name) as client:
                assert "certificate" in client.ask(requests[name])
            return time.monotonic() - started

        with ThreadPoolExecutor(AT_ONCE) as pool:
            each = sorted(pool.map(enrol, names))
        seconds = time.monotonic() - began
        assert hub.answered == BOARDS
    devices = fleet.store().devices()
    assert [len(device.certificates) for device in devices] == [1] * BOARDS
    assert len({device.certificates[0].key_hash for device in devices}) == BOARDS
    print(  # noqa: T201
        f"\n{BOARDS} boards enrolled in {seconds:.1f} s ({BOARDS / seconds:.0f} a second, "
        f"{AT_ONCE} at once); claim log-in to certificate: median {each[BOARDS // 2]:.2f} s, "
        f"longest {each[-1]:.2f} s"
    )


def test_a_stolen_claim_a_replay_and_a_request_for_another_id(fleet: TemporaryFleet) -> None:
    fleet.store().expect(["a", "b"])
    key = ec.generate_private_key(ec.SECP256R1())
    first = request("a", key)
    with fleet.hub(), claim(fleet, "a") as client:
        answer = client.ask(first)
        assert "certificate" in answer
        assert client.ask(first) == answer  # replayed: the same certificate, nothing new
        assert client.ask(request("a"))["error"] == "enrol-used"
        assert client.ask(request("b"))["error"] == "enrol-name"
        fleet.store().allow_again("a")
        assert client.ask(request("a", key))["error"] == "enrol-key-reused"
        client.send(b"nonsense")
        assert client.hear()["error"] == "enrol-malformed"
        # Answers go to who asked, so nobody hears those of others.
        with claim(fleet, "b") as other:
            assert "certificate" in other.ask(request("b"))
    assert [len(device.certificates) for device in fleet.store().devices()] == [1, 1]


def expired(fleet: TemporaryFleet) -> Identity:
    made = fleet.claims.claim("a", 0)
    time.sleep(1.1)
    return made


def of_another_ca(fleet: TemporaryFleet) -> Identity:
    return make_authority("Fleetling demo claim CA", 2).claim("a", 2)


def of_the_fleet(fleet: TemporaryFleet) -> Identity:
    return fleet.authority.client("claim-a", 2)


@pytest.mark.parametrize("make", [expired, of_another_ca, of_the_fleet])
def test_the_claims_door_stays_shut(
    fleet: TemporaryFleet, make: Callable[[TemporaryFleet], Identity]
) -> None:
    with pytest.raises(Refused), Client(fleet, make(fleet), "claim-a", fleet.files.claim_port):
        pass


def test_a_request_waits_for_a_hub_that_is_down(fleet: TemporaryFleet) -> None:
    fleet.store().expect(["a"])
    with fleet.hub():
        pass  # the hub was here once: its session is known
    with claim(fleet, "a") as client:
        client.send(request("a"))
        time.sleep(0.5)
        with fleet.hub():
            assert "certificate" in client.hear()


@dataclass
class Dies:
    """An enroller whose hub is killed once it has signed, before it can answer."""

    enroller: Enroller

    def answer(self, name: str, payload: bytes) -> bytes:
        self.enroller.answer(name, payload)
        raise SystemExit


# What kills it is no failure of the test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_hub_killed_between_signing_and_answering_signs_once(fleet: TemporaryFleet) -> None:
    fleet.store().expect(["a"])
    with claim(fleet, "a") as client:
        with fleet.hub() as hub:
            hub._enroller = Dies(hub._enroller)  # type: ignore[assignment]
            client.send(request("a"))
            with pytest.raises(queue.Empty):
                client.hear(1)
        assert len(fleet.store().device("a").certificates) == 1
        with fleet.hub():
            # It was never acknowledged, so the broker gives it to the next hub.
            answer = client.hear()
    (row,) = fleet.store().device("a").certificates
    assert base64.b64decode(answer["certificate"]) == row.der


@dataclass
class Away:
    """An enroller whose database is away for a while."""

    enroller: Enroller
    times: int

    def answer(self, name: str, payload: bytes) -> bytes:
        if self.times:
            self.times -= 1
            raise OperationalError("SELECT", None, Exception("locked"))
        return self.enroller.answer(name, payload)


def test_a_database_that_is_away_for_a_while_costs_no_request(
    fleet: TemporaryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_S", 0.2)
    fleet.store().expect(["a"])
    with fleet.hub() as hub, claim(fleet, "a") as client:
        hub._enroller = Away(hub._enroller, 3)  # type: ignore[assignment]
        assert "certificate" in client.ask(request("a"))


def test_a_bug_that_one_request_meets_does_not_end_the_hub(
    fleet: TemporaryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.store().expect(["a", "b"])
    with fleet.hub() as hub, claim(fleet, "a") as bad, claim(fleet, "b") as good:
        answer = hub._enroller.answer

        def failing(name: str, payload: bytes) -> bytes:
            if name.endswith("a"):
                raise TypeError("a bug")
            return answer(name, payload)

        monkeypatch.setattr(hub._enroller, "answer", failing)
        bad.send(request("a"))
        assert "certificate" in good.ask(request("b"))


def test_a_hub_says_when_its_broker_goes_and_comes(
    fleet: TemporaryFleet, caplog: pytest.LogCaptureFixture
) -> None:
    def said(words: str) -> int:
        return sum(words in record.getMessage() for record in caplog.records)

    def waits(words: str, times: int) -> bool:
        until = time.monotonic() + 15
        while said(words) < times and time.monotonic() < until:
            time.sleep(0.05)
        return said(words) == times

    caplog.set_level("INFO", "fleetling.hub")
    with fleet.hub():
        assert waits("on the broker", 1) and not said("is away")
        fleet.broker.stop()
        assert waits("is away", 1)
        fleet.broker.start()
        assert waits("on the broker", 2)
    assert said("is away") == 1  # what it ends by itself is no loss


@contextmanager
def listening(fleet: TemporaryFleet, heard: list[bytes]) -> Iterator[None]:
    """Collects all that goes over the broker."""
    context = ssl.create_default_context(cafile=str(fleet.ca))
    context.load_cert_chain(*fleet.write("listener", fleet.authority.client("operator", 2)))
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="listener")
    client.tls_set_context(context)

    def connected(*_: Any) -> None:
        client.subscribe(f"{PREFIX}#", 1)

    client.on_connect = connected
    client.on_message = lambda *a: heard.append(a[2].topic.encode() + a[2].payload)
    client.connect(HOST, fleet.files.port)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.slow
def test_boards_on_micropython_enrol_and_keep_their_keys(fleet: TemporaryFleet) -> None:
    heard: list[bytes] = []
    lines: list[str] = []
    names = ["one", "two"]
    boards = [
        fleet.board(fleet.unproven(name), seed=seed, on_line=lines.append)
        for seed, name in enumerate(names, 1)
    ]
    operator = fleet.operator()
    with fleet.hub(), operator, listening(fleet, heard):
        try:
            for board in boards:
                board.start()
            assert operator.wait(
                lambda state: sum(d.online for d in state.devices.values()) == len(names), 30
            ), lines
        finally:
            for board in boards:
                board.stop()
    keys = set()
    for board in boards:
        nvs = (board.folder / "flash.bin").read_bytes()[0x9000:0xD000]
        # The record of the vault: magic "FL" and version, then the payload 01 03 key certificate.
        at = nvs.index(b"\x46\x4c\x01")
        while nvs[at + 10 : at + 12] != b"\x01\x03":
            at = nvs.index(b"\x46\x4c\x01", at + 1)
        keys.add(nvs[at + 12 : at + 44])
    assert len(keys) == 2
    elsewhere = b"".join(heard) + "\n".join(lines).encode()
    elsewhere += b"".join(p.read_bytes() for p in fleet.folder.iterdir() if p.is_file())
    assert b"claim-one/up/enrol" in elsewhere
    for key in keys:
        for form in (key, key.hex().encode(), base64.b64encode(key)[:40]):
            assert form not in elsewhere


@pytest.mark.parametrize("make", [expired, of_another_ca])
def test_a_board_whose_claim_is_not_let_in_says_so(
    fleet: TemporaryFleet, make: Callable[[TemporaryFleet], Identity]
) -> None:
    lines: list[str] = []
    board = fleet.board(fleet.unproven("a", claim=make(fleet)), on_line=lines.append)
    with fleet.hub():
        try:
            board.start()
            until = time.monotonic() + 20
            while not any("link: tls-" in line for line in lines) and time.monotonic() < until:
                time.sleep(0.05)
        finally:
            board.stop()
    assert any("link: tls-" in line for line in lines), lines
    assert fleet.store().device("a").certificates == []
