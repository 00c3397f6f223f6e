# SPDX-License-Identifier: MIT
"""From claim to proven identity, on the CPython board: every cut, every lie, every silence."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fleetling.demo.virtual import BASE, START, VirtualFleet
from fleetling.pki import make_authority
from fleetling.simboard.inprocess import Board

ENROL_S = 30
RENEW_S = 90  # a proven board looks once a minute whether it is time
DAY = 86_400


@pytest.fixture
def fleet() -> VirtualFleet:
    return VirtualFleet()


def online(fleet: VirtualFleet) -> bool:
    said = fleet.documents("dev/online")
    return bool(said) and said[-1]["online"] is True


def later(fleet: VirtualFleet, board: Board, days: float) -> Board:
    """The same flash, powered again `days` after the world began."""
    board.power_cycle()
    return Board(board.image(), seed=9, net=fleet.net, air=fleet.air, unix=START + int(days * DAY))


def private_scalars(board: Board) -> set[bytes]:
    """The private keys in the vault's records, as they stand in NVS."""
    found: set[bytes] = set()
    nvs: Any = board.chip.modules()["esp32"].NVS("fl_id")
    for key in ("ident0", "ident1", "next0", "next1"):
        buffer = bytearray(520)
        try:
            length = nvs.get_blob(key, buffer)
        except OSError:
            continue
        payload = bytes(buffer[10:length])
        found.add(payload[2:34])
    return found


def let_in(fleet: VirtualFleet, wanted: Callable[[bytes], bool]) -> None:
    """From now on the devices' door takes only certificates that are `wanted`."""
    tls = fleet.host.tls
    assert tls is not None
    asked = tls.client_common_name

    def asked_and_wanted(fields: list[bytes], nonce: bytes) -> str | None:
        return asked(fields, nonce) if wanted(fields[1]) else None

    tls.client_common_name = asked_and_wanted  # type: ignore[method-assign]


def test_a_claim_leads_to_one_proven_identity(fleet: VirtualFleet) -> None:
    with fleet.board(fleet.unproven()) as board:
        board.boot(ENROL_S)
        assert online(fleet)
        for state in ("by claim", "key made", "certificate stored", "proven"):
            assert state in board.console
        (certificate,) = fleet.store.device("dev").certificates
        assert fleet.documents("claim-dev/down/enrol")[0]["request"] == certificate.request
        board.power_cycle()
        before = len(fleet.seen)
        board.boot(ENROL_S)
        assert online(fleet)
        # The claim is retired: nothing is asked for any more.
        assert not [m for m in fleet.seen[before:] if "claim" in m.topic]
        assert fleet.door.connections == 1
        assert not fleet.broker.denied


def test_the_key_is_nowhere_but_in_its_own_flash(fleet: VirtualFleet) -> None:
    with fleet.board(fleet.unproven()) as board:
        board.boot(ENROL_S)
        (key,) = private_scalars(board)
        said = b"".join(message.topic.encode() + message.payload for message in fleet.seen)
        database = b"".join(path.read_bytes() for path in Path(fleet.folder).iterdir())
        places = said + database + board.console.encode()
        assert key in board.image()
        for form in (key, key.hex().encode(), base64.b64encode(key)[:40]):
            assert form not in places


@pytest.mark.slow
@pytest.mark.parametrize("torn", [None, -1, 1, b"\x55\x12\x9a"])
def test_a_cut_at_every_operation_of_the_first_boot_ends_with_one_identity(
    fleet: VirtualFleet, torn: int | bytes | None, record_property: Any
) -> None:
    with fleet.board(fleet.unproven()) as board:
        fresh = board.snapshot()
        first = board.flash.operations
        board.boot(ENROL_S)
        last = board.flash.operations
        cuts = 0
        for operation in range(first + 1, last + 1):
            board.restore(fresh)
            fleet.reset_hub()
            fleet.store.expect(["dev"])
            fleet.seen.clear()
            board.cut_at(operation, torn)
            cuts += board.boot(ENROL_S).reason == "power-cut"
            board.flash.hook = None
            for _ in range(2):
                board.boot(ENROL_S)
            assert online(fleet), (operation, board.console[-600:])
            (certificate,) = fleet.store.device("dev").certificates
            requests = {d["request"] for d in fleet.documents("claim-dev/down/enrol")}
            assert certificate.request in requests, operation
            assert len(private_scalars(board)) == 1, operation
            board.power_cycle()
    assert cuts > 60
    record_property("tried", cuts)


def test_a_silent_hub_is_waited_for(fleet: VirtualFleet) -> None:
    fleet.hub_up = False
    with fleet.board(fleet.unproven()) as board:
        board.boot(1000)
        assert "enrol-no-answer" in board.console and not online(fleet)
        asked = {message.payload for message in fleet.seen if message.topic.endswith("up/enrol")}
        assert len(asked) == 1  # the same bytes each time
        fleet.hub_up = True
        board.resume(700)
        assert online(fleet) and board.lives == 1
        assert len(fleet.store.device("dev").certificates) == 1


def test_answers_twice_late_and_to_something_else_do_no_harm(fleet: VirtualFleet) -> None:
    topic = f"{BASE}claim-dev/down/enrol"
    foreign = json.dumps({"request": "00" * 32, "certificate": "AAAA"}).encode()

    def noise(message: Any) -> None:
        if message.topic.endswith("up/enrol"):
            for payload in (foreign, b"nonsense", b"[1]", foreign):
                fleet.broker.publish(topic, payload)

    fleet.broker.listeners.insert(0, noise)
    with fleet.board(fleet.unproven()) as board:
        board.boot(900)
        assert online(fleet)
        assert len(fleet.store.device("dev").certificates) == 1


def test_an_answer_to_another_request_is_waited_past(fleet: VirtualFleet) -> None:
    fleet.hub_up = False
    with fleet.board(fleet.unproven()) as board:
        board.boot(lambda: bool(fleet.documents("up/enrol")))
        foreign = json.dumps({"request": "00" * 32, "certificate": "AAAA"}).encode()
        fleet.broker.publish(f"{BASE}claim-dev/down/enrol", foreign)
        board.resume(5)
        fleet.hub_up = True
        board.resume(60)
        assert online(fleet) and "W identity" not in board.console


def test_a_key_that_was_made_is_kept_before_it_is_used(fleet: VirtualFleet) -> None:
    with fleet.board(fleet.unproven()) as board:
        board.boot(lambda: "key made" in board.console)
        (key,) = private_scalars(board)
        assert not fleet.documents("up/enrol")
        board.power_cycle()
        board.boot(ENROL_S)
        assert online(fleet) and private_scalars(board) == {key}
        assert board.console.count("key made") == 1


Forge = Callable[[VirtualFleet, x509.CertificateSigningRequest], x509.Certificate]


def other_ca(fleet: VirtualFleet, csr: x509.CertificateSigningRequest) -> x509.Certificate:
    return make_authority("Virtual fleet CA").sign_request(csr)


def other_key(fleet: VirtualFleet, csr: x509.CertificateSigningRequest) -> x509.Certificate:
    return fleet.authority.client("dev", 20_000).certificate


def expired(fleet: VirtualFleet, csr: x509.CertificateSigningRequest) -> x509.Certificate:
    return fleet.authority.sign_request(csr, 1)


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (other_ca, "certificate-ca"),
        (other_key, "certificate-key"),
        (expired, "certificate-expired"),
    ],
)
def test_a_wrong_certificate_is_not_stored(fleet: VirtualFleet, forge: Forge, code: str) -> None:
    honest = fleet.enroller._sign
    fleet.enroller._sign = lambda csr: forge(fleet, csr)
    with fleet.board(fleet.unproven(), unix=START + 2 * DAY) as board:
        board.boot(ENROL_S)
        assert code in board.console and not online(fleet)
        assert "certificate stored" not in board.console
        # The operator mends the hub; the board comes without help.
        fleet.enroller._sign = honest
        fleet.reset_hub()
        fleet.store.expect(["dev"])
        board.resume(700)
        assert online(fleet)


def test_a_clock_that_was_never_set_does_not_accept_a_future_certificate(
    fleet: VirtualFleet,
) -> None:
    fleet.air.ntp_up = False
    with fleet.board(fleet.unproven(), built=START - 30 * DAY) as board:
        board.boot(ENROL_S)
        assert not online(fleet)
        assert "clock-no-answer" in board.console and "tls-future" in board.console
        fleet.air.ntp_up = True
        board.resume(600)
        assert online(fleet)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda fleet: fleet.reset_hub(), "enrol-unknown"),
        (lambda fleet: fleet.store.revoke("dev"), "enrol-revoked"),
    ],
)
def test_a_refusal_has_its_code_on_the_board(
    fleet: VirtualFleet, spoil: Callable[[VirtualFleet], object], code: str
) -> None:
    provision = fleet.unproven()
    spoil(fleet)
    with fleet.board(provision) as board:
        board.boot(ENROL_S)
        assert code in board.console and not online(fleet) and board.lives == 1


def test_a_stolen_claim_is_of_no_use_once_the_board_has_enrolled(fleet: VirtualFleet) -> None:
    claim = fleet.unproven()
    with fleet.board(claim) as board:
        board.boot(ENROL_S)
        board.power_cycle()
        thief = fleet.board(claim, seed=5)
        thief.boot(ENROL_S)
        assert "enrol-used" in thief.console
        assert len(fleet.store.device("dev").certificates) == 1
        thief.power_cycle()
        board.boot(ENROL_S)
        assert online(fleet)


def test_a_claim_opens_no_other_door(fleet: VirtualFleet) -> None:
    claim = fleet.unproven()
    # The claim as if it were a ready identity, at the devices' door.
    wrong = fleet.provision(identity=claim.claim)
    with fleet.board(wrong) as board:
        board.boot(ENROL_S)
        assert "W link: " in board.console and not online(fleet)


def test_it_renews_at_two_thirds_of_its_certificates_life(fleet: VirtualFleet) -> None:
    fleet.lifetime_days = 300
    with fleet.board(fleet.unproven()) as board:
        board.boot(ENROL_S)
        (first,) = fleet.store.device("dev").certificates
        assert first.device_id == "dev"
        early = later(fleet, board, 198)
        early.boot(ENROL_S)
        assert len(fleet.store.device("dev").certificates) == 1
        fleet.lifetime_days += 1000
        late = later(fleet, early, 202)
        late.boot(RENEW_S)
        assert len(fleet.store.device("dev").certificates) == 2
        assert late.console.count("proven") == 1 and online(fleet)
        assert len(private_scalars(late)) >= 1
        assert fleet.door.connections == 1  # the claim was not used again
        # A cut at every operation of a renewal: the board never loses its way.
        again = later(fleet, early, 203)
        fresh, start = again.snapshot(), again.flash.operations
        again.boot(RENEW_S)
        for operation in range(start + 1, again.flash.operations + 1):
            again.restore(fresh)
            fleet.seen.clear()
            again.cut_at(operation, 1)
            again.boot(RENEW_S)
            again.flash.hook = None
            again.boot(RENEW_S)
            assert online(fleet), (operation, again.console[-800:])
        assert fleet.door.connections == 1


def test_a_new_identity_that_is_not_let_in_does_not_keep_the_board_away(
    fleet: VirtualFleet,
) -> None:
    fleet.lifetime_days = 300
    with fleet.board(fleet.unproven()) as board:
        board.boot(ENROL_S)
        (first,) = fleet.store.device("dev").certificates
        fleet.lifetime_days += 1000
        late = later(fleet, board, 290)
        let_in(fleet, lambda certificate: certificate == first.der)
        late.boot(300)
        assert len(fleet.store.device("dev").certificates) == 2
        assert "certificate stored" in late.console and "proven" not in late.console
        assert online(fleet)


def test_nvs_wiped_by_the_firmware_costs_no_identity(fleet: VirtualFleet) -> None:
    with fleet.board(fleet.unproven()) as board:
        board.boot(ENROL_S)
        board.power_cycle()
        board.flash.store.write(0x9000, b"\xff" * 0x4000)
        board.boot(ENROL_S)
        assert online(fleet) and "restored from its file" in board.console
        assert len(fleet.store.device("dev").certificates) == 1
        assert fleet.door.connections == 1


def test_certificates_are_der_of_the_request(fleet: VirtualFleet) -> None:
    with fleet.board(fleet.unproven()) as board:
        board.boot(ENROL_S)
    (request,) = fleet.documents("claim-dev/up/enrol")
    csr = x509.load_der_x509_csr(base64.b64decode(request["csr"]))
    (row,) = fleet.store.device("dev").certificates
    certificate = x509.load_der_x509_certificate(row.der)
    assert csr.is_signature_valid and certificate.public_key() == csr.public_key()
    assert row.der == certificate.public_bytes(Encoding.DER)


def test_a_first_certificate_that_is_revoked_before_its_use_is_replaced(
    fleet: VirtualFleet,
) -> None:
    fleet.host.refuse = True  # the devices' door is shut while the board enrols
    with fleet.board(fleet.unproven()) as board:
        board.boot(60)
        assert "certificate stored" in board.console and not online(fleet)
        fleet.store.revoke("dev")
        board.resume(900)
        assert "enrol-revoked" in board.console
        fleet.store.allow_again("dev")
        fleet.host.refuse = False
        revoked = {row.der for row in fleet.store.revoked()}
        let_in(fleet, lambda certificate: certificate not in revoked)
        board.resume(4000)
        assert online(fleet) and "enrol-key-reused" in board.console
        assert fleet.store.device("dev").current is not None
