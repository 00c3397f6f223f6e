# SPDX-License-Identifier: MIT
"""A fleet in virtual time: boards on CPython, a broker, a hub, certificates, a network between."""

from __future__ import annotations

import json
import re
import tempfile
import time
from typing import Any

from cryptography import x509

from fleetling import device
from fleetling.broker.rules import Access, allowed
from fleetling.hub.enrol import Enroller
from fleetling.image.flash import build_flash, first_files
from fleetling.image.nvs import Provision, build_nvs
from fleetling.pki import Authority, make_authority
from fleetling.registry import Store
from fleetling.simboard.chip import air, stock
from fleetling.simboard.inprocess import Board, Net, ServerTls
from fleetling.simboard.inprocess.broker import Action, Broker, Message

__all__ = ["BASE", "BROKER", "VirtualFleet"]

BASE = "fleetling/v1/"
BROKER = "broker.lan"
PORT = 8883
CLAIMS_PORT = 8884
# When the world begins, in Unix seconds: now, since certificates are made with the host's clock.
START = int(time.time())
SSID, PASSWORD = "works", "open sesame"


def _rule(user: str, action: Action, topic: str) -> bool:
    access = Access.WRITE if action == "write" else Access.READ
    return allowed(user, access, topic, claim=False)


def _claim_rule(user: str, action: Action, topic: str) -> bool:
    access = Access.WRITE if action == "write" else Access.READ
    return allowed(user, access, topic, claim=True)


def _files(built: int | None, app: dict[str, bytes] | None) -> dict[str, bytes]:
    files = first_files("1.0.0", app, compiled=False)
    if built is None:
        return files
    slot = device.unpack(files["slots/factory.pack"])
    version = slot["agent/version.py"].decode()
    slot["agent/version.py"] = re.sub(r"BUILT = \d+", f"BUILT = {built}", version).encode()
    del slot[device.MANIFEST]
    changed = {**slot, device.MANIFEST: device.manifest("1.0.0", slot)}
    return {**files, "slots/factory.pack": device.pack(changed)}


class VirtualFleet:
    """Authorities, a broker with a log of its messages, a hub on it, and Wi-Fi.

    Attributes:
        seen: every message that the broker let in, in order.
        hub_up: whether the hub answers.
        lifetime_days: of the certificates that it signs.
        store: the hub's database.
    """

    def __init__(self) -> None:
        self.authority: Authority = make_authority("Virtual fleet CA", days=36500)
        self.claims: Authority = make_authority("Virtual claim CA", days=36500)
        self._folder = tempfile.TemporaryDirectory()
        self._hubs = 0
        self.reset_hub()
        self.hub_up = True
        self.lifetime_days = 20_000
        self.net = Net()
        self.broker = Broker()
        self.seen: list[Message] = []
        self.broker.listeners.append(self.seen.append)
        server = self.authority.server([BROKER], 36500)
        ca = self.authority.identity.certificate_der
        tls = ServerTls([server.certificate_der], server.key_der, client_ca=ca)
        self.host = self.net.host(BROKER, PORT, self.broker.door(_rule), tls=tls)
        door = ServerTls(
            [server.certificate_der],
            server.key_der,
            client_ca=self.claims.identity.certificate_der,
        )
        self.door = self.net.host(BROKER, CLAIMS_PORT, self.broker.door(_claim_rule), tls=door)
        self.broker.listeners.append(self._enrol)
        self.air = air.Air()
        self.air.add(SSID, PASSWORD)

    @property
    def folder(self) -> str:
        """Where the hub keeps its database."""
        return self._folder.name

    def reset_hub(self) -> None:
        """A hub that knows nothing."""
        self._hubs += 1
        self.store = Store(f"sqlite:///{self._folder.name}/hub{self._hubs}.db")
        self.enroller = Enroller(self.store, self._sign)

    def provision(self, device_id: str = "dev", **changes: Any) -> Provision:
        values: dict[str, Any] = {
            "device_id": device_id,
            "ca": self.authority.identity.certificate_der,
            "broker": f"{BROKER}:{PORT}",
            "wifi": [(SSID, PASSWORD)],
            "identity": self.authority.client(device_id, 36500),
        }
        return Provision(**{**values, **changes})

    def unproven(self, device_id: str = "dev", **changes: Any) -> Provision:
        """What a board gets that is to enrol; the hub expects it."""
        self.store.expect([device_id])
        values: dict[str, Any] = {
            "identity": None,
            "claim": self.claims.claim(device_id, 36500),
            "enrol": f"{BROKER}:{CLAIMS_PORT}",
        }
        return self.provision(device_id, **{**values, **changes})

    def _sign(self, csr: x509.CertificateSigningRequest) -> x509.Certificate:
        return self.authority.sign_request(csr, self.lifetime_days)

    def _enrol(self, message: Message) -> None:
        name, _, rest = message.topic[len(BASE) :].partition("/")
        if rest == "up/enrol" and self.hub_up:
            answer = self.enroller.answer(name, message.payload)
            self.broker.publish(f"{BASE}{name}/down/enrol", answer)

    def board(
        self,
        provision: Provision | None = None,
        *,
        seed: int = 1,
        built: int | None = None,
        app: dict[str, bytes] | None = None,
        firmware: bytes | None = None,
        files: dict[str, bytes] | None = None,
        **options: Any,
    ) -> Board:
        """A board whose slot holds the agent's sources, since CPython runs no .mpy.

        Args:
            built: the time of its build, Unix seconds.
            app: the application's files.
            firmware: an app image.
            files: more files.
        """
        image = build_flash(
            firmware=firmware or stock.build_app(),
            nvs=build_nvs(provision or self.provision()),
            files={**_files(built, app), **(files or {})},
        )
        options = {"unix": START, **options}
        return Board(image, seed=seed, net=self.net, air=self.air, **options)

    def documents(self, topic: str) -> list[dict[str, Any]]:
        """What was said on a topic below the devices' ids, decoded."""
        return [json.loads(m.payload) for m in self.seen if m.topic.endswith(topic)]

    def command(self, device_id: str, name: str, expires: int, **args: Any) -> None:
        number = f"c{len(self.seen)}"
        message = {"id": number, "name": name, "args": args, "expires": expires}
        self.broker.publish(f"{BASE}{device_id}/down/command", json.dumps(message).encode())
