# SPDX-License-Identifier: MIT
"""The rescue on the real interpreter: real TLS to the repository and to the broker, its heap."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetling import device
from fleetling.demo.fleet import HOST, TemporaryFleet
from fleetling.fleet.state import Device
from fleetling.image.filesystem import read_filesystem
from fleetling.image.flash import build_flash
from fleetling.image.nvs import build_nvs
from fleetling.pki import make_authority
from fleetling.release.bundle import pack_app
from fleetling.release.serve import make_server
from fleetling.simboard.chip import stock
from fleetling.simboard.inprocess import Board
from fleetling.simboard.process.board import SIMULATION_HEAP

VFS = slice(0x310000, 0x400000)
APP = {"app.py": b"async def main(task):\n    while True:\n        await task.sleep(1)\n"}


class Bench:
    """A fleet with a broker, a repository behind TLS, and a board whose packs are all damaged."""

    def __init__(self, folder: Path) -> None:
        self.fleet = TemporaryFleet(folder, broker="mosquitto")
        self.slot = device.slot_files("1.1.0", APP)
        self.bundle = pack_app(self.slot)
        file = folder / "site/targets/pump/1.1.0.app"
        file.parent.mkdir(parents=True)
        file.write_bytes(self.bundle)
        self.file = file
        self.site = make_server(folder / "site", HOST, 0, quiet=True)
        self.port = self.site.server_address[1]
        self.lines: list[str] = []
        self.events: list[tuple[str, str]] = []

    def serve(self, authority: Any = None) -> None:
        """Behind TLS, with a certificate of the fleet's CA or of another."""
        identity = (authority or self.fleet.authority).server([HOST], 2)
        certificate, key = self.fleet.write("site", identity)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.site.socket = context.wrap_socket(self.site.socket, server_side=True)
        threading.Thread(target=self.site.serve_forever, daemon=True).start()

    def board(self) -> Any:
        made = self.fleet.board(
            self.fleet.provision("dev"),
            on_line=self.lines.append,
            on_event=lambda *event: self.events.append(event),
        )
        image = build_flash(
            firmware=stock.build_app(),
            nvs=build_nvs(self.fleet.provision("dev")),
            files={**device.board_files(), "slots/factory.pack": b"spoilt", "slots/a.pack": b"x"},
        )
        manifest = self.slot[device.MANIFEST]
        known = {
            "u": f"https://{HOST}:{self.port}/targets/pump/1.1.0.app",
            "z": len(self.bundle),
            "h": hashlib.sha256(manifest).hexdigest(),
            "m": len(manifest),
        }
        kept = json.dumps(known, separators=(",", ":")).encode()
        with Board(image, nvs={"fl_state": {"rescue": kept}}) as written:
            (made.folder / "flash.bin").write_bytes(written.image())
        return made

    def until(self, holds: Callable[[], bool], timeout_s: float = 40) -> bool:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and not holds():
            time.sleep(0.05)
        return holds()

    def says(self, text: str, timeout_s: float = 40) -> bool:
        return self.until(lambda: any(text in line for line in self.lines), timeout_s)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    with made.fleet.broker:
        yield made
    made.site.shutdown()


@pytest.mark.slow
def test_a_board_without_a_slot_comes_back(bench: Bench) -> None:
    bench.serve()
    board = bench.board()
    said: list[dict[str, Any]] = []

    def hear(heard: Any, topic: str) -> None:
        said.append(dict(heard.update))

    try:
        with bench.fleet.operator(hear) as operator:
            board.start()
            assert bench.says("rescue: rescue-done"), bench.lines
            assert operator.wait(lambda s: bool(s.devices.get("dev", Device("")).birth), 40)
            dev = operator.state.devices["dev"]
            assert dev.birth["app"] == "1.1.0" and dev.birth["slot"] == "b"
            assert any(one.get("code") == "rescue-done" for one in said)
            assert operator.wait(lambda _: any(e["code"] == "boot" for e in dev.events), 20)
            assert [e["why"] for e in dev.events if e["code"] == "boot"] == ["rescue"]
            assert [e["reason"] for e in dev.events if e["code"] == "rescue"] == ["rescue-done"]
            assert not [e for e in bench.events if e[0] == "watchdog"]
    finally:
        board.stop()


@pytest.mark.slow
def test_half_of_the_heap_is_enough(bench: Bench) -> None:
    """Compiled from its source, with TLS; a board has 164 KB, and Wi-Fi takes some."""
    bench.serve()
    board = bench.board()
    board.heap = SIMULATION_HEAP + 2 * 90_000
    try:
        board.start()
        assert bench.says("rescue: rescue-done"), bench.lines
    finally:
        board.stop()


@pytest.mark.slow
def test_another_ca_is_not_believed_and_cuts_do_no_harm(bench: Bench) -> None:
    bench.serve(make_authority("another CA"))
    board = bench.board()
    try:
        board.start()
        assert bench.says("rescue: rescue-tls"), bench.lines
        board.power_cut()
        files = read_filesystem((board.folder / "flash.bin").read_bytes()[VFS])
        assert not [path for path in files if path.endswith(".new")]
    finally:
        board.stop()
