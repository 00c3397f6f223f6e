# SPDX-License-Identifier: MIT
"""A fleet in virtual time: boards on CPython, a broker, certificates, a network between them."""

from __future__ import annotations

import json
from typing import Any

from fleetling.image.flash import build_flash, first_files
from fleetling.image.nvs import Provision, build_nvs
from fleetling.pki import Authority, make_authority
from fleetling.simboard.chip import air, stock
from fleetling.simboard.inprocess import Board, Net, ServerTls
from fleetling.simboard.inprocess.broker import Action, Broker, Message

__all__ = ["BASE", "BROKER", "VirtualFleet"]

BASE = "fleetling/v1/"
BROKER = "broker.lan"
PORT = 8883
# When the world begins, in Unix seconds: later than any agent was built, earlier than the
# certificates end.
START = 1_900_000_000
SSID, PASSWORD = "works", "open sesame"


def _rule(user: str, action: Action, topic: str) -> bool:
    """The rules of docs/wire.md for a device: read what goes down, write the rest."""
    down = f"{BASE}{user}/down/"
    if action == "write":
        return topic.startswith(f"{BASE}{user}/") and not topic.startswith(down)
    return topic.startswith(down)


class VirtualFleet:
    """Authorities, a broker with a log of its messages, and Wi-Fi.

    Attributes:
        seen: every message that the broker let in, in order.
    """

    def __init__(self) -> None:
        self.authority: Authority = make_authority("Virtual fleet CA", days=36500)
        self.net = Net()
        self.broker = Broker()
        self.seen: list[Message] = []
        self.broker.listeners.append(self.seen.append)
        server = self.authority.server([BROKER], 36500)
        ca = self.authority.identity.certificate_der
        tls = ServerTls([server.certificate_der], server.key_der, client_ca=ca)
        self.host = self.net.host(BROKER, PORT, self.broker.door(_rule), tls=tls)
        self.air = air.Air()
        self.air.add(SSID, PASSWORD)

    def provision(self, device_id: str = "dev", **changes: Any) -> Provision:
        values: dict[str, Any] = {
            "device_id": device_id,
            "ca": self.authority.identity.certificate_der,
            "broker": f"{BROKER}:{PORT}",
            "wifi": [(SSID, PASSWORD)],
            "identity": self.authority.client(device_id, 36500),
        }
        return Provision(**{**values, **changes})

    def board(self, provision: Provision | None = None, *, seed: int = 1, **options: Any) -> Board:
        """A board whose slot holds the agent's sources, since CPython runs no .mpy."""
        image = build_flash(
            firmware=stock.build_app(),
            nvs=build_nvs(provision or self.provision()),
            files=first_files("1.0.0", compiled=False),
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
