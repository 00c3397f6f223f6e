# SPDX-License-Identifier: MIT
"""A fleet of its own for a demo or a test: authorities, broker, identities, in one folder.

Nothing here is for a fleet that is to last: keys lie unencrypted in the folder, which is private
to the user and is thrown away.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleetling.broker.config import BrokerFiles
from fleetling.broker.process import LocalBroker, free_port
from fleetling.fleet.operator import OnMessage, Operator
from fleetling.hub.enrol import Enroller
from fleetling.hub.service import Hub
from fleetling.image.flash import build_flash, first_files
from fleetling.image.nvs import Provision, build_nvs
from fleetling.pki import Authority, Identity, make_authority
from fleetling.registry import Store
from fleetling.simboard.chip import stock
from fleetling.simboard.process.board import AccessPoint, OnEvent, OnLine, ProcessBoard

__all__ = ["WIFI", "TemporaryFleet"]

HOST = "127.0.0.1"
WIFI = AccessPoint("fleetling-demo", "correct horse battery")


class TemporaryFleet:
    """Authorities and a broker in `folder`; boards are made as they are asked for.

    Args:
        broker: its kind; "" takes mosquitto where it is installed.
        host: the address at which boards reach this machine.
    """

    def __init__(self, folder: Path, *, broker: str = "", host: str = HOST) -> None:
        self.folder = folder
        self.host = host
        self.authority: Authority = make_authority("Fleetling demo fleet CA", days=2)
        self.claims: Authority = make_authority("Fleetling demo claim CA", days=2)
        self.ca = self._write("fleet-ca", self.authority.identity.certificate_pem)
        claim_ca = self._write("claim-ca", self.claims.identity.certificate_pem)
        certificate, key = self.write(
            "broker", self.authority.server([*{host, HOST}, "localhost"], 2)
        )
        self.files = BrokerFiles(
            self.ca,
            claim_ca,
            certificate,
            key,
            address=HOST if host == HOST else "0.0.0.0",  # noqa: S104 - a board on the same network
            port=free_port(),
            claim_port=free_port(),
        )
        self.broker = LocalBroker(self.files, folder, kind=broker)
        self.database = folder / "hub.db"

    def _write(self, name: str, data: bytes) -> Path:
        path = self.folder / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_bytes(data)
        return path

    def write(self, name: str, identity: Identity) -> tuple[Path, Path]:
        """Writes an identity as PEM files: (certificate, key)."""
        return (
            self._write(name, identity.certificate_pem),
            self._write(f"{name}-key", identity.key_pem()),
        )

    def operator(self, on_message: OnMessage | None = None) -> Operator:
        """An operator's connection, not yet open."""
        certificate, key = self.write("operator", self.authority.client("operator", 2))
        return Operator(
            HOST,
            self.files.port,
            ca=self.ca,
            certificate=certificate,
            key=key,
            on_message=on_message,
        )

    def provision(self, device_id: str, **changes: object) -> Provision:
        """What a board with a ready identity gets; `changes` are other fields of Provision."""
        values: dict[str, object] = {
            "device_id": device_id,
            "ca": self.authority.identity.certificate_der,
            "broker": f"{self.host}:{self.files.port}",
            "wifi": [(WIFI.ssid, WIFI.password)],
            "identity": self.authority.client(device_id, 2),
            "settings": {"heartbeat_s": 2},
        }
        return Provision(**{**values, **changes})  # type: ignore[arg-type]

    def unproven(self, device_id: str, **changes: object) -> Provision:
        """What a board gets that is to enrol; the hub's list has it from now on."""
        self.store().expect([device_id])
        values: dict[str, object] = {
            "identity": None,
            "claim": self.claims.claim(device_id, 2),
            "enrol": f"{self.host}:{self.files.claim_port}",
        }
        return self.provision(device_id, **{**values, **changes})

    def store(self) -> Store:
        """The hub's database."""
        return Store(f"sqlite:///{self.database}")

    @contextmanager
    def hub(self) -> Iterator[Hub]:
        """A hub that signs, while the context lasts."""
        certificate, key = self.write("hub", self.authority.client("hub", 2))
        hub = Hub(
            Enroller(self.store(), lambda csr: self.authority.sign_request(csr, 2)),
            HOST,
            self.files.port,
            ca=self.ca,
            certificate=certificate,
            key=key,
            shared=self.broker.kind == "mosquitto",
        )
        hub.start()
        serving = threading.Thread(target=hub.run, name="hub")
        serving.start()
        try:
            yield hub
        finally:
            hub.stop()
            serving.join()

    def board(
        self,
        provision: Provision,
        *,
        app: dict[str, bytes] | None = None,
        firmware: bytes | None = None,
        seed: int = 0,
        on_line: OnLine | None = None,
        on_event: OnEvent | None = None,
    ) -> ProcessBoard:
        """A board with its flash written, its power off."""
        folder = self.folder / provision.device_id
        folder.mkdir()
        image = build_flash(
            firmware=firmware or stock.build_app(),
            nvs=build_nvs(provision),
            files=first_files("1.0.0", app),
        )
        (folder / "flash.bin").write_bytes(image)
        return ProcessBoard(folder, [WIFI], seed=seed, on_line=on_line, on_event=on_event)
