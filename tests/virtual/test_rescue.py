# SPDX-License-Identifier: MIT
"""No slot is good: the board fetches what was confirmed last again, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from update_world import HOST, World, app, firmware, run_until, slot_of

from fleetling import device
from fleetling.demo.virtual import START
from fleetling.image.flash import build_flash
from fleetling.image.nvs import build_nvs
from fleetling.release import payload
from fleetling.release.bundle import pack_app, unpack_app
from fleetling.simboard.chip.flash import Flash
from fleetling.simboard.chip.nvs import Nvs
from fleetling.simboard.chip.nvs_format import I32
from fleetling.simboard.inprocess import Board

BOOT_S = 20
END_S = 900
Files = dict[str, bytes]


def again(board: Board, change: Callable[[Files], None], nvs: bytes | None = None) -> bytes:
    """The board's flash with its files changed while it was off."""
    image = board.image()
    files = {path.lstrip("/"): data for path, data in board.files().items()}
    change(files)
    kept = image[0x9000:0xD000] if nvs is None else nvs
    return build_flash(firmware=firmware("1.0.0"), nvs=kept, files=files)


def spoil(files: Files) -> None:
    """One bit of each pack, in its last file."""
    for path in files:
        if path.endswith(".pack"):
            files[path] = files[path][:-9] + bytes((files[path][-9] ^ 4,)) + files[path][-8:]


class Bench:
    """A world in which 1.1.0 was confirmed, and the flash of the board that did."""

    def __init__(self) -> None:
        self.world = World()
        self.world.add_app("1.1.0", security=1)
        self.world.publish()
        self.board = self.world.board_of()
        self.board.boot(BOOT_S)
        self.world.assign("pump/1.1.0.app")
        assert run_until(self.board, END_S, lambda: self.world.reported("confirmed"))
        self.board.resume(5)
        self.path = next(p for p in self.world.server.requests if p.endswith("1.1.0.app"))
        self.begin(again(self.board, spoil))

    def begin(self, image: bytes, unix: int = START) -> Board:
        """Another board's life with this flash, in the same world."""
        self.board.power_cycle()
        self.world.seen.clear()
        world = self.world
        self.board = Board(image, seed=2, net=world.net, air=world.air, unix=unix)
        return self.board

    def online(self) -> bool:
        return bool(self.world.documents("up/birth"))

    def runs(self, version: str = "1.1.0") -> bool:
        births = self.world.documents("up/birth")
        return bool(births) and births[-1]["app"] == version

    def told(self) -> list[str]:
        """Codes on up/update while the rescue ran."""
        return [
            str(report["code"])
            for report in self.world.documents("up/update")
            if report["state"] == "rescue"
        ]

    def nothing_new(self) -> None:
        packs = [p for p in self.board.files() if p.endswith(".pack")]
        for path in packs:
            with pytest.raises(Exception, match=r"damaged|no slot"):
                device.unpack(self.board.files()[path])
        assert not self.online()


@pytest.fixture(scope="module")
def made() -> tuple[Bench, bytes]:
    bench = Bench()
    return bench, bench.board.image()


@pytest.fixture
def bench(made: tuple[Bench, bytes]) -> Bench:
    """The board before its first start without a slot; the world as it was."""
    bench, image = made
    host = bench.world.host
    for one in (host, bench.world.site):
        one.black_hole = one.refuse = one.unknown = False
        one.drop_after = None
    bench.world.server.files = bench.world.repository.files
    bench.world.server.status = 0
    bench.world.server.ranges = True
    bench.world.site.handler = bench.world.server.handle
    bench.world.air.points[0]["up"] = True
    bench.world.air.ntp_up = True
    bench.world.server.requests.clear()
    bench.begin(image)
    return bench


def test_the_last_confirmed_application_comes_back(bench: Bench) -> None:
    bench.board.boot(2)
    assert "boot: no slot is good" in bench.board.console
    assert run_until(bench.board, 120, bench.runs)
    assert bench.told() == ["rescue-done"]
    (event,) = (e for e in bench.world.documents("up/event") if e["code"] == "rescue")
    assert event["seq"] == 0 and event["reason"] == "rescue-done"
    (boot,) = bench.world.events("boot")[-1:]
    assert boot["why"] == "rescue" and not bench.world.events("safe-mode")
    assert bench.world.server.requests == [bench.path]
    assert "app says 1.1.0" in bench.board.console
    bench.board.resume(120)
    assert bench.board.alive  # and stays


def test_it_is_the_slot_to_keep_and_no_trial(bench: Bench) -> None:
    run_until(bench.board, 120, bench.runs)
    bench.board.resume(30)
    assert bench.board.sandbox.importer.path[0] == "/slot-a"
    assert bench.world.reports()[-1]["state"] == "confirmed"


def change(bench: Bench, edit: Callable[[bytearray], None]) -> None:
    files = dict(bench.world.repository.files)
    data = bytearray(files[bench.path])
    edit(data)
    files[bench.path] = bytes(data)
    bench.world.server.files = files


def flip(where: int) -> Callable[[bytearray], None]:
    def edit(data: bytearray) -> None:
        data[where] ^= 1

    return edit


def other(data: bytearray) -> None:
    """A bundle that is sound in itself, of another application."""

    data[:] = pack_app(slot_of("6.6.6", app("evil")))


def path_trick(data: bytearray) -> None:
    at = data.index(b"note.txt")
    data[at : at + 8] = b"../../xx"


def swap(data: bytearray) -> None:
    """One file's payload is replaced by a sound one of another content."""
    old = app("1.1.0")["app.py"]
    was = payload.pack(old, frame=4096)
    others = (b"0.%d.%d" % divmod(n, 10) for n in range(100))
    made = (payload.pack(old.replace(b"1.1.0", other), frame=4096) for other in others)
    new = next(each for each in made if len(each) == len(was))
    at = data.index(was)
    data[at : at + len(was)] = new


def cut_short(data: bytearray) -> None:
    del data[-100:]


WRONG: list[tuple[Any, str]] = [
    (flip(0), "rescue-format"),
    (flip(8), "rescue-format"),
    (flip(12), "rescue-hash"),
    (flip(-200), "rescue-"),
    (flip(5000), "rescue-hash"),
    (other, "rescue-"),
    (path_trick, "rescue-hash"),
    (swap, "rescue-hash"),
    (cut_short, "rescue-slow"),
]


@pytest.mark.parametrize(("edit", "code"), WRONG)
def test_bytes_that_are_not_those_are_not_installed(bench: Bench, edit: Any, code: str) -> None:
    change(bench, edit)
    bench.board.boot(100)
    assert bench.board.alive and bench.told() and bench.told()[0].startswith(code), bench.told()
    bench.nothing_new()
    bench.world.server.files = bench.world.repository.files
    assert run_until(bench.board, 600, bench.runs)


def wide(content: bytes) -> bytes:
    """Frames of two sectors, in a payload that says one."""
    made = payload.pack(content, frame=8192)
    return made[:7] + b"\1" + made[8:]


def long(content: bytes) -> bytes:
    """More packed bytes than raw ones, and more than a board has memory for."""
    made = payload.pack(content, frame=4096)
    return made[:88] + struct.pack("<HH", 60_000, 4096) + made[92:]


def few(content: bytes) -> bytes:
    """A stream that ends before the frame is full."""
    made = payload.pack(content, frame=4096)
    (count,) = struct.unpack_from("<H", made, 88)
    packer = zlib.compressobj(9, zlib.DEFLATED, -11)
    body = packer.compress(content[:4000]) + packer.flush()
    made = made[:88] + struct.pack("<HHI", len(body), 4096, 0) + body + made[96 + count :]
    return made[:12] + struct.pack("<I", len(made)) + made[16:]


@pytest.mark.parametrize("craft", [wide, long, few])
def test_a_frame_that_is_not_as_it_says_is_refused_by_itself(
    bench: Bench, craft: Callable[[bytes], bytes]
) -> None:
    """Before its bytes are fetched where its head is wrong: nothing follows that of `long`."""
    data = bytearray(bench.world.repository.files[bench.path])
    files = unpack_app(bytes(data))
    manifest = files[device.MANIFEST]
    path = max(files, key=lambda path: len(files[path]) if path.endswith(".py") else 0)
    was, new = payload.pack(files[path], frame=4096), craft(files[path])
    begin = data.index(was)
    data[begin : begin + len(was)] = new
    (count,) = struct.unpack_from("<I", data, 12)
    table = 16 + 4 * count
    struct.pack_into("<I", data, data.index(struct.pack("<I", len(was)), 16, table), len(new))
    struct.pack_into("<I", data, table, zlib.crc32(data[:table]))
    known = {
        "u": f"http://{HOST}/{bench.path}",
        "z": len(data),
        "h": hashlib.sha256(manifest).hexdigest(),
        "m": len(manifest),
    }
    if craft is long:
        del data[begin + 96 :]
    bench.world.server.files = {**bench.world.repository.files, bench.path: bytes(data)}
    text = json.dumps(known).encode()
    board = bench.begin(with_nvs(bench.board, {"fl_state": {"rescue": text}}))
    board.boot(100)
    assert board.alive and bench.told()[:1] == ["rescue-format"], bench.told()
    assert bench.world.documents("up/update")[0]["detail"] == "frame"
    bench.nothing_new()


@pytest.mark.parametrize("status", [301, 302, 404, 500, 204])
def test_other_answers_are_refused(bench: Bench, status: int) -> None:
    bench.world.server.status = status
    bench.board.boot(60)
    assert set(bench.told()) == {"rescue-http"}
    assert bench.world.documents("up/update")[0]["detail"] == str(status)
    bench.nothing_new()


async def _endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
    while True:
        writer.write(b"FLAP" * 300)
        await writer.drain()
        await asyncio.sleep(0.1)


async def _headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\n")
    while True:
        writer.write(b"X: y\r\n" * 100)
        await writer.drain()
        await asyncio.sleep(0.1)


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte every ten seconds, of the right file."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
    for byte in BUNDLE[0]:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(10)


BUNDLE: list[bytes] = []


@pytest.mark.parametrize(
    ("handler", "code", "seconds"),
    [
        (_endless, "rescue-format", 60),
        (_headers, "rescue-http", 60),
        (_drip, "rescue-slow", 1500),
    ],
)
def test_servers_without_an_end_are_left(
    bench: Bench, handler: Any, code: str, seconds: float
) -> None:
    BUNDLE[:] = [bench.world.repository.files[bench.path]]
    bench.world.site.handler = handler
    outcome = bench.board.boot(seconds)
    assert outcome.reason == "time" and set(bench.told()) == {code}, (outcome, bench.told())
    bench.nothing_new()


def test_a_silent_network_and_a_silent_broker(bench: Bench) -> None:
    """It goes on trying, in bounds, and the watchdog never has to step in."""
    bench.world.site.black_hole = True
    bench.world.host.black_hole = True
    outcome = bench.board.boot(3600)
    assert outcome.reason == "time"
    tries = bench.board.console.count("rescue: rescue-slow")
    assert 6 <= tries <= 12, tries
    bench.world.site.black_hole = False
    assert run_until(bench.board, 3600, lambda: "app says 1.1.0" in bench.board.console)


def test_without_wifi_it_waits_and_resets_now_and_then(bench: Bench) -> None:
    bench.world.air.points[0]["up"] = False
    outcome = bench.board.boot(4 * 3600)
    assert outcome.reason == "reset"
    assert "rescue: rescue-wifi" in bench.board.console
    bench.world.air.points[0]["up"] = True
    assert run_until(bench.board, 120, bench.runs)


def test_a_loop_that_goes_nowhere_meets_the_watchdog(bench: Bench) -> None:
    """The watchdog is fed for the time that an attempt may take, and no longer."""
    bench.board.boot(1)

    def stuck(files: Files) -> None:
        text = files["rescue.py"].decode()
        files["rescue.py"] = text.replace(
            "        asyncio.run(self._fetch(known))",
            "        while True:\n            try:\n                self._alive()\n"
            "            except Failed:\n                pass\n            time.sleep(1)",
        ).encode()
        assert b"time.sleep(1)" in files["rescue.py"]

    board = bench.begin(again(bench.board, stuck))
    assert board.boot(3600).reason == "wdt"


def test_without_anything_confirmed_it_says_what_to_do(bench: Bench) -> None:
    world = bench.world
    board = world.board_of()
    board.boot(BOOT_S)
    bench.begin(again(board, spoil))
    bench.board.boot(60)
    assert bench.told()[0] == "rescue-none"
    assert "Install again: fleetling flash" in bench.board.console
    assert world.documents("up/event")[-1]["reason"] == "rescue-none"


def test_an_nvs_that_was_erased(bench: Bench) -> None:
    """Identity and network have copies in files; what to fetch has none."""
    bench.begin(again(bench.board, lambda files: None, nvs=b"\xff" * 0x4000))
    bench.board.boot(60)
    assert bench.told()[0] == "rescue-none"
    bench.nothing_new()


@pytest.mark.parametrize("left", ["", "boot.py is fine, this is not python ("])
def test_without_a_rescue_it_is_as_before(bench: Bench, left: str) -> None:
    def take(files: Files) -> None:
        if left:
            files["rescue.py"] = left.encode()
        else:
            del files["rescue.py"]

    board = bench.begin(again(bench.board, take))
    assert board.boot(300).reason == "wdt"  # at the prompt
    assert "no slot is good" in board.console


def test_a_full_file_system_loses_what_is_damaged_and_nothing_else(bench: Bench) -> None:
    mine = bytes(range(256)) * 16

    def fill(files: Files) -> None:
        files["slots/a.new"] = files["slots/b.new"] = b"x" * 9_000
        blocks = sum(len(data) // 4000 + 1 for data in files.values())
        files["data/mine"] = mine * (240 - 10 - blocks)

    board = bench.begin(again(bench.board, fill))
    sizes = {path: len(data) for path, data in board.files().items()}
    assert run_until(board, 200, bench.runs), (sizes, board.console[-2000:])
    left = board.files()
    assert left["/data/mine"].startswith(mine) and "/slots/b.new" not in left
    assert "/slots/factory.pack" not in left or "/slots/a.pack" in left


def test_a_file_system_full_of_other_things_is_told(bench: Bench) -> None:
    def fill(files: Files) -> None:
        for path in [path for path in files if path.endswith(".pack")]:
            files[path] = b"x"
        files["data/mine"] = b"full" * 200_000

    board = bench.begin(again(bench.board, fill))
    board.boot(60)
    assert set(bench.told()) == {"rescue-space"}
    assert "/data/mine" in board.files()


def test_ctrl_c_reaches_the_prompt_and_the_watchdog_stays(bench: Bench) -> None:
    bench.world.site.black_hole = True
    bench.board.boot(10)
    bench.board.interrupt()
    bench.board.resume(2)
    assert "stopped by Ctrl-C" in bench.board.console
    assert "2" in bench.board.repl("print(1 + 1)", seconds=1)
    assert bench.board.resume(100).reason == "wdt"


def test_development_mode_has_no_watchdog(bench: Bench) -> None:
    bench.world.site.black_hole = True
    board = bench.begin(with_nvs(bench.board, {"fl_state": {"dev": 1}}))
    board.boot(10)
    board.interrupt()
    assert board.resume(600).reason == "time"
    bench.world.site.black_hole = False
    board.power_cycle()
    assert run_until(board, 120, bench.runs)


def test_what_is_good_is_never_removed(bench: Bench) -> None:
    """At the prompt of a board whose slots are good, and full."""
    board = bench.world.board_of()
    board.boot(BOOT_S)
    rescue = bench.board.image()
    kept = rescue[0x9000:0xD000]

    def fill(files: Files) -> None:
        files["slots/b.pack"] = files["slots/factory.pack"]
        files["slots/a.pack"] = files["slots/factory.pack"][:-1]
        files["main.py"] = b""
        taken = sum(len(data) // 4096 + 1 for data in files.values())
        files["data/mine"] = (
            b"x" * 4000 * (240 - taken - 13)
        )  # what littlefs takes, and few to spare

    board = bench.begin(again(board, fill, kept))
    before = board.files()
    board.boot(2)
    board.repl("import rescue; rescue.main()", seconds=30)
    assert "rescue-space" in board.console
    after = board.files()
    gone = {path for path in before if path not in after}
    assert gone == {"/slots/a.pack"}, gone
    assert after["/slots/b.pack"] == before["/slots/b.pack"]


def test_what_flash_did_not_hold_gets_no_name(bench: Bench) -> None:
    """Bytes of what was written are lost after they were hashed on their way."""
    board = bench.board
    before = board.image()
    board.boot(3)
    while "/slots/a.new" not in board.files() or len(board.files()["/slots/a.new"]) < 90_000:
        assert board.resume(0.2).reason == "time"
    now = board.image()
    sectors = [slice(at, at + 4096) for at in range(0x310000, 0x400000, 4096)]
    full = [
        at.start
        for at in sectors
        if before[at] != now[at] and b"\xff\xff" not in now[at] and b'.py",' not in now[at]
    ]  # with bytes of files, neither of the manifest nor littlefs's own
    lost = [board.flash.store.write(at + 1000, bytes(40)) for at in full]
    assert len(lost) > 3
    assert run_until(board, 120, lambda: "rescue-flash" in board.console), board.console[-600:]
    bench.nothing_new()
    assert run_until(board, 200, bench.runs)


def with_nvs(board: Board, values: dict[str, dict[str, bytes | int]]) -> bytes:
    with Board(board.image(), nvs=values) as made:
        return made.image()


def slot_word(board: Board) -> int:
    """The number in NVS, as the next life would find it."""
    flash = Flash(board.flash.store.clone())
    flash.and_ranges = [(0x9000, 0xD000)]
    found: int = Nvs(flash, 0x9000, 0x4000).get("fl_state", I32, "slot")
    return found


@pytest.mark.parametrize(("word", "slot"), [(1 | 2 << 2, "a"), (1 << 2, "b"), (2 | 1 << 2, "b")])
def test_a_trial_is_not_mistaken(bench: Bench, word: int, slot: str) -> None:
    """What comes back is never taken for the release that was on trial."""
    board = bench.begin(with_nvs(bench.board, {"fl_state": {"slot": word}}))
    assert run_until(board, 200, bench.runs)
    board.resume(60)
    assert board.sandbox.importer.path[0] == "/slot-" + slot
    assert "back to" not in board.console and "trial" not in bench.world.states()
    assert slot_word(board) == (1 if slot == "a" else 2)
    board.power_cycle()
    bench.world.seen.clear()
    assert run_until(board, 60, bench.runs)
    assert board.sandbox.importer.path[0] == "/slot-" + slot


def test_the_boots_before_it_do_not_lead_to_safe_mode(bench: Bench) -> None:
    board = bench.begin(with_nvs(bench.board, {"fl_state": {"guard": 40}}))
    assert run_until(board, 200, bench.runs)
    board.resume(30)
    assert not bench.world.events("safe-mode")
    board.power_cycle()
    board.boot(30)
    assert not bench.world.events("safe-mode")


def test_networks_of_the_settings_come_after_those_of_the_factory(bench: Bench) -> None:
    bench.world.air.points[0]["up"] = False
    if len(bench.world.air.points) == 1:
        bench.world.air.add("moved", "new password")
    document = {"v": 1, "e": "e", "c": {"wifi": [["moved", "new password"]]}}
    text = json.dumps(document, separators=(",", ":")).encode()
    body = struct.pack("<HBxHI", 0x4C46, 1, len(text), 1) + text
    record = body + struct.pack("<I", zlib.crc32(body))
    board = bench.begin(with_nvs(bench.board, {"fl_conf": {"conf0": record}}))
    assert run_until(board, 300, bench.runs), board.console


def test_a_board_that_has_enrolled_tells_under_its_own_name(bench: Bench) -> None:
    world = bench.world
    files = {path.lstrip("/"): data for path, data in world.board_of().files().items()}
    nvs = build_nvs(world.unproven("enrolled"))
    board = bench.begin(build_flash(firmware=firmware("1.0.0"), nvs=nvs, files=files))
    assert run_until(board, 300, bench.online)
    board.resume(30)
    spoilt = bench.begin(again(board, spoil))
    for kept in (None, b"\xff" * 0x4000):  # also from the copies in files
        board = bench.begin(again(spoilt, lambda files: None, kept))
        board.boot(60)
        assert bench.told()[:1] == ["rescue-none"], board.console
        assert any("enrolled/up/update" in message.topic for message in world.seen)


def test_a_server_without_ranges_and_one_that_breaks_off(bench: Bench) -> None:
    bench.world.site.drop_after = 30_000
    bench.world.server.ranges = False
    bench.board.boot(100)
    assert set(bench.told()) == {"rescue-link"}, bench.board.console[-800:]
    assert "/slots/a.new" in bench.board.files()
    bench.world.site.drop_after = None
    assert run_until(bench.board, 600, bench.runs)


def test_what_was_begun_is_not_fetched_twice(bench: Bench) -> None:
    whole = len(bench.world.repository.files[bench.path])
    bench.world.site.drop_after = whole // 2  # head and manifest come each time
    assert run_until(bench.board, 7200, bench.runs), bench.board.console[-800:]
    assert bench.told().count("rescue-link") in (1, 2)


def test_without_a_time_server_the_floor_is_the_time(bench: Bench) -> None:
    """TLS with the broker needs one that is not 2000."""
    bench.world.air.ntp_up = False
    assert run_until(bench.board, 200, bench.runs)
    assert "rescue-done" in bench.told(), bench.board.console


def test_a_time_server_behind_the_floor_is_not_believed(bench: Bench) -> None:
    board = bench.begin(bench.board.image(), START - 400 * 86400)
    board.boot(30)
    assert bench.told() == ["rescue-done"], board.console
    assert bench.world.documents("up/update")[0]["at"] >= START


def at_rest(board: Board) -> Files:
    """Its files as another life would find them."""
    with Board(board.image()) as other:
        return other.files()


def test_what_was_begun_of_another_release_is_not_gone_on_with(bench: Bench) -> None:
    def leave(files: Files) -> None:
        files["slots/a.new"] = device.pack(slot_of("1.0.5", app("other")))

    board = bench.begin(again(bench.board, leave))
    assert run_until(board, 200, bench.runs), board.console
    assert bench.told() == ["rescue-done"]
