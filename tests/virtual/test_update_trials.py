# SPDX-License-Identifier: MIT
"""Trials in bad company: a bootloader without rollback, otadata in any state, tasks that starve,
power that goes, releases that are no firmware (FAULTS P-14, P-15, U-7, U-9, U-12, D-3, D-4)."""

from __future__ import annotations

import hashlib
import json
import struct
from binascii import crc32
from itertools import product
from typing import Any

import pytest
from test_update import BOOT_S, LONG_S, update
from test_update_attacks import WAIT_S, slots
from update_world import World, app, firmware, run_until, slot_of

from fleetling import device
from fleetling.image.flash import build_flash
from fleetling.image.nvs import build_nvs
from fleetling.release import payload
from fleetling.simboard.chip import stock
from fleetling.simboard.chip.flash import Flash
from fleetling.simboard.chip.nvs import Nvs
from fleetling.simboard.chip.nvs_format import I32
from fleetling.simboard.inprocess import Board
from fleetling.simboard.inprocess.flashing import write_file

OTADATA = 0xD000
SECTOR = 4096
BLANK = 0xFFFFFFFF
STATES = {"new": 0, "pending": 1, "valid": 2, "invalid": 3, "aborted": 4, "undefined": BLANK}
OVER = ("idle", "confirmed", "reverted", "failed", "refused")
IN_SUITE = 11  # one in so many; the whole table is for `pytest --every-case`


@pytest.fixture
def world() -> World:
    return World()


# --- what is on trial fails


@pytest.mark.parametrize("rollback", [True, False])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("await __import__('asyncio').sleep(9999)", "trial-starved"),
        ("pass\n        while True: pass", "trial-hung"),
        ("raise ValueError('no')", "trial-crash"),
    ],
)
def test_an_application_that_starves_or_hangs_takes_its_firmware_back(
    body: str, code: str, rollback: bool
) -> None:
    world = World(trial_s=300)
    one = world.add_app("1.1.0", app("bad", body))
    two = world.add_firmware("1.1.0")
    with world.board_of(rollback=rollback) as board:
        board.boot(BOOT_S)
        world.publish()
        world.assign(one, two)
        assert run_until(board, 3000, lambda: world.reported("reverted")), world.states()
        # Where boot.py has to set the bootloader back, the reset that it makes comes last.
        assert world.reports()[-1]["code"] in (code, "trial-panic" if not rollback else code)
        birth = world.documents("up/birth")[-1]
        assert (birth["app"], birth["partition"]) == ("1.0.0", "ota_0")
        assert board.lives <= 6
        assert update(world, board, one, state="refused")["code"] == "update-condemned"
        assert board.chip.running == "ota_0"


def test_one_that_only_sleeps_is_ended_by_the_count_of_its_starts(world: World) -> None:
    """Wakes from deep sleep are no bad boots, and no trial comes to its end."""
    body = "await task.sleep(5)\n        __import__('machine').deepsleep(1000)"
    path = world.add_app("1.1.0", app("sleepy", body))
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.publish()
        world.assign(path)
        assert run_until(board, 3000, lambda: world.reported("reverted")), world.states()
        assert world.documents("up/birth")[-1]["app"] == "1.0.0"
        assert board.console.count("boot: back to factory") == 3  # tries, of ten starts each
        assert 30 <= board.lives <= 42


def test_the_floor_moves_with_the_confirmation_and_not_before(world: World) -> None:
    bad = world.add_app("1.1.0", app("bad", "raise ValueError('no')"), security=5)
    good = world.add_app("1.2.0", security=1)
    with world.board_of() as board:
        board.boot(BOOT_S)
        update(world, board, bad, state="reverted")
        update(world, board, good)  # had the floor moved, 1 would be too low
        weak = world.add_app("1.3.0", security=0)
        assert update(world, board, weak, state="refused")["code"] == "update-security"


# --- a trial that is shorter than a task's deadline

START = "import agent, asyncio, sys\n\n\nasync def main(task):\n"
DEAD = {
    "from its first step on": START + "    await asyncio.sleep(9999)\n",
    "after a while": START + "    for _ in range(10):\n        await task.sleep(1)\n"
    "    await asyncio.sleep(9999)\n",
    "once it was started again": START + "    if not hasattr(sys, 'once'):\n"
    "        sys.once = 1\n        await task.sleep(1)\n        raise ValueError('once')\n"
    "    await asyncio.sleep(9999)\n",
    "once it was started again, which took long": "import sys, time\n"
    "time.sleep(8 if hasattr(sys, 'once') else 0)\n" + START + "    if not hasattr(sys, 'once'):\n"
    "        sys.once = 1\n        await task.sleep(1)\n        raise ValueError('once')\n"
    "    await asyncio.sleep(9999)\n",
    "a task with a long deadline": "import agent, asyncio\n\n\nasync def pump(task):\n"
    "    await asyncio.sleep(9999)\n\n\nasync def main(task):\n    await task.sleep(8)\n"
    "    agent.task('pump', pump, 300)\n    while True:\n        await task.sleep(1)\n",
}


@pytest.mark.parametrize("what", DEAD)
def test_what_hangs_is_not_confirmed_however_short_the_trial(world: World, what: str) -> None:
    """A third of 60 s is healthy time enough, and no task is overdue then."""
    path = world.add_app("1.1.0", {"app.py": DEAD[what].encode()})
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.publish()
        world.assign(path)
        assert run_until(board, 1500, lambda: world.reported("reverted")), world.states()
        assert "confirmed" not in world.states()
        # The supervisor ends it, or the trial, if its time is over: whoever looks first.
        assert world.reports()[-1]["code"] in ("trial-starved", "trial-tasks")
        assert world.documents("up/birth")[-1]["app"] == "1.0.0"
        assert board.lives <= 6
        assert update(world, board, path, state="refused")["code"] == "update-condemned"


ALIVE = {
    "asleep for an hour": (START + "    while True:\n        await task.sleep(3600)\n", 60),
    "over at once": (START + "    pass\n", 60),
    "with jobs that come and go": (
        "import agent, asyncio\n\n\nasync def job(task):\n    await asyncio.sleep(9)\n\n\n"
        "async def main(task):\n    n = 0\n    while True:\n        n += 1\n"
        "        agent.task('job' + str(n), job)\n        await task.sleep(4)\n",
        60,
    ),
    "quiet for nearly all of its deadline": (
        START + "    while True:\n        await asyncio.sleep(55)\n        task.alive()\n",
        90,
    ),
    "with a task that is quiet for longer than the trial": (
        "import agent, asyncio\n\n\nasync def pump(task):\n    while True:\n"
        "        await asyncio.sleep(250)\n        task.alive()\n\n\nasync def main(task):\n"
        "    agent.task('pump', pump, 280)\n    while True:\n        await task.sleep(1)\n",
        300,
    ),
}


@pytest.mark.parametrize("what", ALIVE)
def test_a_good_release_is_confirmed_however_short_the_trial(world: World, what: str) -> None:
    """One that has not checked in when `trial_s` is over has its deadline to do so."""
    source, within_s = ALIVE[what]
    path = world.add_app("1.1.0", {"app.py": source.encode()})
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.publish()
        world.assign(path)
        assert run_until(board, WAIT_S, lambda: world.reported("trial")), world.states()
        assert run_until(board, within_s, lambda: world.reported("confirmed")), world.states()


# --- the power goes


@pytest.mark.parametrize("cuts", [1, 2, 3])
def test_a_trial_that_loses_its_power_is_tried_again_three_times_in_all(
    world: World, cuts: int
) -> None:
    path = world.add_firmware("1.1.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.assign(path)
        for _ in range(cuts):
            assert run_until(board, WAIT_S, lambda: world.reported("trial")), world.states()
            board.power_cycle()
            world.seen.clear()
        expected = "confirmed" if cuts < 3 else "reverted"
        assert run_until(board, WAIT_S, lambda: world.reported(expected)), world.states()
        partition = "ota_1" if cuts < 3 else "ota_0"
        assert world.documents("up/birth")[-1]["partition"] == partition
        if cuts == 3:
            assert world.reports()[-1]["code"] == "trial-power"
            update(world, board, path)  # not its fault: it may come again


def test_losses_of_power_that_boot_py_ends_condemn_nothing(world: World) -> None:
    """Without rollback it is boot.py that goes back, and the reset that it makes is no panic."""
    path = world.add_firmware("1.1.0")
    world.publish()
    with world.board_of(rollback=False) as board:
        board.boot(BOOT_S)
        world.assign(path)
        assert run_until(board, WAIT_S, lambda: world.reported("trial")), world.states()
        losses = 0
        while "boot: back to factory" not in board.console:
            losses += 1
            board.power_cycle()
            board.boot(1)
        assert losses == 6
        world.seen.clear()
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed")), world.states()
        assert world.documents("up/birth")[-1]["partition"] == "ota_1"


# --- boot.py


def test_a_slot_with_any_wrong_file_is_passed_over(world: World) -> None:
    """A bit flips in the content alone: sizes, manifest and its CRC are right."""
    files = slot_of("1.0.0", app())
    pack = device.pack(files)
    rows = json.loads(files[device.MANIFEST])["files"]
    nvs = build_nvs(world.provision())
    at = 12 + len(files[device.MANIFEST])
    for number, (path, size, _) in enumerate(rows):
        place = at + size * number // len(rows)  # first bytes of some files, last ones of others
        at += size
        if not size or number % 8:
            continue
        spoilt = bytearray(pack)
        spoilt[place] ^= 1 << number % 8
        both = {"slots/factory.pack": bytes(spoilt), "slots/a.pack": pack}
        flash = build_flash(
            firmware=firmware("1.0.0"), nvs=nvs, files={**device.board_files(), **both}
        )
        with Board(flash, seed=1, net=world.net, air=world.air) as board:
            board.boot(lambda board=board: "\n" in board.console)  # type: ignore[misc]
            assert f"boot: damaged factory ValueError('{path}'" in board.console, path
            board.resume(1)
            assert board.sandbox.importer.path[0] == "/slot-a", path


@pytest.mark.parametrize("spoilt", [b"\xff" * 5000, b"FLPK" + b"\xff" * 5000, b"FLPK", b""])
def test_a_slot_that_is_no_pack_is_passed_over(world: World, spoilt: bytes) -> None:
    """Also where its head says a length that no integer of 32 bits has."""
    packs = {"slots/factory.pack": spoilt, "slots/a.pack": device.pack(slot_of("1.0.0", app()))}
    flash = build_flash(
        firmware=firmware("1.0.0"),
        nvs=build_nvs(world.provision()),
        files={**device.board_files(), **packs},
    )
    with Board(flash, seed=1, net=world.net, air=world.air) as board:
        board.boot(1)
        assert board.sandbox.importer.path[0] == "/slot-a", board.console


# --- what is signed, and no firmware for this board


def header(image: bytes, at: int, value: int) -> bytes:
    return image[:at] + bytes([value]) + image[at + 1 :]


IMAGES: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "random bytes": (b"\x5a" * 60_000, {}, "firmware-image"),
    "a wrong magic": (header(firmware("1.1.0"), 0, 0xE8), {}, "firmware-image"),
    "no segments": (header(firmware("1.1.0"), 1, 0), {}, "firmware-image"),
    "too many segments": (header(firmware("1.1.0"), 1, 17), {}, "firmware-image"),
    "another chip": (stock.build_app(version="1.1.0", chip_id=9), {}, "firmware-image"),
    "truncated": (firmware("1.1.0")[:-5000], {}, "firmware-image"),
    "larger than the slot": (firmware("1.1.0"), {"size": 0x180001}, "firmware-size"),
    "another size": (firmware("1.1.0"), {"size": 70_000}, "payload-signed"),
    "another hash": (firmware("1.1.0"), {"sha256": "11" * 32}, "payload-signed"),
}


@pytest.mark.parametrize("case", list(IMAGES))
def test_an_image_that_is_none_never_boots(world: World, case: str) -> None:
    image, custom, code = IMAGES[case]
    path = world.add_firmware("1.1.0", image, more=custom)
    with world.board_of() as board:
        board.boot(BOOT_S)
        otadata = board.image()[OTADATA : OTADATA + 2 * SECTOR]
        assert update(world, board, path, state="refused")["code"] == code
        assert board.image()[OTADATA : OTADATA + 2 * SECTOR] == otadata and board.lives == 1


def test_a_delta_from_something_else_gives_way_to_the_whole(world: World) -> None:
    base = firmware("1.0.0")
    path = world.add_firmware("1.1.0", base=base)
    image, other = firmware("1.1.0"), firmware("0.9.0")
    digest = hashlib.sha256(base).hexdigest()
    facts = {
        "kind": "firmware",
        "version": "1.1.0",
        "size": len(image),
        "sha256": hashlib.sha256(image).hexdigest(),
        "chip": "esp32",
        "boards": ["ESP32_GENERIC-OTA"],
        "base": digest,
    }
    world.add(f"esp32/1.1.0.{digest[:16]}.delta", payload.pack(image, other), facts)
    with world.board_of(image=base) as board:
        board.boot(BOOT_S)
        update(world, board, path)
        assert "delta: payload-base" in board.console
        assert world.documents("up/birth")[-1]["partition"] == "ota_1"


def test_a_delta_that_makes_a_wrong_image_gives_way_to_the_whole(world: World) -> None:
    """Its header says that it makes the right one: only the hash in flash can tell."""
    base, image = firmware("1.0.0"), firmware("1.1.0")
    path = world.add_firmware("1.1.0", image, base=base)
    lies = bytearray(payload.pack(image[:-64] + bytes(64), base))
    lies[16:48] = hashlib.sha256(image).digest()
    lies[84:88] = struct.pack("<I", crc32(lies[:84]))
    digest = hashlib.sha256(base).hexdigest()
    facts = {"kind": "firmware", "version": "1.1.0", "size": len(image), "chip": "esp32"}
    facts |= {"sha256": hashlib.sha256(image).hexdigest(), "base": digest}
    world.add(f"esp32/1.1.0.{digest[:16]}.delta", bytes(lies), facts)
    with world.board_of(image=base) as board:
        board.boot(BOOT_S)
        update(world, board, path)
        assert "delta: update-flash" in board.console
        assert world.documents("up/birth")[-1]["partition"] == "ota_1"


@pytest.mark.parametrize("status", [403, 404])  # S3 without the right to list has 403 for it
def test_a_delta_that_is_not_there_gives_way_to_the_whole(world: World, status: int) -> None:
    base = firmware("1.0.0")
    path = world.add_firmware("1.1.0", base=base)
    answer = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()
    world.server.instead = lambda path: [answer] if path.endswith(".delta") else None
    with world.board_of(image=base) as board:
        board.boot(BOOT_S)
        update(world, board, path)
        assert any(".delta" in request for request in world.server.requests)
        assert world.documents("up/birth")[-1]["partition"] == "ota_1"


# --- otadata, in every combination


def entry(sequence: int, state: int) -> bytes:
    crc = crc32(struct.pack("<I", sequence), 0xFFFFFFFF)
    return struct.pack("<I20sII", sequence, b"\xff" * 20, state, crc)


def entries(first: str, second: str, higher: int) -> bytes:
    """Both sectors; "blank" is never written, "torn" has a wrong CRC."""
    found = bytearray(b"\xff" * 2 * SECTOR)
    for number, name in enumerate((first, second)):
        # ota_0 has odd sequences, ota_1 even ones; `higher` has the newer one.
        sequence = number + 1 + (2 if number == higher else 0)
        if name == "torn":
            found[number * SECTOR : number * SECTOR + 32] = entry(sequence, 2)[:-4] + bytes(4)
        elif name != "blank":
            found[number * SECTOR : number * SECTOR + 32] = entry(sequence, STATES[name])
    return bytes(found)


TABLE = list(product([*STATES, "blank", "torn"], [*STATES, "blank", "torn"], (0, 1)))


@pytest.mark.parametrize("rollback", [True, False])
@pytest.mark.parametrize("state", ["idle", "verified", "switching", "trial", "reverting"])
def test_whatever_otadata_says_a_signed_image_runs_and_it_comes_to_an_end(
    world: World, state: str, rollback: bool, request: Any, record_property: Any
) -> None:
    path = world.add_firmware("1.1.0", security=1)
    world.publish()
    with world.board_of(rollback=rollback) as board:
        board.boot(BOOT_S)
        world.assign(path)
        assert run_until(board, WAIT_S, lambda: world.reported("trial"))
        board.power_cycle()
        record = json.loads(board.files()["/fl/update"])
        record["state"] = state
        if state == "idle":
            record["parts"] = []
        write_file(board.flash, "/fl/update", json.dumps(record).encode())
        start = board.snapshot()
        step = 1 if request.config.getoption("--every-case") else IN_SUITE
        cases = TABLE[hash_of(state, rollback) % step :: step]
        record_property("tried", len(cases))
        for case in cases:
            board.restore(start)
            board.flash.store.write(OTADATA, entries(*case))
            world.seen.clear()
            lives = board.lives
            assert run_until(
                board, 900, lambda: bool(world.reports()) and world.reports()[-1]["state"] in OVER
            ), (case, world.states(), board.console[-1500:])
            board.run(100)
            births = {b["partition"] for b in world.documents("up/birth")}
            assert births <= {"ota_0", "ota_1"} and board.alive, case
            assert board.lives - lives <= 6, (case, board.lives - lives)
            assert world.reports()[-1]["state"] in OVER, (case, world.states())


def hash_of(*words: object) -> int:
    """Another part of the table for each parameter, the same in every run."""
    return crc32(repr(words).encode())


def test_a_firmware_of_somebody_else_is_not_taken_for_the_release_that_was_there(
    world: World,
) -> None:
    needs = world.add_app("1.1.0", requires={"firmware": "2.0.0"})
    with world.board_of() as board:
        board.boot(BOOT_S)
        for version in ("2.0.0", "3.0.0"):
            update(world, board, world.add_firmware(version))
        world.broker.publish("fleetling/v1/dev/down/update", b"", retain=True)
        board.power_cycle()
        blank = b"\xff" * (SECTOR - 32)
        board.flash.store.write(0x190000, firmware("1.5.0"))
        board.flash.store.write(OTADATA, (entry(10, 0) + blank) + b"\xff" * SECTOR)
        world.seen.clear()
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed"))
        birth = world.documents("up/birth")[-1]
        assert (birth["partition"], birth["release"]) == ("ota_1", "")
        assert update(world, board, needs, state="waiting")["why"] == "requires"


@pytest.mark.parametrize("rollback", [True, False])
def test_a_bootloader_without_rollback_is_reported(world: World, rollback: bool) -> None:
    path = world.add_firmware("1.1.0")
    with world.board_of(rollback=rollback) as board:
        board.boot(BOOT_S)
        update(world, board, path)
        assert [e["code"] for e in world.events("no-rollback")] == ["no-rollback"] * (not rollback)
        board.run(LONG_S)
        assert world.documents("up/birth")[-1]["partition"] == "ota_1"


# --- U-10, D-7


def test_bytes_behind_an_image_are_no_part_of_it(world: World) -> None:
    path = world.add_firmware("1.1.0")
    world.publish()
    (name,) = (n for n in world.repository.files if n.endswith(".1.1.0.fw"))
    good = world.repository.files[name]
    with world.board_of() as board:
        board.flash.store.write(0x190000, b"\xa5" * 0x100000)  # what ota_1 held before
        board.boot(BOOT_S)
        before = slots(board)
        world.repository.files[name] = good + b"more" * 1000
        world.assign(path)
        assert run_until(board, 12_000, lambda: world.reported("failed"))
        assert world.reports()[-1]["code"] == "http-length" and slots(board) == before
        world.repository.files[name] = good
        world.assign(path)
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed"))
        assert world.documents("up/birth")[-1]["partition"] == "ota_1"


def test_a_second_update_waits_for_the_first(world: World) -> None:
    one, two = world.add_firmware("1.1.0"), world.add_firmware("1.2.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.assign(one)
        assert run_until(board, WAIT_S, lambda: world.reported("trial"))
        world.server.requests.clear()
        world.assign(two)
        while not world.events("update"):
            assert not world.server.requests  # nothing is fetched or written beside a trial
            board.run(1)
        assert world.events("update")[0]["firmware"] == "1.1.0"
        assert run_until(board, WAIT_S, lambda: len(world.events("update")) == 2)
        assert world.events("update")[1]["firmware"] == "1.2.0"
        assert world.documents("up/birth")[-1]["partition"] == "ota_0"


def test_an_application_never_runs_without_its_firmware(world: World) -> None:
    """The bootloader goes back after a loss of power: in the same life, boot.py does too."""
    one, two = world.add_app("1.1.0"), world.add_firmware("1.1.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.assign(one, two)
        for _ in range(2):
            assert run_until(board, WAIT_S, lambda: world.reported("trial")), world.states()
            board.power_cycle()
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed")), world.states()
        births = {(b["app"], b["partition"]) for b in world.documents("up/birth")}
        assert births == {("1.0.0", "ota_0"), ("1.1.0", "ota_1")}


def test_a_way_back_that_the_record_knows_nothing_of_ends_as_one(world: World) -> None:
    """The application is on trial, and the record is another agent's, or is gone."""
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.publish()
        world.assign(path)
        assert run_until(board, WAIT_S, lambda: world.reported("trial"))
        world.broker.publish("fleetling/v1/dev/down/update", b"", retain=True)
        board.power_cycle()
        write_file(board.flash, "/fl/update", b'{"state": "trial", "parts": [{}]}')
        world.seen.clear()
        board.run(300)
        assert world.documents("up/birth")[-1]["app"] == "1.0.0"
        assert "reverted" in world.states() and "confirmed" not in world.states(), world.states()


def test_where_the_bootloader_has_no_rollback_no_trial_is_taken_for_confirmed(
    world: World,
) -> None:
    """boot.py has given the slot back, and the power went before it chose the other firmware."""
    path = world.add_firmware("1.1.0")
    world.publish()
    with world.board_of(rollback=False) as board:
        board.boot(BOOT_S)
        world.assign(path)
        assert run_until(board, WAIT_S, lambda: world.reported("trial"))
        board.power_cycle()
        flash = Flash(board.flash.store)
        flash.and_ranges = [(0x9000, 0xD000)]
        Nvs(flash, 0x9000, 0x4000).set("fl_state", I32, "slot", 0)
        world.host.black_hole = True
        board.run(3600)
        world.host.black_hole = False
        world.seen.clear()
        board.run(300)
        assert world.documents("up/birth")[-1]["partition"] == "ota_0", world.states()


def test_where_what_it_goes_back_to_is_damaged_the_board_stays_up(world: World) -> None:
    sick = "await task.sleep(1)\n\n\ndef healthy():\n    return False"
    path = world.add_app("1.1.0", app("sick", sick))
    good = world.add_app("1.2.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.assign(path)
        assert run_until(board, WAIT_S, lambda: world.reported("trial"))
        spoilt = bytearray(board.files()["/slots/factory.pack"])
        spoilt[30] ^= 1
        board.power_cycle()
        write_file(board.flash, "/slots/factory.pack", bytes(spoilt))
        lives = board.lives
        board.run(200)
        assert world.reports()[-1]["code"] == "pack-damaged", world.states()
        assert board.lives - lives <= 3
        assert board.alive and world.documents("up/birth")[-1]["app"] == "1.1.0"
        # And it can be helped.
        world.assign(good)
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed")), world.states()
        assert world.documents("up/birth")[-1]["app"] == "1.2.0"
