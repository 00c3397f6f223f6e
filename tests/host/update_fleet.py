# SPDX-License-Identifier: MIT
"""A broker with TLS, a repository of 200 targets in 5 products behind HTTPS, and boards on
MicroPython that update from it: for the benchmarks and the tests of the heap.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from fleetling import device
from fleetling.demo.fleet import HOST, TemporaryFleet
from fleetling.fleet.state import FleetState
from fleetling.release.keys import make_signer
from fleetling.release.repository import Repository
from fleetling.release.serve import make_server
from fleetling.simboard.chip import stock

__all__ = [
    "APP",
    "FIRMWARE",
    "PRODUCTS",
    "TARGETS",
    "Outcome",
    "UpdateFleet",
    "firmware_image",
    "make_releases",
    "root_of",
    "serving",
]

PRODUCTS = ("pump", "valve", "lamp", "door")  # with applications; the fifth has firmware
CHIP = "esp32"
TARGETS = 200
BOARDS = ("ESP32_GENERIC-OTA",)
APP = "pump/9.0.app"
FIRMWARE = "esp32/9.0.fw"
ROLES = ("root", "targets", "snapshot", "timestamp")
BUILT = 1_700_000_000
ONLINE_S = 60
UPDATE_S = 240
MEMORY = "update-memory"
BASE = "fleetling/v1/"
ENDS = ("switching", "trial", "confirmed", "failed", "refused")
# Short trials, and no wait for a place among others.
SETTINGS = {"heartbeat_s": 1, "trial_s": 15, "reconnect_s": 2}


@cache
def firmware_image(version: str, size: int = 400_000) -> bytes:
    """An app image; every fortieth piece of it is the version's own."""
    pieces = (
        hashlib.sha256(f"{version if n % 40 == 0 else ''}{n}".encode()).digest()
        for n in range(size // 32)
    )
    image: bytes = stock.build_app(version=version, body=b"".join(pieces))
    return image


def _app_of(version: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {**files, device.MANIFEST: device.manifest(version, files)}


def make_releases(folder: Path, *, size: int = 400_000) -> None:
    """A published repository: 200 targets in 5 delegated products, APP and FIRMWARE among them."""
    repository = Repository.create(folder, {role: [make_signer()] for role in ROLES})
    each = TARGETS // (len(PRODUCTS) + 1)
    for product in PRODUCTS:
        last = product == APP.partition("/")[0]
        for n in range(each - last):
            files = {"app.py": f"print({n})\n".encode()}
            repository.add_app(product, _app_of(f"1.{n}", files), built=BUILT)
    repository.add_app(
        APP.partition("/")[0],
        device.slot_files(
            "9.0", {"app.py": b"async def main(task):\n    await task.sleep(9e6)\n"}
        ),
        built=BUILT,
    )
    facts: dict[str, Any] = {"chip": CHIP, "boards": BOARDS, "built": BUILT}
    for n in range(each - 2):
        image = stock.build_app(version=f"1.{n}", body=bytes(64))
        repository.add_firmware(CHIP, f"1.{n}", image, **facts)
    base = firmware_image("1.0.0", size)
    repository.add_firmware(CHIP, "9.0", firmware_image("9.0", size), bases=[base], **facts)
    repository.publish()


def root_of(folder: Path) -> bytes:
    """What a board is given of the repository's first root."""
    root = (folder / "metadata/1.root.json").read_bytes()
    return struct.pack("<I", 1) + hashlib.sha256(root).digest()


@contextmanager
def serving(folder: Path, identity: tuple[Path, Path] | None) -> Iterator[str]:
    """Serves the repository; yields its URL. With certificate and key by HTTPS."""
    server: ThreadingHTTPServer = make_server(folder, HOST, 0, quiet=True)
    if identity:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*identity)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        scheme = "https" if identity else "http"
        yield f"{scheme}://{HOST}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Outcome:
    """How an update went on a board with so much heap.

    Attributes:
        online: the board came to the broker, and its first heartbeat too.
        state: the last that it reported of the update.
        short: it failed since memory does not do.
        alone: it took a life of its own for it.
        free_at_boot: bytes that were free when boot.py began.
    """

    online: bool = False
    state: str = ""
    short: bool = False
    alone: bool = False
    free_at_boot: int = 0

    @property
    def switched(self) -> bool:
        """All was fetched, verified and written beside what ran."""
        return self.state in ENDS[:3]


class UpdateFleet:
    """Boards that take updates. A context manager; `folder` gets everything.

    `tls_heap`: bytes of a board's heap that each connection with TLS takes, as on an ESP32.
    """

    def __init__(
        self, folder: Path, *, secure: bool, size: int = 400_000, tls_heap: int = 0
    ) -> None:
        self.tls_heap = tls_heap
        self.fleet = TemporaryFleet(folder)
        self.releases = folder / "repository"
        self.size = size
        self.secure = secure
        self.boards = 0
        make_releases(self.releases, size=size)

    @contextmanager
    def running(self) -> Iterator[UpdateFleet]:
        server = self.fleet.authority.server([HOST, "localhost"], 2)
        identity = self.fleet.write("releases", server) if self.secure else None
        with self.fleet.broker, serving(self.releases, identity) as self.url:
            yield self

    def update(self, target: str, heap: int) -> Outcome:
        """Flashes a board, gives it `heap` bytes, assigns the target, and waits for the switch
        or another end."""
        self.boards += 1
        name = f"board-{self.boards}"
        outcome = Outcome()
        board = self.fleet.board(
            self.fleet.provision(
                name, settings=SETTINGS, repository=self.url, root=root_of(self.releases)
            ),
            firmware=firmware_image("1.0.0", self.size),
        )
        board.heap, board.tls_heap = heap, self.tls_heap
        with self.fleet.operator() as operator:

            def over(state: FleetState) -> bool:
                device = state.devices[name]
                outcome.state = str(device.update.get("state", ""))
                code = str(device.update.get("code", ""))
                outcome.alone |= device.update.get("why") == "alone"
                outcome.short |= code == MEMORY
                return outcome.state in ENDS

            try:
                board.start()
                outcome.online = operator.wait(
                    lambda s: name in s.devices and s.devices[name].heartbeats > 0, ONLINE_S
                )
                if outcome.online and target:
                    order = json.dumps({"id": "order-1", "targets": [target]})
                    operator.deliver(f"{BASE}{name}/down/update", order.encode(), retain=True)
                    operator.wait(over, UPDATE_S)
            finally:
                board.stop()
        outcome.free_at_boot = board.heap_at_boot
        return outcome
