# SPDX-License-Identifier: MIT
"""A whole board with an application on it, its broker and its Wi-Fi, in virtual time.

It boots the real agent; the same seed gives the same run. What a test asks for and does not get is
an AssertionError that ends with what the board printed last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fleetling.demo.virtual import BASE, START, VirtualFleet
from fleetling.simboard.inprocess import Board, Outcome

__all__ = ["AppBoard"]

DEVICE = "dev"
ANSWER_S = 30
APPLY_S = 120
STEP_S = 0.5
SHOWN = 2000


class AppBoard:
    """One board. It is off until `run`, `until` or `start`; pins and the like may be set before.

    Args:
        app: the slot's files by path, app.py among them.
        settings: what it was flashed with, the application's own as "app.NAME".
        seed: of all that is random.
        rollback: whether the bootloader was built with app rollback.

    Attributes:
        fleet: the broker, the hub and the air around it.
        board: the simulated board itself, with its flash and its chip.
    """

    def __init__(
        self,
        app: Mapping[str, bytes],
        settings: Mapping[str, Any] | None = None,
        *,
        seed: int = 1,
        rollback: bool = True,
    ) -> None:
        self.fleet = VirtualFleet()
        provision = self.fleet.provision(DEVICE, settings=dict(settings or {}))
        self.board: Board = self.fleet.board(
            provision, seed=seed, app=dict(app), rollback=rollback
        )
        self._version = 0

    # --- time

    @property
    def now(self) -> float:
        """Virtual seconds since the test began."""
        return self.board.now

    def start(self) -> None:
        """Switches it on, and waits until it is online."""
        self.until(lambda: self.online, 120, "to be online")

    def run(self, seconds: float) -> list[Outcome]:
        """Lets virtual time pass, through resets: the outcomes of the lives, the last paused."""
        return self.board.run(seconds)

    def until(self, holds: Callable[[], bool], seconds: float, what: str = "it to hold") -> None:
        """Lets time pass until `holds()`.

        Raises:
            AssertionError: it does not within so many virtual seconds.
        """
        end = self.now + seconds
        while not holds():
            if self.now >= end:
                raise AssertionError(f"waited {seconds} s for {what}\n{self._tail()}")
            self.board.run(min(STEP_S, end - self.now))

    # --- looking

    @property
    def console(self) -> str:
        """All that it has printed."""
        return self.board.console

    @property
    def boots(self) -> int:
        return self.board.lives

    @property
    def online(self) -> bool:
        """Whether the broker says so."""
        said = self.fleet.documents(f"{DEVICE}/online")
        return bool(said and said[-1]["online"])

    @property
    def birth(self) -> dict[str, Any]:
        """What it said of itself last; {} before it did."""
        return self._last("up/birth")

    @property
    def mode(self) -> str:
        """ "normal", or "safe" when the application is not started; "" before it was online."""
        return str(self.birth.get("mode", ""))

    @property
    def health(self) -> dict[str, Any]:
        """The last heartbeat; {} before the first."""
        return self._last("up/health")

    @property
    def gauges(self) -> dict[str, float]:
        """The application's gauges, as of the last heartbeat."""
        return dict(self.health.get("gauges", {}))

    @property
    def counts(self) -> dict[str, int]:
        """The application's counters, as of the last heartbeat."""
        return dict(self.health.get("counts", {}))

    def events(self, code: str | None = None) -> list[dict[str, Any]]:
        """The events that it sent, each once and in order; those of one code only, if given."""
        found = {event["seq"]: event for event in self.fleet.documents("up/event")}
        return [found[n] for n in sorted(found) if code in (None, found[n]["code"])]

    @property
    def crashes(self) -> list[dict[str, Any]]:
        """The crash records that it sent."""
        return self.fleet.documents("up/crash")

    @property
    def files(self) -> dict[str, bytes]:
        """Every file on its flash."""
        return self.board.files()

    def _last(self, topic: str) -> dict[str, Any]:
        said = self.fleet.documents(topic)
        return said[-1] if said else {}

    def _tail(self) -> str:
        return "--- the board printed last:\n" + self.console[-SHOWN:]

    # --- what an operator does

    def set(self, **settings: Any) -> dict[str, str]:
        """Changes settings, as `fleetling config set` does, and waits until it has reported them.

        An application's own are given as `app={"name": value}`.

        Returns:
            The code of each key that it refused.
        """
        self._version += 1
        wanted = {"version": self._version, "epoch": "test", "config": _flat(settings)}
        document = json.dumps(wanted).encode()
        self.fleet.broker.publish(f"{BASE}{DEVICE}/down/desired", document, retain=True)
        self.until(
            lambda: self._last("up/reported").get("version") == self._version,
            APPLY_S,
            "the settings to be reported",
        )
        return dict(self._last("up/reported")["keys"])

    def command(self, name: str, **args: Any) -> dict[str, Any]:
        """Sends a command and returns its reply."""
        before = len(self.fleet.documents("up/reply"))
        self.fleet.command(DEVICE, name, START + int(self.now) + ANSWER_S, **args)
        self.until(
            lambda: len(self.fleet.documents("up/reply")) > before,
            ANSWER_S,
            f"a reply to {name}",
        )
        return self.fleet.documents("up/reply")[-1]

    # --- the world around it

    @property
    def pins(self) -> dict[int, int]:
        """Levels of its pins, by GPIO: read what it drives, write what it sees."""
        pins: dict[int, int] = self.board.chip.pins
        return pins

    @property
    def volts(self) -> dict[int, float]:
        """What its ADC measures, by GPIO."""
        volts: dict[int, float] = self.board.chip.volts
        return volts

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        """Has `action()` called that many virtual seconds from now, while it runs."""
        self.board.at(seconds, action)

    # --- faults

    def wifi(self, up: bool) -> None:
        """Switches its access point on or off."""
        for point in self.fleet.air.points:
            point["up"] = up

    def broker(self, up: bool) -> None:
        """Lets the broker take connections, or ends them all and takes none."""
        self.fleet.host.refuse = not up
        if not up:
            self.fleet.broker.restart()

    def hold_heap(self, size: int) -> None:
        """Takes so many bytes of its heap away, until its next reset."""
        self.board.chip.heap_held = size

    def power_cut(self) -> None:
        """Takes the power away at once; `run` switches it on again."""
        self.board.power_cycle()

    def power_cuts(self, seconds: float, *, every: int = 1, settle_s: float = 60) -> Iterator[int]:
        """What a power cut can do to it: runs its next `seconds` after a power-on again and again,
        each time with the power cut at another flash operation, and lets it start again.

        Yields:
            The number of the operation that was cut, with the board as it is `settle_s` later.

        Args:
            every: 1 cuts at each flash operation, n at each n-th.
        """
        self.power_cut()
        before = self.board.snapshot()
        first = before.operations
        self.board.run(seconds)
        last = self.board.flash.operations
        for operation in range(first + 1, last + 1, every):
            self.board.restore(before)
            self.board.cut_at(operation)
            outcomes = self.board.run(seconds + settle_s)
            self.board.flash.hook = None
            if all(outcome.reason != "power-cut" for outcome in outcomes):
                continue  # the world was not the same: it came to fewer operations
            yield operation

    def close(self) -> None:
        self.board.close()


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    own = settings.get("app")
    if not isinstance(own, Mapping):
        return dict(settings)
    rest = {name: value for name, value in settings.items() if name != "app"}
    return {**rest, **{f"app.{name}": value for name, value in own.items()}}
