# SPDX-License-Identifier: MIT
"""The demo's story: steps, each of which acts on the fleet and then waits for what must follow.

A step is a title and a function that returns what was seen, or raises `StepFailed`. Nothing is
taken for granted: every outcome is read off the broker, as an operator would see it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from fleetling.demo.releases import Releases
from fleetling.errors import FleetlingError
from fleetling.fleet.state import PREFIX, Device, FleetState

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
    @property
    def wifi(self) -> str: ...
    @property
    def releases(self) -> Releases: ...
    def signed(self) -> int:
        """How many certificates the hub has signed."""

    def allow_enrol(self, name: str) -> None:
        """Lets a board ask for a certificate once more."""


class Power(Protocol):
    """A board's switch."""

    def start(self) -> None: ...
    def power_cut(self) -> None: ...


class Watcher(Protocol):
    """What an operator sees and may ask."""

    @property
    def state(self) -> FleetState: ...
    def wait(self, holds: Callable[[FleetState], bool], timeout_s: float) -> bool: ...
    def command(
        self, device_id: str, name: str, args: dict[str, Any] | None = None
    ) -> dict[str, Any]: ...
    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None: ...


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
    devices = scene.operator.state.devices.values()
    free = min(device.health["m"]["heap"][0] for device in devices)
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
    return f"{name}'s last will told of it; it is back as boot {before + 1}"


def _desire(scene: Scene, name: str, version: int, config: dict[str, Any]) -> None:
    """Publishes what a board shall be set to, as `fleetling config` does."""
    document = {"version": version, "epoch": "demo", "config": config}
    topic = f"{PREFIX}{name}/down/desired"
    scene.operator.publish(topic, json.dumps(document).encode(), retain=True)


def _reported(name: str, version: int) -> Callable[[FleetState], bool]:
    """Whether a board is done with a version of its settings."""

    def holds(state: FleetState) -> bool:
        report = state.devices[name].reported
        return report.get("version") == version and report.get("trial") is False

    return holds


def change_setting(scene: Scene) -> str:
    name = next(iter(scene.boards))
    started = time.monotonic()
    _desire(scene, name, 1, {"name": "sink", "app.rate": 2.5})
    _expect(scene, f"{name} reports its settings", _reported(name, 1))
    report = scene.operator.state.devices[name].reported
    if report["keys"] or report["config"].get("app.rate") != 2.5:
        raise StepFailed(f"{name} reports {report}")
    return f"{name} has app.rate 2.5 after {1000 * (time.monotonic() - started):.0f} ms"


def refuse_setting(scene: Scene) -> str:
    name = next(iter(scene.boards))
    _desire(scene, name, 2, {"location": "ground floor", "app.rate": 99})
    _expect(scene, f"{name} reports its settings", _reported(name, 2))
    report = scene.operator.state.devices[name].reported
    if report["keys"] != {"app.rate": "setting-range"} or "location" not in report["config"]:
        raise StepFailed(f"{name} reports {report}")
    return "app.rate 99: setting-range; the rest is in force"


def wrong_password(scene: Scene) -> str:
    loop, name = list(scene.boards)[:2]
    _desire(scene, loop, 3, {"app.fault": "crash"})  # it takes a while; the next step looks
    _desire(scene, name, 1, {"wifi": [[scene.wifi, "not its password"]]})
    _expect(
        scene,
        f"{name} leaves to try it",
        lambda state: (
            not state.devices[name].online or state.devices[name].reported.get("trial") is True
        ),
    )
    _expect(
        scene,
        f"{name} undoes it",
        lambda state: state.devices[name].online and bool(_reported(name, 1)(state)),
        60,
    )
    if not scene.operator.state.devices[name].reported["reverted"]:
        raise StepFailed(f"{name} does not say that it was undone")
    return f"{name} tried it, undid it by itself, and is back"


def crash_loop(scene: Scene) -> str:
    name = next(iter(scene.boards))
    _expect(
        scene,
        f"{name} in safe mode",
        lambda state: (
            state.devices[name].online and state.devices[name].birth.get("mode") == "safe"
        ),
        60,
    )
    crash = scene.operator.state.devices[name].crash
    boot = scene.operator.state.devices[name].boot
    _desire(scene, name, 4, {})
    _expect(
        scene,
        f"{name} leaves safe mode",
        lambda state: (
            state.devices[name].birth.get("mode") == "normal"
            and "app" in state.devices[name].health.get("tasks", {})
        ),
        30,
    )
    file, line, _ = crash["trace"][-1]
    return f"{crash['error']} at {file}:{line}; safe at boot {boot}; mended by a setting"


def hang(scene: Scene) -> str:
    name = list(scene.boards)[1]
    _desire(scene, name, 2, {"app.fault": "hang"})

    def told(state: FleetState) -> bool:
        return any(
            event.get("code") == "boot" and event.get("task") == "pump"
            for event in state.devices[name].events
        )

    _expect(scene, f"{name} says that its pump has hung", told, 30)
    _desire(scene, name, 3, {})
    _expect(scene, f"{name} is mended", _reported(name, 3), 30)
    return f"{name} was reset: its task pump did not check in"


def factory_reset(scene: Scene) -> str:
    name = list(scene.boards)[2]
    signed = scene.signed()
    scene.allow_enrol(name)
    reply = scene.operator.command(name, "reset", {"level": "identity"})
    if reply.get("status") != "ok":
        raise StepFailed(f"{name} answered {reply}")
    _expect(
        scene,
        f"{name} back after its factory reset",
        lambda state: (
            state.devices[name].online
            and any(event.get("code") == "factory-reset" for event in state.devices[name].events)
        ),
        30,
    )
    if scene.signed() != signed + 1:
        raise StepFailed(f"{name} did not enrol again")
    return f"{name} forgot it all, made a new key, was let in again"


def _assign(scene: Scene, name: str, number: int, target: str) -> None:
    """Assigns a release, as `fleetling update assign` does."""
    order = {"id": f"demo-{number}", "targets": [target]}
    topic = f"{PREFIX}{name}/down/update"
    scene.operator.publish(topic, json.dumps(order).encode(), retain=True)


def _updated(scene: Scene, name: str, number: int, state: str, timeout_s: float) -> dict[str, Any]:
    """Waits for the state of an assignment; the board's report."""

    def holds(found: FleetState) -> bool:
        report = found.devices[name].update
        return report.get("id") == f"demo-{number}" and report.get("state") == state

    if not scene.operator.wait(holds, timeout_s):
        report = scene.operator.state.devices[name].update
        raise StepFailed(f"{name} is not {state} within {timeout_s:.0f} s: {report}")
    return scene.operator.state.devices[name].update


def update_application(scene: Scene) -> str:
    kitchen, _, workshop = list(scene.boards)[:3]
    _assign(scene, workshop, 1, scene.releases.hanging)  # it takes a while; a later step looks
    _assign(scene, kitchen, 1, scene.releases.good)
    _updated(scene, kitchen, 1, "confirmed", 60)
    birth = scene.operator.state.devices[kitchen].birth
    if birth.get("app") != "1.1.0":
        raise StepFailed(f"{kitchen} runs {birth.get('app')}")
    size = scene.releases.size(".1.1.0.app")
    return f"{kitchen} runs 1.1.0 in slot {birth['slot']}; most of its {size // 1024} KB it had"


def update_firmware(scene: Scene) -> str:
    name = list(scene.boards)[1]
    _assign(scene, name, 1, scene.releases.firmware)
    _expect(
        scene,
        f"{name} has half of it",
        lambda state: (
            state.devices[name].update.get("state") == "fetching"
            and 2 * state.devices[name].update.get("done", 0)
            > state.devices[name].update.get("of", 0)
            > 0
        ),
        60,
    )
    scene.boards[name].power_cut()
    time.sleep(0.2)
    scene.boards[name].start()
    _updated(scene, name, 1, "confirmed", 90)
    _expect(
        scene,
        f"{name} says that it runs the new firmware",
        lambda state: (
            (state.devices[name].birth.get("release"), state.devices[name].birth["partition"])
            == ("1.1.0", "ota_1")
        ),
    )
    delta, whole = scene.releases.size(".delta"), scene.releases.size(".fw")
    return f"{name} runs 1.1.0 from ota_1; a delta of {delta // 1024} KB for {whole // 1024}"


def hanging_release(scene: Scene) -> str:
    name = list(scene.boards)[2]
    report = _updated(scene, name, 1, "reverted", 120)
    birth = scene.operator.state.devices[name].birth
    if birth.get("app") != "1.0.0":
        raise StepFailed(f"{name} runs {birth.get('app')}")
    return f"{name} went back to 1.0.0 by itself: {report['code']}"


def tampered_release(scene: Scene) -> str:
    name = list(scene.boards)[1]
    scene.releases.tamper()
    _assign(scene, name, 2, scene.releases.tampered)
    report = _updated(scene, name, 2, "refused", 60)
    return f"{name} stays on {scene.operator.state.devices[name].birth['app']}: {report['code']}"


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
        Step("A setting, changed live", change_setting),
        Step("An invalid one is refused", refuse_setting),
        Step("A wrong Wi-Fi password", wrong_password),
        Step("A crash loop, and safe mode", crash_loop),
        Step("An application that hangs", hang),
        Step("A factory reset, and the return", factory_reset),
        Step("An application update", update_application),
        Step("A firmware delta, cut in the middle", update_firmware),
        Step("A release that hangs", hanging_release),
        Step("A release that was tampered with", tampered_release),
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
