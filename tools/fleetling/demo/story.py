# SPDX-License-Identifier: MIT
"""The demo's story: steps, each of which acts on the fleet and then waits for what must follow.

A step is a title and a function that returns what was seen, or raises `StepFailed`. Nothing is
taken for granted: every outcome is read off the broker, as an operator would see it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from fleetling.errors import FleetlingError
from fleetling.fleet.state import Device, FleetState

__all__ = ["Outcome", "Step", "play", "steps"]

ENROL_S = 20


class Scene(Protocol):
    """What the story acts on."""

    @property
    def boards(self) -> Mapping[str, Power]: ...
    @property
    def operator(self) -> Watcher: ...
    @property
    def hub(self) -> Signer: ...
    def signed(self) -> int:
        """How many certificates the hub has signed."""


class Power(Protocol):
    """A board's switch."""

    def start(self) -> None: ...
    def power_cut(self) -> None: ...


class Watcher(Protocol):
    """What an operator sees and may ask."""

    @property
    def state(self) -> FleetState: ...
    def wait(self, holds: Callable[[FleetState], bool], timeout_s: float) -> bool: ...
    def command(self, device_id: str, name: str) -> dict[str, Any]: ...


class Signer(Protocol):
    """The hub."""

    @property
    def answered(self) -> int: ...


class Outcome(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


class StepFailed(Exception):
    """What should have followed did not."""


@dataclass
class Step:
    title: str
    act: Callable[[Scene], str]
    outcome: Outcome = Outcome.WAITING
    seen: str = ""
    seconds: float = field(default=0.0)


def _expect(
    scene: Scene, what: str, holds: Callable[[FleetState], bool], timeout_s: float = 20
) -> None:
    if not scene.operator.wait(holds, timeout_s):
        raise StepFailed(f"{what}: not within {timeout_s:.0f} s")


def _all(scene: Scene, test: Callable[[Device], bool]) -> Callable[[FleetState], bool]:
    def holds(state: FleetState) -> bool:
        return all(
            (device := state.devices.get(name)) is not None and test(device)
            for name in scene.boards
        )

    return holds


def enrol(scene: Scene) -> str:
    for board in scene.boards.values():
        board.start()
    until = time.monotonic() + ENROL_S
    while scene.hub.answered < len(scene.boards):
        if time.monotonic() > until:
            raise StepFailed(f"the hub signed {scene.hub.answered} within {ENROL_S} s")
        time.sleep(0.1)
    return f"{scene.hub.answered} keys made on the boards, {scene.hub.answered} requests signed"


def log_in(scene: Scene) -> str:
    _expect(scene, "all boards online", _all(scene, lambda device: device.online))
    signed = scene.signed()
    if signed != len(scene.boards):
        raise StepFailed(f"{signed} certificates for {len(scene.boards)} boards")
    return f"{len(scene.boards)} boards online with their own certificates; claims retired"


def births(scene: Scene) -> str:
    _expect(scene, "a birth document from each", _all(scene, lambda device: bool(device.birth)))
    birth = next(iter(scene.operator.state.devices.values())).birth
    return f"agent {birth['agent']} on {birth['build']}, slot {birth['slot']}"


def heartbeats(scene: Scene) -> str:
    _expect(scene, "two heartbeats from each", _all(scene, lambda device: device.heartbeats >= 2))
    free = min(device.health["heap"]["free"] for device in scene.operator.state.devices.values())
    return f"least free heap {free // 1024} KB"


def command(scene: Scene) -> str:
    name = next(iter(scene.boards))
    started = time.monotonic()
    reply = scene.operator.command(name, "ping")
    if reply.get("status") != "ok":
        raise StepFailed(f"{name} answered {reply}")
    return f"{name} answered ping in {1000 * (time.monotonic() - started):.0f} ms"


def reboot(scene: Scene) -> str:
    name = list(scene.boards)[1]
    before = scene.operator.state.devices[name].boot or 0
    scene.operator.command(name, "reboot")
    _expect(
        scene,
        f"{name} back after its reboot",
        lambda state: state.devices[name].online and (state.devices[name].boot or 0) > before,
    )
    _expect(
        scene,
        f"{name} says why it rebooted",
        lambda state: any(
            event.get("code") == "boot" and event.get("why") == "command"
            for event in state.devices[name].events
        ),
    )
    return f"{name} is back as boot {before + 1}, and says: by command"


def power_cut(scene: Scene) -> str:
    name = list(scene.boards)[2]
    before = scene.operator.state.devices[name].boot or 0
    scene.boards[name].power_cut()
    _expect(
        scene,
        f"the broker tells that {name} is gone",
        lambda state: not state.devices[name].online,
    )
    scene.boards[name].start()
    _expect(
        scene,
        f"{name} back after the power cut",
        lambda state: state.devices[name].online and (state.devices[name].boot or 0) > before,
    )
    return f"{name} lost power, its last will told so, and it came back as boot {before + 1}"


def nothing_lost(scene: Scene) -> str:
    _expect(
        scene,
        "a boot event for every boot",
        lambda state: all(
            sum(event["code"] == "boot" for event in device.events) == device.boot
            for device in state.devices.values()
        ),
    )
    devices = scene.operator.state.devices.values()
    missed = sum(device.missed_events for device in devices)
    if missed:
        raise StepFailed(f"{missed} events missing")
    return f"{sum(len(device.events) for device in devices)} events, no number missing"


def steps() -> list[Step]:
    return [
        Step("Power on: each asks to be let in", enrol),
        Step("They log in", log_in),
        Step("They describe themselves", births),
        Step("They send heartbeats", heartbeats),
        Step("A command", command),
        Step("A reboot by command", reboot),
        Step("A power cut, and the return", power_cut),
        Step("Nothing was lost", nothing_lost),
    ]


def play(scene: Scene, story: list[Step]) -> Iterator[Step]:
    """Runs the steps in order and yields each when it starts and when it ends.

    After a step that failed the others are skipped: what they build on is not there.
    """
    failed = False
    for step in story:
        if failed:
            step.outcome = Outcome.SKIPPED
            yield step
            continue
        step.outcome = Outcome.RUNNING
        yield step
        started = time.monotonic()
        try:
            step.seen = step.act(scene)
            step.outcome = Outcome.DONE
        except (StepFailed, FleetlingError) as e:
            step.seen = str(e)
            step.outcome = Outcome.FAILED
            failed = True
        step.seconds = time.monotonic() - started
        yield step
