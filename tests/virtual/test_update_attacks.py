# SPDX-License-Identifier: MIT
"""What a hostile or broken repository, network or flash can do to a board's update: keep it away.

FAULTS.md's rows U and N on the whole board; each decision has tests of its own with its module.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from test_update import BOOT_S, update
from tuf_repository import ONLINE, signer
from update_world import HOST, World, app, firmware, run_until, slot_of

from fleetling.simboard.chip.flash import SKIP
from fleetling.simboard.inprocess import Board, ServerTls
from fleetling.simboard.inprocess.flashing import write_file

WAIT_S = 400
SECTOR = 4096


@pytest.fixture
def world() -> World:
    return World()


def slots(board: Board) -> tuple[Any, ...]:
    """All that a refusal has to leave as it is."""
    image = board.image()
    packs = {name: data for name, data in board.files().items() if name.startswith("/slots")}
    return packs, image[0xD000:0xF000], image[0x10000:0x310000]


CUSTOM: dict[str, tuple[dict[str, Any], str]] = {
    "another chip": ({"chip": "esp32s3"}, "update-board"),
    "another build": ({"boards": ["LILYGO"]}, "update-board"),
    "machines that are no list": ({"machines": "Generic ESP32 module"}, "update-custom"),
    "a kind that is none": ({"kind": "bootloader"}, "update-custom"),
    "no size": ({"size": None}, "update-custom"),
    "a negative counter": ({"security": -1}, "update-custom"),
    "a huge number": ({"size": 1 << 40}, "update-custom"),
    "no hash": ({"sha256": "00"}, "update-custom"),
    "a version that is none": ({"version": "latest"}, "update-version"),
    "a requirement that is none": ({"requires": {"moon": "1"}}, "update-custom"),
}


@pytest.mark.parametrize("case", list(CUSTOM))
def test_what_is_not_for_this_board_is_refused_before_it_is_fetched(
    world: World, case: str
) -> None:
    custom, code = CUSTOM[case]
    path = world.add_firmware("1.1.0", more=custom)
    with world.board_of() as board:
        board.boot(BOOT_S)
        before = slots(board)
        assert update(world, board, path, state="refused")["code"] == code
        assert slots(board) == before
        assert not [name for name in world.server.requests if name.startswith("targets/")]


MACHINE = "Generic ESP32 module with OTA with ESP32"
NAMED = {
    "no machine": {},
    "another machine": {"machines": ["Generic ESP32 module with ESP32"]},
    "a machine that begins like it": {"machines": [MACHINE[:-6], MACHINE + "-D2WD", ""]},
    "its machine, of another build": {"machines": [MACHINE], "boards": ["LILYGO"]},
}


@pytest.mark.parametrize("release", ["1.24.1", "1.25.0"])
def test_firmware_before_1_25_is_known_by_its_machine_alone(world: World, release: str) -> None:
    """It has no `_build`; what names builds is taken where the machine is named word for word."""
    tells = release != "1.24.1"
    paths = {
        what: world.add_firmware(f"1.0.{number}", more=more)
        for number, (what, more) in enumerate(NAMED.items(), 1)
    }
    good = world.add_firmware("1.2.0", more={"machines": ["Other with ESP32", MACHINE]})
    with world.board_of() as board:
        board.chip.micropython = release
        board.boot(BOOT_S)
        assert world.documents("up/birth")[-1]["build"] == ("ESP32_GENERIC-OTA" if tells else "")
        before = slots(board)
        refused = {
            "no machine": not tells,
            "another machine": not tells,
            "a machine that begins like it": not tells,
            "its machine, of another build": tells,
        }
        for what, path in paths.items():
            if refused[what]:
                report = update(world, board, path, state="refused")
                assert report["code"] == ("update-board" if tells else "update-build"), what
                assert tells or report["detail"] == MACHINE, report
                assert slots(board) == before, what
        assert not [name for name in world.server.requests if name.startswith("targets/")]
        update(world, board, good)
        assert world.documents("up/birth")[-1]["release"] == "1.2.0"


def test_bytecode_of_another_interpreter_is_refused(world: World) -> None:
    path = world.add_app("1.1.0", mpy=5)
    with world.board_of() as board:
        board.boot(BOOT_S)
        assert update(world, board, path, state="refused")["code"] == "update-board"


def test_what_it_requires_is_waited_for(world: World) -> None:
    path = world.add_app("1.1.0", requires={"firmware": "2.0.0"})
    two = world.add_firmware("2.0.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        report = update(world, board, path, state="waiting")
        assert report["why"] == "requires"
        update(world, board, path, two)
        assert world.documents("up/birth")[-1]["app"] == "1.1.0"


def test_an_application_that_requires_the_firmware_that_runs(world: World) -> None:
    one = world.add_firmware("1.1.0")
    two = world.add_app("1.1.0", requires={"firmware": "1.1.0"})
    with world.board_of() as board:
        board.boot(BOOT_S)
        update(world, board, one)
        update(world, board, two)


def test_no_way_down_by_version_or_counter(world: World) -> None:
    new = world.add_app("2.0.0", security=3)
    old = world.add_app("1.9.0", security=3)
    weak = world.add_app("2.1.0", security=2)
    same = world.add_app("2.1.1", security=3)
    with world.board_of() as board:
        board.boot(BOOT_S)
        update(world, board, new)
        assert update(world, board, old, state="refused")["code"] == "update-older"
        assert update(world, board, weak, state="refused")["code"] == "update-security"
        assert update(world, board, new, state="idle")["code"] == "same"
        update(world, board, same)


@pytest.mark.parametrize("kind", ["app", "firmware"])
def test_a_release_that_was_tampered_with_is_refused(world: World, kind: str) -> None:
    """Every byte of the file is under the signature, in the end: some of them are flipped."""
    path = world.add_app("1.1.0") if kind == "app" else world.add_firmware("1.1.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.publish()
        start = board.snapshot()
        (name,) = (n for n in world.repository.files if n.endswith("." + path.split("/")[1]))
        good = world.repository.files[name]
        # An application's later bytes are not asked for where the board has those files.
        rest = (900, 4000) if kind == "app" else (90, 200, len(good) // 2, len(good) - 1)
        for part in (0, 5, 9, *rest):
            damaged = bytearray(good)
            damaged[part] ^= 0x04
            world.repository.files[name] = bytes(damaged)
            board.restore(start)
            world.assign()
            board.boot(BOOT_S)
            world.seen.clear()
            world.assign(path)
            assert run_until(board, WAIT_S, lambda: world.reported("refused")), (
                part,
                world.reports(),
            )
            assert world.documents("up/birth")[-1:] == [] and board.lives
        world.repository.files[name] = good
        board.restore(start)
        world.assign()
        board.boot(BOOT_S)
        update(world, board, path)


def test_signed_by_the_wrong_key(world: World) -> None:
    path = world.add_app("1.1.0")
    world.repository.signers["pump"] = [signer(77)]
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.publish()
        world.assign(path)
        assert run_until(board, 8000, lambda: world.reported("failed")), world.states()
        assert world.reports()[-1]["code"] == "tuf-threshold"
        assert world.documents("up/birth")[-1]["app"] == "1.0.0"
        # It is told as a signal, too.
        board.run(700)
        health = world.documents("up/health")[-1]
        assert health["link"]["failures"]["tuf-threshold"] == 8


def test_a_freeze_is_told_as_one(world: World) -> None:
    path = world.add_app("1.1.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.repository.timestamp.expires = world.repository.now.replace(year=2000)
        world.repository.publish("timestamp")
        world.assign(path)
        assert run_until(board, 8000, lambda: world.reported("failed"))
        assert world.reports()[-1]["code"] == "tuf-expired"
        assert len(world.events("update")) == 1


def test_metadata_from_the_past_is_refused_and_what_is_kept_stays(world: World) -> None:
    path = world.add_app("1.1.0")
    with world.board_of() as board:
        board.boot(BOOT_S)
        update(world, board, path)
        kept = {n: d for n, d in board.files().items() if n.startswith("/fl/tuf")}
        old = dict(world.repository.files)
        newer = world.add_app("1.2.0")
        world.publish()
        world.assign(newer)
        assert run_until(board, WAIT_S, lambda: world.reported("trial"))
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed"))
        newest = {n: d for n, d in board.files().items() if n.startswith("/fl/tuf")}
        assert newest != kept
        world.repository.files.clear()
        world.repository.files.update(old)
        world.assign(path)
        assert run_until(board, 8000, lambda: world.reported("failed"))
        assert world.reports()[-1]["code"] == "tuf-rollback"
        assert newest == {n: d for n, d in board.files().items() if n.startswith("/fl/tuf")}


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_server_in_trouble_is_asked_again_ever_more_seldom(world: World, status: int) -> None:
    path = world.add_app("1.1.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.server.status = status
        asked: list[float] = []
        handle = world.server._answer
        world.server._answer = lambda *a: asked.append(board.now) or handle(*a)  # type: ignore
        world.assign(path)
        board.run(300)
        assert world.reports()[-1]["state"] in ("assigned", "fetching")
        assert 2 < len(asked) < 20
        gaps = [b - a for a, b in pairwise(asked)]
        assert max(gaps[-1:]) > gaps[0]
        world.server.status = 0
        assert run_until(board, 3000, lambda: world.reported("confirmed"))


def test_a_connection_that_drops_again_and_again(world: World) -> None:
    path = world.add_firmware("1.1.0", firmware("1.1.0", 200_000))
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.site.drop_after = 40_000  # each connection
        world.assign(path)
        assert run_until(board, 4000, lambda: world.reported("confirmed")), world.reports()[-1]
        # What was there already was not fetched again, but for the frame that was cut.
        drops = world.site.connections
        assert drops > 4 and world.server.sent < 230_000 + drops * (8192 + 65536)


def test_a_firmware_goes_on_after_a_power_cut(world: World) -> None:
    image = firmware("1.1.0", 900_000)
    path = world.add_firmware("1.1.0", image)
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.site.bytes_per_s = 20_000
        world.assign(path)
        assert run_until(
            board,
            WAIT_S,
            lambda: bool(world.reports()) and world.reports()[-1].get("done", 0) > 400_000,
        )
        done = world.reports()[-1]["done"]
        board.power_cycle()
        world.seen.clear()
        board.boot(BOOT_S)
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed"))
        dones = [r["done"] for r in world.reports() if r["state"] == "fetching" and r["done"]]
        assert done - 131_072 - 8192 <= min(dones) < 900_000


def shown(world: World) -> tuple[str, bool]:
    """What is under way, and whether anything of it is there."""
    report = world.reports()[-1]
    return report["id"], report["done"] > 0


def test_a_note_of_progress_ends_with_what_it_speaks_of(world: World) -> None:
    """Another fetch has written over its first sectors since, and ended before a note of its own:
    what is noted of the first is no longer there."""
    first = world.add_firmware("1.1.0", firmware("1.1.0", 400_000))
    second = world.add_firmware("1.2.0", firmware("1.2.0", 400_000))
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.site.bytes_per_s = 20_000
        world.assign(first)
        assert run_until(board, 60, lambda: "/fl/update.at" in board.files())
        world.site.bytes_per_s = 5000
        world.assign(second)
        begun = ("order-2", True)
        assert run_until(board, 60, lambda: shown(world) == begun)
        assert world.reports()[-1]["done"] < 131_072
        world.site.bytes_per_s = 80_000
        world.assign(first)
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed"))
        assert "update-flash" not in board.console


def test_a_note_of_progress_in_a_delta_is_none_of_the_whole(world: World) -> None:
    base = firmware("1.0.0")
    path = world.add_firmware("1.1.0", firmware("1.1.0", 400_000), base=base)
    world.publish()
    with world.board_of(image=base) as board:
        board.boot(BOOT_S)
        world.site.bytes_per_s = 20_000
        world.assign(path)
        assert run_until(board, 60, lambda: "/fl/update.at" in board.files())
        signed = world.repository.targets["esp32"].targets
        for name in [name for name in signed if name.endswith(".delta")]:
            del signed[name]
        world.publish()
        world.assign(path)
        world.site.bytes_per_s = 80_000
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed"))
        assert "http-" not in board.console


def test_a_file_that_changes_between_two_attempts_is_never_spliced(world: World) -> None:
    path = world.add_firmware("1.1.0", firmware("1.1.0", 300_000))
    world.publish()
    (name,) = (n for n in world.repository.files if n.endswith(".1.1.0.fw"))
    with world.board_of() as board:
        board.boot(BOOT_S)
        good = world.repository.files[name]
        world.site.bytes_per_s = 20_000
        world.assign(path)
        assert run_until(
            board,
            WAIT_S,
            lambda: bool(world.reports()) and world.reports()[-1].get("done", 0) > 40_000,
        )
        world.repository.files[name] = good[:88] + bytes(len(good) - 88)
        world.site.drop_after = 1  # this connection, and then no more
        board.run(2)
        world.site.drop_after = None
        board.run(200)
        assert world.reports()[-1]["state"] != "confirmed"
        world.repository.files[name] = good
        world.assign(path)
        assert run_until(board, 4000, lambda: world.reported("confirmed"))


def test_a_server_that_knows_no_ranges_and_one_that_lies(world: World) -> None:
    path = world.add_firmware("1.1.0")
    world.publish()
    world.server.ranges = False
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.site.drop_after = 60_000
        world.assign(path)
        assert run_until(board, 400, lambda: world.reported("confirmed") or board.now > 350)
        world.site.drop_after = None
        assert run_until(board, 4000, lambda: world.reported("confirmed"))


@pytest.mark.parametrize("trouble", ["ca", "name", "expired", "good"])
def test_https_is_verified(world: World, trouble: str) -> None:
    days = -1 if trouble == "expired" else 1000
    names = ["elsewhere.lan"] if trouble == "name" else [HOST]
    authority = world.claims if trouble == "ca" else world.authority
    server = authority.server(names, days)
    tls = ServerTls([server.certificate_der], server.key_der)
    world.net.host(HOST, 443, world.server.handle, tls=tls)
    provision = world.provision(repository=f"https://{HOST}/")
    world.provision = lambda *a, **k: provision  # type: ignore[method-assign]
    path = world.add_app("1.1.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.assign(path)
        if trouble == "good":
            assert run_until(board, WAIT_S, lambda: world.reported("confirmed"))
            return
        assert run_until(board, 8000, lambda: world.reported("failed"))
        assert world.reports()[-1]["code"] == f"tls-{trouble}"
        assert not world.server.requests


def test_flash_that_lies_is_found_before_the_switch(world: World) -> None:
    """A sector whose program was lost: the hash is taken from flash."""
    path = world.add_firmware("1.1.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        lost: list[int] = []

        def hook(kind: str, addr: int, data: bytes | None, number: int) -> int | None:
            if kind == "program" and 0x198000 <= addr < 0x198100 and len(lost) < 1:
                lost.append(addr)
                return int(SKIP)
            return None

        board.flash.hook = hook
        world.assign(path)
        assert run_until(board, 2000, lambda: world.reported("confirmed"))
        assert lost and "update-flash" in board.console


def test_flash_that_spoils_while_the_update_waits_is_found(world: World) -> None:
    path = world.add_firmware("1.1.0")
    code = b"""
import agent
async def main(task):
    with agent.busy():
        await task.sleep(100)
    while True:
        await task.sleep(1)
"""
    world.publish()
    with world.board_of({"app.py": code}) as board:
        board.boot(BOOT_S)
        world.assign(path)
        assert run_until(board, WAIT_S, lambda: world.reported("waiting"))
        board.flash.store.write(0x199000, bytes(8))
        assert run_until(board, 2000, lambda: world.reported("confirmed"))
        assert "update-flash" in board.console


def test_a_full_file_system_is_told_before_anything_is_removed(world: World) -> None:
    path = world.add_app("1.1.0", {**app("1.1.0"), "big.bin": bytes(range(256)) * 2600})
    with world.board_of() as board:
        board.boot(BOOT_S)
        before = slots(board)
        assert update(world, board, path, state="refused")["code"] == "update-space"
        assert slots(board) == before


def fill(board: Board, blocks: int) -> None:
    """Leaves so many blocks of the file system of a board that is off free."""
    start, count = board.snapshot(), 0
    try:
        while True:
            write_file(board.flash, f"/filler{count}", bytes(SECTOR))
            count += 1
    except OSError:
        board.restore(start)
    for number in range(count - blocks):
        write_file(board.flash, f"/filler{number}", bytes(SECTOR))


def test_an_application_fits_where_its_manifest_has_no_room_beside_the_old(world: World) -> None:
    many = {f"{number:060}.txt": b"%d" % number for number in range(20)}
    path = world.add_app("1.1.0", {**app("1.1.0"), **many})
    size = sum(map(len, slot_of("1.1.0", {**app("1.1.0"), **many}).values()))
    with world.board_of() as board:
        board.boot(BOOT_S)
        # What it takes of metadata is there before.
        world.publish()
        world.assign("pump/none.app")
        assert run_until(board, WAIT_S, lambda: "tuf-unknown" in board.console)
        board.power_cycle()
        write_file(board.flash, "/slots/a.pack", bytes(size + 65_536))
        fill(board, 3)
        board.boot(BOOT_S)
        update(world, board, path)


MALFORMED = [b"", b"{", b"[]", b"{}", b'{"id":1,"targets":[]}', b'{"id":"a","targets":"x"}']
MALFORMED += [b'{"id":"../a","targets":[]}', b"[" * 4000, b'{"id":"a","targets":["x","y","z"]}']
MALFORMED += [json.dumps({"id": "a", "targets": ["pump/x.app"], "deadline": "soon"}).encode()]


def test_roles_without_end_cannot_fill_the_file_system(world: World) -> None:
    """Whoever signs for a product may delegate to as many roles as a search looks into; they stay
    in the snapshot for ever."""
    path = world.add_app("1.1.0")
    roles = [f"more{number}" for number in range(28)]
    for role in roles:
        world.repository.delegate("pump", role, ["pump/*"])
        for number in range(56):
            target = world.repository.add_target(role, f"{role}/{number}.txt", b"x")
            target.unrecognized_fields["custom"] = {"note": "x" * 400}
    world.repository.publish(*roles)
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.assign("pump/2.0.0.app")
        assert run_until(board, WAIT_S, lambda: "tuf-unknown" in board.console), board.console
        kept = {n: len(data) for n, data in board.files().items() if n.startswith("/fl/tuf/")}
        assert sum(kept.values()) <= 131_072 and len(kept) > len(ONLINE) + 2
        world.assign(path)
        assert run_until(board, WAIT_S, lambda: world.reported("confirmed")), board.console


@pytest.mark.parametrize("payload", MALFORMED)
def test_an_assignment_that_is_none(world: World, payload: bytes) -> None:
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.broker.publish("fleetling/v1/dev/down/update", payload, retain=True)
        board.run(60)
        assert board.lives == 1 and world.reports()[-1]["state"] in ("idle", "confirmed")
        assert not world.server.requests


NAMES = ["pump/../1.app", "/pump/1.app", "pump//1.app", "pump/nope.app", "other/1.app"]


@pytest.mark.parametrize("name", NAMES)
def test_a_target_that_nobody_signs(world: World, name: str) -> None:
    world.add_app("1.1.0")
    world.publish()
    with world.board_of() as board:
        board.boot(BOOT_S)
        world.assign(name)
        assert run_until(board, 8000, lambda: world.reported("failed"))
        assert world.reports()[-1]["code"] in ("tuf-path", "tuf-unknown")
