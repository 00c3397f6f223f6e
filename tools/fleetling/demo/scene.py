# SPDX-License-Identifier: MIT
"""The demo's stage: a broker, a hub, an operator and three new boards, in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

from fleetling.demo.application import APPLICATION
from fleetling.demo.fleet import HOST, WIFI, TemporaryFleet
from fleetling.demo.releases import FIRMWARE, Releases
from fleetling.release.serve import make_server
from fleetling.simboard.process.board import ProcessBoard

__all__ = ["NAMES", "SETTINGS", "Scene"]

NAMES = ["kitchen", "greenhouse", "workshop"]
# What the boards are flashed with: quick enough to watch.
SETTINGS = {"heartbeat_s": 2, "trial_s": 15, "reconnect_s": 2}


class Scene:
    """Everything that the story acts on; a context manager that leaves no process behind."""

    def __init__(
        self, folder: Path, *, broker: str = "", on_line: Callable[[str, str], None]
    ) -> None:
        self.fleet = TemporaryFleet(folder, broker=broker)
        self.operator = self.fleet.operator()
        self.boards: dict[str, ProcessBoard] = {}
        self.releases = Releases(folder / "repository", compiled=True)
        self._server = make_server(self.releases.folder, HOST, 0, quiet=True)
        repository = f"http://{HOST}:{self._server.server_address[1]}/"
        for seed, name in enumerate(NAMES, start=1):
            self.boards[name] = self.fleet.board(
                self.fleet.unproven(
                    name, settings=SETTINGS, repository=repository, root=self.releases.root
                ),
                app=APPLICATION,
                firmware=FIRMWARE,
                seed=seed,
                on_line=lambda line, name=name: on_line(name, line),  # type: ignore[misc]
            )

    def signed(self) -> int:
        """How many certificates the hub has signed."""
        return sum(len(device.certificates) for device in self.fleet.store().devices())

    def allow_enrol(self, name: str) -> None:
        """Lets a board ask for a certificate once more."""
        self.fleet.store().allow_again(name)

    @property
    def wifi(self) -> str:
        """The name of the boards' network."""
        return WIFI.ssid

    @property
    def broker(self) -> str:
        return self.fleet.broker.kind

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            entered.enter_context(self.fleet.broker)
            self.hub = entered.enter_context(self.fleet.hub())
            entered.enter_context(self.operator)
            serving = Thread(target=self._server.serve_forever, name="releases")
            serving.start()
            entered.callback(serving.join)
            entered.callback(self._server.server_close)
            entered.callback(self._server.shutdown)
            for board in self.boards.values():
                entered.callback(board.stop)
            self._ending = entered.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.__exit__(kind, error, trace)
