# SPDX-License-Identifier: MIT
"""A revoked device at a real mosquitto, with the files that `fleetling broker config` writes."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from fleetling.broker.fleet import broker_files, write_revoked
from fleetling.broker.process import LocalBroker, free_port
from fleetling.home import Home, Plan, create
from fleetling.pki import Identity
from fleetling.registry import Certificate, Store

HOST = "127.0.0.1"
CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x"


def let_in(fleet: Home, identity: Identity, port: int, folder: Path) -> bool:
    """Whether the broker answers a CONNECT of this identity."""
    certificate, key = folder / "device.pem", folder / "device.key"
    certificate.write_bytes(identity.certificate_pem)
    key.write_bytes(identity.key_pem())
    context = ssl.create_default_context(cafile=str(fleet.secret("fleet-ca.pem")))
    context.load_cert_chain(certificate, key)
    try:
        with (
            socket.create_connection((HOST, port), timeout=5) as raw,
            context.wrap_socket(raw, server_hostname=HOST) as line,
        ):
            line.sendall(CONNECT)
            return line.recv(4) == b"\x20\x02\x00\x00"
    except OSError:
        return False


def test_a_revoked_device_is_turned_away_once_the_list_is_read(tmp_path: Path) -> None:
    port, claims = free_port(), free_port()
    fleet = create(tmp_path / "fleet", Plan("farm", f"{HOST}:{port}", f"{HOST}:{claims}", []))
    authority = fleet.authority("fleet-ca", None)
    store = Store(fleet.database)
    store.expect(["good", "lost"])
    identities = {name: authority.client(name, 2) for name in ("good", "lost")}
    for name, identity in identities.items():
        row = Certificate(
            serial=f"{identity.certificate.serial_number:x}",
            device_id=name,
            request=name,
            key_hash=name,
            der=identity.certificate_der,
            not_after=identity.certificate.not_valid_after_utc.replace(tzinfo=None),
        )
        assert store.keep(row, counts=True)
    write_revoked(fleet, authority, store)
    with LocalBroker(broker_files(fleet), fleet.folder / "broker", kind="mosquitto") as broker:
        assert all(let_in(fleet, i, port, tmp_path) for i in identities.values())
        store.revoke("lost")
        write_revoked(fleet, authority, store)
        broker.reload()
        for _ in range(50):
            if not let_in(fleet, identities["lost"], port, tmp_path):
                break
        else:
            pytest.fail("the revoked device is still let in")
        assert let_in(fleet, identities["good"], port, tmp_path)
