# SPDX-License-Identifier: MIT
"""A board, its fleet and a repository with a web server, in virtual time."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Collection
from typing import Any

from tuf_repository import ONLINE, Repository

from fleetling import device
from fleetling.demo.virtual import BASE, START, VirtualFleet
from fleetling.image.flash import build_flash
from fleetling.image.nvs import Provision, build_nvs
from fleetling.release import payload
from fleetling.release.bundle import pack_app
from fleetling.simboard.chip import stock
from fleetling.simboard.inprocess import Board
from fleetling.simboard.inprocess.web import FileServer

__all__ = ["WAIT", "World", "app", "firmware", "run_until", "slot_of"]

HOST = "updates.lan"
WAIT = {"trial_s": 60}
STEP_S = 5.0
CHIP = {"chip": "esp32", "boards": ["ESP32_GENERIC-OTA"]}


def app(text: str = "one", body: str = "await task.sleep(1)") -> dict[str, bytes]:
    """An application that says `text` once and then goes on for ever with `body`."""
    lines = (
        f"print('app says {text}')\n\n\nasync def main(task):\n    while True:\n        {body}\n"
    )
    return {"app.py": lines.encode(), "note.txt": b"the same in all\n" * 40}


def firmware(version: str, size: int = 60_000) -> bytes:
    """An app image whose content depends on the version alone."""
    body = b"".join(
        hashlib.sha256(f"{version if n % 10 == 0 else ''}{n}".encode()).digest()
        for n in range(size // 32)
    )
    return bytes(stock.build_app(version=version, body=body))


def run_until(board: Board, seconds: float, holds: Callable[[], bool]) -> bool:
    """Runs through resets until `holds()`, for at most so many virtual seconds."""
    # In microseconds, as the board counts them: of seconds a rest may stay that is none.
    end = round((board.now + seconds) * 1e6)
    while (left := end - round(board.now * 1e6)) > 0 and not holds():
        step = min(STEP_S, left / 1e6)
        if board.alive:
            board.resume(step)
        else:
            board.boot(step)
    return holds()


def slot_of(
    version: str,
    files: dict[str, bytes] | None = None,
    security: int = 0,
    without: Collection[str] = (),
) -> dict[str, bytes]:
    """A slot's files, as the CPython board takes them, three of them."""
    return device.slot_files(
        version, files, compiled=False, bare=True, security=security, without=without
    )


class World(VirtualFleet):
    """A fleet with a repository. `publish` puts what was added on the server."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.repository = Repository()
        self.repository.compact = True
        self.anchor = self.repository.published["root"]
        self.server = FileServer(self.repository.files)
        self.site = self.net.host(HOST, 80, self.server.handle)
        self.settings = {**WAIT, "heartbeat_s": 600, **settings}
        self.orders = 0
        self.repository_url = f"http://{HOST}/"
        for product in ("pump", "esp32"):
            self.repository.delegate("targets", product, [product + "/*"], terminating=True)

    def provision(self, device_id: str = "dev", **changes: Any) -> Provision:
        changes.setdefault("settings", self.settings)
        changes.setdefault("repository", self.repository_url)
        changes.setdefault("root", struct.pack("<I", 1) + hashlib.sha256(self.anchor).digest())
        return super().provision(device_id, **changes)

    def board_of(
        self,
        files: dict[str, bytes] | None = None,
        image: bytes | None = None,
        *,
        without: Collection[str] = (),
        **options: Any,
    ) -> Board:
        """A board with this application in its factory slot and this firmware."""
        flash = build_flash(
            firmware=image or firmware("1.0.0"),
            nvs=build_nvs(self.provision()),
            files={
                **device.board_files(),
                "slots/factory.pack": device.pack(
                    slot_of("1.0.0", files or app(), without=without)
                ),
            },
        )
        options = {"seed": 1, **options}
        return Board(flash, net=self.net, air=self.air, unix=START, **options)

    # --- releases

    def add(self, path: str, data: bytes, custom: dict[str, Any]) -> None:
        product = path.partition("/")[0]
        target = self.repository.add_target(product, path, data)
        target.unrecognized_fields["custom"] = {"built": START, "security": 0, **custom}

    def add_app(
        self,
        version: str,
        files: dict[str, bytes] | None = None,
        *,
        security: int = 0,
        without: Collection[str] = (),
        **custom: Any,
    ) -> str:
        """Adds an application's release; its path."""
        slot = slot_of(version, files or app(version), security, without)
        manifest = slot["manifest.json"]
        path = f"pump/{version}.app"
        facts = {
            "kind": "app",
            "version": version,
            "security": security,
            "size": len(manifest),
            "sha256": hashlib.sha256(manifest).hexdigest(),
            "bytes": sum(map(len, slot.values())) - len(manifest),
        }
        self.add(path, pack_app(slot), {**facts, **custom})
        return path

    def add_firmware(
        self,
        version: str,
        image: bytes | None = None,
        base: bytes | None = None,
        more: dict[str, Any] | None = None,
        **custom: Any,
    ) -> str:
        """Adds a firmware's release, and a delta from `base`; the path of the whole."""
        image = image if image is not None else firmware(version)
        facts = {
            "kind": "firmware",
            "version": version,
            "size": len(image),
            "sha256": hashlib.sha256(image).hexdigest(),
            **CHIP,
            **custom,
            **(more or {}),
        }
        path = f"esp32/{version}.fw"
        self.add(path, payload.pack(image), facts)
        if base is not None:
            digest = hashlib.sha256(base).hexdigest()
            name = f"esp32/{version}.{digest[:16]}.delta"
            self.add(name, payload.pack(image, base), {**facts, "base": digest})
        return path

    def publish(self) -> None:
        self.repository.publish("pump", "esp32", *ONLINE)

    def assign(self, *targets: str, device_id: str = "dev", **more: Any) -> str:
        """Assigns, retained; the assignment's id."""
        self.orders += 1
        order = {"id": f"order-{self.orders}", "targets": list(targets), **more}
        topic = f"{BASE}{device_id}/down/update"
        self.broker.publish(topic, json.dumps(order).encode(), retain=True)
        return str(order["id"])

    # --- what is seen

    def reports(self) -> list[dict[str, Any]]:
        return self.documents("up/update")

    def states(self) -> list[str]:
        """The states that were reported, without repetitions."""
        found = [str(report["state"]) for report in self.reports()]
        return [state for i, state in enumerate(found) if i == 0 or found[i - 1] != state]

    def reported(self, state: str) -> bool:
        reports = self.reports()
        return bool(reports) and reports[-1]["state"] == state

    def events(self, code: str) -> list[dict[str, Any]]:
        found = {e["seq"]: e for e in self.documents("up/event") if e["code"] == code}
        return [found[number] for number in sorted(found)]
