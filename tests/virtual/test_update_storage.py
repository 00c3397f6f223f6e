# SPDX-License-Identifier: MIT
"""Flash that takes nothing more: from any operation of an update on, and in usual life (P-11).

The board stays up and on the broker, what runs is the old or the new, the update comes to an end
that is told once, and it is made good as soon as flash takes something again. `pytest
--every-case` fails at each operation that is more than bulk, the suite at some.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from zlib import crc32

import pytest
from test_update import BOOT_S
from update_case import OVER, Case
from update_scenarios import a_firmware, an_application, told
from update_world import HOST, World, app, run_until, slot_of

from fleetling.release.bundle import pack_app
from fleetling.simboard.chip.flash import FAIL, Flash
from fleetling.simboard.chip.nvs import Nvs
from fleetling.simboard.chip.nvs_format import BLOB_V1
from fleetling.simboard.inprocess import Board
from fleetling.simboard.inprocess.flashing import write_file

__all__ = ["told"]

HOURS = 3600
NVS, OTADATA, APPS, FILES = (
    (0x9000, 0xD000),
    (0xD000, 0xF000),
    (0x10000, 0x310000),
    (0x310000, 1 << 22),
)
REGIONS = {
    "files": [FILES],
    "nvs": [NVS],
    "otadata": [OTADATA],
    "apps": [APPS],
    "all": [NVS, APPS, FILES],
}
WHERE = [
    *[(a_firmware, region) for region in REGIONS],
    *[(an_application, region) for region in ("files", "nvs", "all")],
]


def refuse(board: Board, region: str, after: int = 0) -> None:
    """From then on, so many operations later, flash takes nothing there. The bootloader's own
    writes to otadata still work: what it does without them is not known here."""
    first = board.flash.operations + after

    def hook(kind: str, addr: int, data: bytes | None, number: int) -> int | None:
        assert board.program
        inside = any(start <= addr < end for start, end in REGIONS[region])
        bootloader = board.program.sandbox is None and OTADATA[0] <= addr < OTADATA[1]
        return int(FAIL) if number >= first and inside and not bootloader else None

    board.flash.hook = hook


def points(case: Case, region: str, every: bool) -> list[int]:
    """Operations of the undisturbed run at which it begins."""
    spans = REGIONS[region]
    found = [
        number
        for number in (case.operations() if region == "apps" else case.metadata(case.where))
        if any(start <= case.where[number][1] < end for start, end in spans)
    ]
    return found if every else [found[crc32(region.encode()) % len(found)]]


def suffers(case: Case, region: str, number: int) -> None:
    world, board = case.world, case.board
    case.go(case.start)
    refuse(board, region, number)
    lives, health = board.lives, len(world.documents("up/health"))
    board.run(1.5 * HOURS)
    said = (region, number, world.states(), board.console[-2500:])
    assert board.alive and board.lives - lives <= 3, said
    assert len(world.documents("up/health")) - health >= 7, said  # one in ten minutes
    report = world.reports()[-1]
    assert report["state"] in OVER, (report, said)
    assert sum(state in OVER for state in world.states()) == 1, said
    assert len(world.events("update")) == 1, (world.events("update"), said)
    births = [f"{b['app']} {b['partition']}" for b in world.documents("up/birth")]
    assert set(births) <= {case.old, case.new}, (births, said)
    new = report["state"] == "confirmed"
    assert births[-1] == (case.new if new else case.old), (births, said)
    assert new or report["code"], said

    board.flash.hook = None
    board.power_cycle()
    if case.end == "confirmed":
        world.seen.clear()
        world.assign(*case.targets)
        assert run_until(board, HOURS, lambda: done(case)), (world.states(), said)
    else:
        board.run(600)
    board.power_cycle()
    board.boot(BOOT_S)
    birth = world.documents("up/birth")[-1]
    wanted = case.new if case.end == "confirmed" else case.old
    assert f"{birth['app']} {birth['partition']}" == wanted, said
    assert case.state("slot") >> 2 == 0, said


def done(case: Case) -> bool:
    report = case.world.reports()[-1:]
    return bool(report) and (report[0]["state"] == "confirmed" or report[0]["code"] == "same")


@pytest.mark.slow
@pytest.mark.parametrize(("make", "region"), WHERE)
def test_from_any_operation_of_an_update_on(
    make: Callable[[], Case], region: str, request: Any, told: Any
) -> None:
    case = make()
    tried = points(case, region, request.config.getoption("--every-case"))
    for number in tried:
        suffers(case, region, number)
    told(case, len(tried))


COUNTS = app("on", "__import__('agent').count('rounds')\n        await task.sleep(60)")


@pytest.mark.parametrize(("region", "after"), [("files", 0), ("nvs", 1), ("all", 5)])
def test_in_usual_life_the_board_goes_on_and_says_so(region: str, after: int) -> None:
    """The application, the heartbeats and the commands go on; a setting is refused with a code;
    and after a start the board is on its broker again."""
    world = World(heartbeat_s=300)
    with world.board_of(COUNTS) as board:
        board.boot(BOOT_S)
        refuse(board, region, after)
        for version, powered in enumerate((False, True), 1):
            if powered:
                board.power_cycle()
            board.run(BOOT_S)
            world.seen.clear()
            lives = board.lives
            desired = {"version": version, "epoch": "e", "config": {"name": f"name {version}"}}
            topic = "fleetling/v1/dev/down/desired"
            world.broker.publish(topic, json.dumps(desired).encode(), retain=True)
            world.command("dev", "ping", 1 << 32)
            board.run(HOURS)
            said = (region, powered, board.console[-2000:])
            assert board.alive and board.lives == lives, said
            health = world.documents("up/health")
            assert len(health) >= 10, said
            assert health[-1]["counts"]["rounds"] > health[0]["counts"]["rounds"], said
            assert [reply["status"] for reply in world.documents("up/reply")] == ["ok"], said
            assert board.console.count("E events") < 20, said  # not at each look
            (reported,) = world.documents("up/reported")[-1:]
            if region == "files":
                assert reported["config"]["name"] == f"name {version}", said
            else:
                assert reported["refused"]["code"].startswith("nvs-"), said
                assert "name" not in reported["config"], said


PART = {"kind": "app", "path": "p", "version": "1", "security": 0}
PART |= {"sha256": "00" * 32, "size": 5, "place": 1}
IDLE: dict[str, Any] = {"state": "idle", "parts": []}
ODD: dict[str, dict[str, Any]] = {
    "no list of parts": {"state": "trial", "parts": 5},
    "parts that are none": {"state": "trial", "parts": [5]},
    "a part without anything": {"state": "trial", "parts": [{}]},
    "a part of a new kind": {"state": "trial", "parts": [{**PART, "kind": "data"}]},
    "a slot that is none": {"state": "trial", "parts": [{**PART, "place": 9}]},
    "a slot by its name": {"state": "trial", "parts": [{**PART, "place": "a"}]},
    "a count in words": {"state": "switching", "parts": [PART], "n": "one"},
    "a state by its number": {"state": 7, "parts": []},
    "a new state": {"state": "later", "parts": [PART], "id": "x"},
    "a code by its number": {**IDLE, "untold": True, "code": 5},
    "condemned, but not what": {**IDLE, "bad": 5},
    "alone, for nothing": {**IDLE, "alone": {"next": True}},
    "alone, without an end": {**IDLE, "alone": {"next": True, "order": {"id": 5}, "lives": "1"}},
    "alone, in words": {**IDLE, "alone": "yes"},
}
RELEASES = {"a number": 5, "nothing": [], "a version": ["1.0.0"], "an object": {}}


def takes_an_update(path: str, data: Any) -> None:
    world = World()
    targets = [world.add_app("1.1.0"), world.add_firmware("1.1.0")]
    world.publish()
    with world.board_of() as board:
        write_file(board.flash, path, json.dumps(data).encode())
        board.boot(BOOT_S)
        world.assign(*targets)
        assert run_until(board, 300, lambda: world.reported("confirmed")), board.console[-1500:]


@pytest.mark.parametrize("case", ODD)
def test_a_record_of_another_agents_making_keeps_no_board_away(case: str) -> None:
    """As an agent may write it that was left by a reversal."""
    takes_an_update("/fl/update", ODD[case])


@pytest.mark.parametrize("case", RELEASES)
def test_what_is_noted_of_a_firmware_may_be_odd(case: str) -> None:
    takes_an_update("/fl/firmware", {"ota_0": RELEASES[case]})


def test_what_was_confirmed_but_not_noted_stays_without_a_broker() -> None:
    """The slot's number is written, the record is not; and the next life has no broker."""
    world = World()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.assign(world.add_app("1.1.0", security=1))
        world.publish()
        assert run_until(board, 400, lambda: world.reported("trial"))
        refuse(board, "files")
        assert run_until(board, 900, lambda: world.reported("confirmed"))
        assert world.reports()[-1]["code"] == "fs-write"
        board.power_cycle()
        world.host.black_hole = True
        world.seen.clear()
        run_until(board, 900, lambda: False)
        world.host.black_hole = False
        assert run_until(board, 900, lambda: bool(world.reports()))
        assert world.documents("up/birth")[-1]["app"] == "1.1.0", board.console[-1500:]


def test_where_the_application_was_is_kept_however_long_and_odd_its_address_is() -> None:
    world = World()
    folder = "f" * (128 - len(f"http://{HOST}//")) + "/"
    version = "1.1.0"
    path = 'pump/"' + "p" * 86 + ".app"
    slot = slot_of(version, app(version))
    manifest = slot["manifest.json"]
    facts = {
        "kind": "app",
        "version": version,
        "size": len(manifest),
        "sha256": sha256(manifest).hexdigest(),
        "bytes": sum(map(len, slot.values())) - len(manifest),
    }
    world.add(path, pack_app(slot), facts)
    world.publish()
    # Of 128 bytes, as much as there is room for.
    world.repository_url = f"http://{HOST}/{folder}"
    files = world.repository.files
    for name in list(files):
        files[folder + name] = files[name]
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.assign(path)
        assert run_until(board, 400, lambda: world.reported("confirmed")), board.console[-900:]
        flash = Flash(board.flash.store.clone())
        flash.and_ranges = [NVS]
        kept = json.loads(Nvs(flash, 0x9000, 0x4000).get("fl_state", BLOB_V1, "rescue"))
        assert kept["h"] == facts["sha256"] and kept["u"].endswith(path.partition("/")[2])
