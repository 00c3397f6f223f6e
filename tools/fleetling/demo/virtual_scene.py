# SPDX-License-Identifier: MIT
"""The demo's stage where no MicroPython interpreter is to be had: CPython boards in virtual time.

Each board has a world of its own, with broker and hub; the story sees them as one fleet. Time
passes only while somebody waits for something.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fleetling import device
from fleetling.demo.application import APPLICATION
from fleetling.demo.releases import FIRMWARE, Releases
from fleetling.demo.scene import NAMES, SETTINGS
from fleetling.demo.virtual import BASE, SSID, VirtualFleet
from fleetling.errors import FleetlingError
from fleetling.fleet.state import FleetState
from fleetling.simboard.inprocess.broker import Message
from fleetling.simboard.inprocess.web import FileServer

__all__ = ["VirtualScene"]

STEP_S = 0.5
UPDATES = "updates.lan"


class VirtualBoard:
    """One board and its world; `power` is what the story may do to it."""

    def __init__(
        self, name: str, seed: int, take: Callable[[Message], None], releases: Releases
    ) -> None:
        self.world = VirtualFleet()
        self.world.broker.listeners.append(take)
        self.world.net.host(UPDATES, 80, FileServer(releases.read).handle)
        provision = self.world.unproven(
            name, settings=SETTINGS, repository=f"http://{UPDATES}/", root=releases.root
        )
        slot = device.slot_files("1.0.0", APPLICATION, compiled=False, bare=True)
        files = {"slots/factory.pack": device.pack(slot)}
        self.board = self.world.board(provision, seed=seed, firmware=FIRMWARE, files=files)
        self.powered = False
        self._shown = 0

    def start(self) -> None:
        self.powered = True

    def power_cut(self) -> None:
        self.powered = False
        self.board.power_cycle()

    def pass_time(self, seconds: float) -> list[str]:
        """Lets virtual time pass; the console's new lines."""
        if self.powered:
            self.board.run(seconds)
        else:
            clock = self.board.clock
            end = clock.now_us + round(seconds * 1e6)
            while clock.now_us < end:
                clock.host.wait(end)
        lines = self.board.console.splitlines()
        new, self._shown = lines[self._shown :], len(lines)
        return new


class _Operator:
    """The fleet as an operator's connection shows it."""

    def __init__(self, scene: VirtualScene) -> None:
        self._scene = scene
        self.state = FleetState()

    def take(self, message: Message) -> None:
        self.state.apply(message.topic, message.payload, 0.0)

    def wait(self, holds: Callable[[FleetState], bool], timeout_s: float) -> bool:
        """Lets time pass until `holds(state)`, for at most so many virtual seconds."""
        passed = 0.0
        while not holds(self.state):
            if passed > 4 * timeout_s:  # a broker waits longer than a kernel to miss a board
                return False
            self._scene.pass_time(STEP_S)
            passed += STEP_S
        return True

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Sends a message to the board that the topic names."""
        device_id = topic.removeprefix(BASE).partition("/")[0]
        self._scene.boards[device_id].world.broker.publish(topic, payload, retain=retain)

    def command(
        self, device_id: str, name: str, args: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Sends a command and waits for its reply.

        Raises:
            FleetlingError: none came.
        """
        number = secrets.token_hex(8)
        message = {"id": number, "name": name, "args": args or {}, "expires": 1 << 32}
        self.publish(f"{BASE}{device_id}/down/command", json.dumps(message).encode())
        if not self.wait(lambda state: number in state.devices[device_id].replies, 15):
            raise FleetlingError(f"{device_id} did not answer {name!r}")
        return self.state.devices[device_id].replies[number]


class _Hubs:
    """The hubs of all worlds, as the story asks one."""

    def __init__(self, scene: VirtualScene) -> None:
        self._scene = scene

    @property
    def answered(self) -> int:
        self._scene.pass_time(STEP_S)
        return self._scene.signed()


class VirtualScene:
    """What the story acts on; a context manager.

    Args:
        on_line: called with (board's name, line) for each line of a console.
    """

    def __init__(self, on_line: Callable[[str, str], None]) -> None:
        self.operator = _Operator(self)
        self._folder = tempfile.TemporaryDirectory()
        self.releases = Releases(Path(self._folder.name), compiled=False)
        self.hub = _Hubs(self)
        self.boards = {
            name: VirtualBoard(name, seed, self.operator.take, self.releases)
            for seed, name in enumerate(NAMES, start=1)
        }
        self._on_line = on_line

    @property
    def wifi(self) -> str:
        """The name of the boards' network."""
        return SSID

    def pass_time(self, seconds: float) -> None:
        """The same time passes in every world."""
        for name, board in self.boards.items():
            for line in board.pass_time(seconds):
                self._on_line(name, line)

    def signed(self) -> int:
        """How many certificates the hubs have signed."""
        devices = [device for b in self.boards.values() for device in b.world.store.devices()]
        return sum(len(device.certificates) for device in devices)

    def allow_enrol(self, name: str) -> None:
        """Lets a board ask for a certificate once more."""
        self.boards[name].world.store.allow_again(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for board in self.boards.values():
            board.board.close()
        self._folder.cleanup()
