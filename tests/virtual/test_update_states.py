# SPDX-License-Identifier: MIT
"""A reboot in every state of an update, and an error for ever in every state (FAULTS D-1, D-2).

The chain of states that is reported from the reboot on, the last report and the events are exactly
as docs/updates.md says; and whatever goes on failing, the update ends, and says so once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from test_update import BOOT_S
from test_update_storage import refuse
from update_case import OVER
from update_world import World, app, run_until

from fleetling.simboard.inprocess import Board

WAIT_S = 900
HOUR = 3600
OTADATA = 0xD000
BUSY = b"""
import agent
async def main(task):
    with agent.busy():
        await task.sleep(120)
    while True:
        await task.sleep(1)
"""
ILL = b"""
async def main(task):
    while True:
        await task.sleep(1)
def healthy():
    return False
"""
CRASH = app("bad", "raise ValueError('no')")
SICK = {**app("sick"), "app.py": ILL}
GOES_ON = ["switching", "trial", "confirmed"]
Files = dict[str, bytes]
To = Callable[[World, Board], None]


def path(world: World, files: Files | None = None, **custom: Any) -> str:
    """Publishes a firmware, or an application of these files."""
    made = world.add_app("1.1.0", files, **custom) if files else world.add_firmware("1.1.0")
    world.publish()
    return made


# --- reboots


@dataclass
class Reboot:
    """`to` brings the board into the state; `chain` is what it reports from the reboot on."""

    state: str
    to: To
    chain: list[str]
    tries: int
    code: str = ""
    told: bool = True  # after the reboot, not before it
    files: Files | None = None


def idle(world: World, board: Board) -> None:
    assert world.reported("idle")


def assigned(world: World, board: Board) -> None:
    world.assign(path(world), jitter_s=200)
    board.run(2)
    assert world.reported("assigned")


def fetching(world: World, board: Board) -> None:
    world.site.bytes_per_s = 2000
    world.assign(path(world))
    assert run_until(board, WAIT_S, lambda: bool(world.reports()[-1].get("done")))
    world.site.bytes_per_s = 1_000_000


def waiting(world: World, board: Board) -> None:
    world.assign(path(world))
    assert run_until(board, WAIT_S, lambda: world.reported("waiting"))


def trial(world: World, board: Board) -> None:
    world.assign(path(world))
    assert run_until(board, WAIT_S, lambda: world.reported("trial"))


def before(state: str, files: Files | None = None) -> To:
    """The power goes right before the record says `state`."""
    text = f'"state": "{state}"'.encode()
    return lambda world, board: cut(world, board, files, lambda addr, data: text in data)


def going_back(world: World, board: Board) -> None:
    """The record says so, and the slot's word does not yet."""
    said: list[int] = []

    def when(addr: int, data: bytes) -> bool:
        if b'"state": "reverting"' in data:
            said.append(addr)
        return bool(said) and addr < OTADATA

    cut(world, board, SICK, when)


def cut(
    world: World, board: Board, files: Files | None, when: Callable[[int, bytes], bool]
) -> None:
    def hook(kind: str, addr: int, data: bytes | None, number: int) -> int | None:
        return 0 if when(addr, data or b"") else None

    board.flash.hook = hook
    world.assign(path(world, files))
    reason = "reset"
    while reason == "reset":
        reason = (board.resume if board.alive else board.boot)(WAIT_S).reason
    assert reason == "power-cut"
    board.flash.hook = None


def ended(state: str, files: Files | None = None, **custom: Any) -> To:
    def to(world: World, board: Board) -> None:
        world.assign(path(world, files, **custom))
        assert run_until(board, WAIT_S, lambda: world.reported(state)), world.states()
        board.run(70)

    return to


def failed(world: World, board: Board) -> None:
    world.server.status = 500
    world.assign(path(world))
    assert run_until(board, 3 * HOUR, lambda: world.reported("failed")), world.states()
    world.server.status = 0


REBOOTS = [
    Reboot("idle", idle, ["idle"], 0, told=False),
    Reboot("assigned", assigned, ["idle", "assigned", "fetching", *GOES_ON], 1),
    Reboot("fetching", fetching, ["fetching", *GOES_ON], 1),
    Reboot("verified", before("switching"), ["verified", *GOES_ON], 1),
    Reboot("waiting", waiting, ["verified", "waiting", *GOES_ON], 1, files={"app.py": BUSY}),
    Reboot("switching", before("trial"), ["verified", *GOES_ON], 2),
    Reboot("trial", trial, ["verified", *GOES_ON], 2),
    Reboot("trial of an application", before("confirmed", app()), ["trial", "confirmed"], 1),
    Reboot("confirmed", ended("confirmed"), ["confirmed"], 1, told=False),
    Reboot("reverting", going_back, ["reverted"], 1, "trial-healthy"),
    Reboot("reverting, done", before("reverted", SICK), ["reverted"], 1, "trial-healthy"),
    Reboot("reverted", ended("reverted", CRASH), ["reverted"], 1, "trial-crash", told=False),
    Reboot("failed", failed, ["failed"], 0, "http-status", told=False),
    Reboot("refused", ended("refused", app(), mpy=5), ["refused"], 0, "update-board", told=False),
]
LIVE = ("fetching", "trial")
WAYS = [
    pytest.param(case, how, id=f"{case.state}-{how}")
    for case in REBOOTS
    for how in ("power", "reset")
    if how == "power" or case.state in LIVE
]


@pytest.mark.parametrize(("case", "how"), WAYS)
def test_a_reboot_in_every_state(case: Reboot, how: str) -> None:
    world = World()
    with world.board_of(case.files) as board:
        board.boot(BOOT_S)
        case.to(world, board)
        told = [event["seq"] for event in world.events("update")]
        assert bool(told) == (not case.told and case.state != "idle")
        world.seen.clear()
        if how == "power":
            board.power_cycle()
        else:
            world.command("dev", "reboot", 1 << 32)
        board.run(400)
        assert world.states() == case.chain, (world.states(), board.console[-2500:])
        report = world.reports()[-1]
        expected = {
            "state": case.chain[-1],
            "id": "order-1" if case.state != "idle" else "",
            "done": 0,
            "of": 0,
            "why": "",
            "code": case.code,
            "tries": case.tries,
        }
        assert {key: report[key] for key in expected} == expected
        assert len(report["targets"]) == (case.tries > 0)
        events = [event for event in world.events("update") if event["seq"] not in told]
        ends = [(case.chain[-1], case.code)] if case.told else []
        assert [(event["state"], event["reason"]) for event in events] == ends
        birth = world.documents("up/birth")[-1]
        new = case.chain[-1] == "confirmed"
        assert ("1.1.0" in (birth["app"], birth["release"])) == new, birth


# --- errors for ever


@dataclass
class Error:
    """`begin` assigns, and has it go wrong in `state`, for ever."""

    what: str
    state: str
    begin: To
    end: str
    code: str
    files: Files | None = None


def assign(wrong: To, files: Files | None = None, **order: Any) -> To:
    def begin(world: World, board: Board) -> None:
        wrong(world, board)
        world.assign(path(world, files), **order)

    return begin


def status(world: World, board: Board) -> None:
    world.server.status = 503


def gone(world: World, board: Board) -> None:
    world.site.refuse = True


def drops(world: World, board: Board) -> None:
    world.site.drop_after = 1


def no_broker(world: World, board: Board) -> None:
    """From the trial on."""
    world.assign(path(world))
    assert run_until(board, WAIT_S, lambda: world.reported("switching"))
    world.host.refuse = True
    world.broker.restart()
    board.at(HOUR, lambda: setattr(world.host, "refuse", False))  # to hear of it


def fails(region: str) -> To:
    return lambda world, board: refuse(board, region)


def fails_in(state: str, region: str, files: Files | None = None) -> To:
    """Flash takes nothing there as soon as the state is reported."""

    def begin(world: World, board: Board) -> None:
        world.assign(path(world, files))
        assert run_until(board, WAIT_S, lambda: world.reported(state)), world.states()
        refuse(board, region)

    return begin


def fails_from_the_first_start_on(region: str) -> To:
    """The new one never has a flash that takes anything there."""

    def begin(world: World, board: Board) -> None:
        world.assign(path(world))
        assert not run_until(board, WAIT_S, lambda: not board.alive) or board.lives == 1
        refuse(board, region)

    return begin


def spoilt(world: World, board: Board) -> None:
    """While it waits, and then nobody has it any more."""
    waiting(world, board)
    board.flash.store.write(0x199000, bytes(8))
    world.site.refuse = True


def spoilt_behind_the_switch(world: World, board: Board) -> None:
    """It was hashed, and spoils as it is chosen, each time: the bootloader passes it over."""

    def hook(kind: str, addr: int, data: bytes | None, number: int) -> None:
        if OTADATA <= addr < OTADATA + 0x2000:
            board.flash.store.write(0x199000, bytes(8))

    board.flash.hook = hook
    world.assign(path(world))


ERRORS = [
    Error("status", "assigned", assign(status), "failed", "http-status"),
    Error("gone", "assigned", assign(gone), "failed", "http-closed"),
    Error("drops", "fetching", assign(drops), "failed", "http-closed"),
    Error("files", "fetching", assign(fails("files")), "failed", "fs-write"),
    Error("apps", "fetching", assign(fails("apps")), "failed", "flash-write"),
    Error("spoilt", "waiting", spoilt, "failed", "http-closed", {"app.py": BUSY}),
    Error(
        "files", "waiting", fails_in("waiting", "files"), "failed", "fs-write", {"app.py": BUSY}
    ),
    Error("nvs", "waiting", fails_in("waiting", "nvs"), "failed", "nvs-error", {"app.py": BUSY}),
    Error("otadata", "switching", assign(fails("otadata")), "failed", "firmware-boot"),
    Error("spoilt", "switching", spoilt_behind_the_switch, "reverted", "trial-power"),
    Error("crash", "trial", assign(idle, CRASH), "reverted", "trial-crash"),
    Error("ill", "trial", assign(idle, SICK), "reverted", "trial-healthy"),
    Error("broker", "trial", no_broker, "reverted", "trial-link"),
    Error("otadata", "trial", fails_in("trial", "otadata"), "reverted", "firmware-boot"),
    Error("start", "trial", fails_from_the_first_start_on("files"), "confirmed", "fs-write"),
    Error("files", "trial", fails_in("trial", "files"), "confirmed", "fs-write"),
    # The old one is back, and what would say why cannot be written.
    Error("files", "reverting", fails_in("trial", "files", SICK), "failed", "fs-write"),
]


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: f"{case.state}-{case.what}")
def test_an_error_for_ever_in_every_state(case: Error) -> None:
    world = World()
    with world.board_of(case.files) as board:
        board.boot(BOOT_S)
        case.begin(world, board)
        assert run_until(board, 3 * HOUR, lambda: ended_once(world)), world.states()
        board.run(HOUR / 4)
        # It is over, and nothing goes on: neither requests, nor writes for it, nor resets.
        lives, requests = board.lives, len(world.server.requests)
        health = len(world.documents("up/health"))
        board.run(HOUR / 3)
        assert (board.lives, len(world.server.requests)) == (lives, requests) and lives <= 6
        assert len(world.documents("up/health")) > health
        states = world.states()
        report = world.reports()[-1]
        assert (report["state"], report["code"]) == (case.end, case.code), (states, report)
        assert sum(state in OVER for state in states) == 1, states
        events = [(event["state"], event["reason"]) for event in world.events("update")]
        assert events == [(case.end, case.code)]
        birth = world.documents("up/birth")[-1]
        new = birth["app"] == "1.1.0" or birth["partition"] == "ota_1"
        assert new == (case.end == "confirmed"), birth


def ended_once(world: World) -> bool:
    return any(report["state"] in OVER for report in world.reports())


def test_a_way_back_that_cannot_be_written_is_tried_ever_more_seldom() -> None:
    """Until it can be: a board that resets for ever would be of less use."""
    world = World()
    with world.board_of() as board:
        board.boot(BOOT_S)
        fails_in("trial", "nvs", SICK)(world, board)
        board.run(3 * HOUR)
        assert world.states()[-2:] == ["trial", "reverting"] and board.lives == 2
        assert world.reports()[-1]["code"] == "trial-healthy"
        assert 8 < board.console.count("not reverted: nvs-error") < 18
        assert len(world.documents("up/health")) > 10 and not world.events("update")
        board.flash.hook = None
        board.power_cycle()
        assert run_until(board, WAIT_S, lambda: world.reported("reverted")), world.states()
        assert world.documents("up/birth")[-1]["app"] == "1.0.0" and board.lives <= 5
        assert len(world.events("update")) == 1
