# SPDX-License-Identifier: MIT
"""Boards flashed through esptool, against the mock ROM: three chips, cuts, refusals."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from esp32_mock_bootloader import server
from mock_boards import Board, Port, download, mock_rom, on_pty
from test_flash_plan import nvs

from fleetling.demo.virtual import START, VirtualFleet
from fleetling.errors import FleetlingError
from fleetling.flashing.bench import Bench
from fleetling.flashing.board import NoBoard
from fleetling.flashing.ledger import NAME, Ledger
from fleetling.flashing.plan import Plan, Recipe
from fleetling.flashing.rom import Rom, connect
from fleetling.flashing.writing import differing
from fleetling.image.flash import first_files, read_layout
from fleetling.image.nvs import build_nvs
from fleetling.release.firmware import read_firmware
from fleetling.simboard.inprocess import Board as VirtualBoard

__all__ = ["mock_rom"]

CHIPS = ("esp32", "esp32s3", "esp32c3")
NVS = 0x9000
Ports = Callable[..., Port]


def make_bench(folder: Path, chip: str = "esp32", *, erase: bool = False) -> Bench:
    for number in (1, 2):
        place = folder / "boards" / f"pump-{number}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "nvs.bin").write_bytes(nvs(fl_factory={"id": b"pump-%d" % number}))
    recipe = Recipe(read_firmware(download(chip)), {"main.py": b"print('hello')\n" * 600})
    return Bench(recipe, Ledger(folder / NAME), folder / "boards", erase=erase)


def flash(bench: Bench, port: Port, device_id: str = "pump-1", *, stub: bool = True) -> bool:
    with connect(port.url, stub=stub, before="no-reset", attempts=2) as rom:
        return bench.flash(rom, bench.plan(rom, device_id))


def plan_of(bench: Bench, device_id: str = "pump-1", layout: str = "4mb") -> Plan:
    identity = (bench.boards / device_id / "nvs.bin").read_bytes()
    return bench.recipe.plan(read_layout(layout), device_id, identity)


def whole(bench: Bench, device_id: str = "pump-1", layout: str = "4mb") -> bytes:
    return plan_of(bench, device_id, layout).image()


def complete(bench: Bench, board: Board) -> bool:
    """Whether the board holds every region; what lies between them is nobody's."""
    return all(
        board.flash.data[region.offset : region.end] == region.data
        for region in plan_of(bench).regions
    )


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("stub", [True, False], ids=["stub", "rom"])
def test_a_board_gets_the_bytes_of_its_image(
    mock_rom: Ports, tmp_path: Path, chip: str, stub: bool
) -> None:
    board = Board(1, chip)
    # What somebody left there: it must neither start nor stay where the plan says blank.
    board.flash.data[:] = b"\x00" * len(board.flash.data)
    port, bench = mock_rom(board), make_bench(tmp_path, chip)
    assert flash(bench, port, stub=stub)
    assert complete(bench, board) and board.starts
    # Nothing old starts: no choice of a slot, no image in the other one.
    assert set(board.flash.data[0xD000:0xF000]) == {0xFF}
    assert set(board.flash.data[0x190000:0x191000]) == {0xFF}
    entry = bench.ledger.of("pump-1")
    assert entry is not None and (entry.mac, entry.chip) == (board.mac_text, chip)
    assert entry.flashed


def test_a_repeat_writes_nothing(mock_rom: Ports, tmp_path: Path) -> None:
    board = Board()
    port, bench = mock_rom(board), make_bench(tmp_path)
    assert flash(bench, port)
    assert bytes(board.flash.data) == whole(bench)
    before, rows = bytes(board.flash.data), bench.ledger.path.read_bytes()
    received = board.received
    assert not flash(bench, port)
    assert bytes(board.flash.data) == before and bench.ledger.path.read_bytes() == rows
    assert board.received - received < received


def test_only_what_differs_is_written(mock_rom: Ports, tmp_path: Path) -> None:
    board = Board()
    port, bench = mock_rom(board), make_bench(tmp_path)
    flash(bench, port)
    board.flash.data[0x10100] ^= 1
    with connect(port.url, before="no-reset") as rom:
        plan = bench.plan(rom, "pump-1")
        assert [region.label for region in differing(rom, plan)] == ["ota_0"]
        assert bench.flash(rom, plan)
    assert bytes(board.flash.data) == whole(bench)


def test_erase_leaves_nothing_else(mock_rom: Ports, tmp_path: Path) -> None:
    board = Board()
    board.flash.data[:] = b"\x5a" * len(board.flash.data)
    port, bench = mock_rom(board), make_bench(tmp_path, erase=True)
    assert flash(bench, port)
    assert bytes(board.flash.data) == whole(bench)
    with pytest.raises(FleetlingError, match="ROM cannot erase"):
        flash(bench, port, stub=False)


def test_over_a_terminal_with_its_reset_lines_asked_for(mock_rom: Ports, tmp_path: Path) -> None:
    board, bench = Board(), make_bench(tmp_path)
    with connect(on_pty(board)) as rom:
        assert bench.flash(rom, bench.plan(rom, "pump-1"))
        rom.reset()
    assert bytes(board.flash.data) == whole(bench)


def test_a_larger_flash_gets_the_larger_layout(mock_rom: Ports, tmp_path: Path) -> None:
    board = Board(megabytes=8)
    port, bench = mock_rom(board), make_bench(tmp_path)
    flash(bench, port)
    assert bytes(board.flash.data) == whole(bench, layout="8mb")


def test_an_app_image_keeps_the_boards_bootloader(mock_rom: Ports, tmp_path: Path) -> None:
    board = Board()
    port, bench = mock_rom(board), make_bench(tmp_path)
    flash(bench, port)
    loader = bytes(board.flash.data[0x1000:0x8000])
    app = read_firmware(download(version="v1.26.0"))
    bench.recipe = Recipe(read_firmware(app.image), bench.recipe.files)
    assert flash(bench, port)
    assert bytes(board.flash.data[0x1000:0x8000]) == loader and board.starts
    assert bytes(board.flash.data[0x10000:][: len(app.image)]) == app.image
    port.board = Board(2)
    with pytest.raises(FleetlingError, match="no whole bootloader"):
        flash(bench, port, "pump-2")


# --- refused, with nothing written


def refused(bench: Bench, port: Port, words: str, device_id: str = "pump-1") -> None:
    assert port.board is not None
    before = bytes(port.board.flash.data)
    rows = bench.ledger.path.read_bytes() if bench.ledger.path.exists() else b""
    with pytest.raises(FleetlingError, match=words) as raised:
        flash(bench, port, device_id)
    assert raised.value.hint
    assert bytes(port.board.flash.data) == before
    assert (bench.ledger.path.read_bytes() if bench.ledger.path.exists() else b"") == rows


@pytest.mark.parametrize(("firmware", "board"), [("esp32", "esp32s3"), ("esp32c3", "esp32")])
def test_the_wrong_chip(mock_rom: Ports, tmp_path: Path, firmware: str, board: str) -> None:
    bench = make_bench(tmp_path, firmware)
    refused(bench, mock_rom(Board(1, board)), f"for {firmware}, the board is an {board}")


def test_a_flash_too_small(mock_rom: Ports, tmp_path: Path) -> None:
    refused(make_bench(tmp_path), mock_rom(Board(megabytes=2)), "2 MB of flash")


@pytest.mark.parametrize(
    ("register", "value", "words"),
    [(0x3FF5A018, 0x10, "secure boot"), (0x3FF5A000, 1 << 20, "flash encryption")],
)
def test_a_locked_chip(
    mock_rom: Ports, tmp_path: Path, register: int, value: int, words: str
) -> None:
    board = Board()
    board.burnt[register] = value
    refused(make_bench(tmp_path), mock_rom(board), words)


def test_a_chip_in_secure_download_mode(
    mock_rom: Ports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = server.handle_get_security_info

    def answer(session: object) -> bytes:
        frame = bytearray(plain(session))
        frame[9] |= 0x04  # the lowest byte of the flags
        return bytes(frame)

    monkeypatch.setattr(server, "handle_get_security_info", answer)
    bench = make_bench(tmp_path, "esp32s3")
    refused(bench, mock_rom(Board(1, "esp32s3")), "secure download mode")


def test_a_board_that_is_enrolled_or_somebody_elses(mock_rom: Ports, tmp_path: Path) -> None:
    board = Board()
    port, bench = mock_rom(board), make_bench(tmp_path)
    own = nvs(fl_factory={"id": b"pump-1"}, fl_id={"ident0": b"key"})
    board.flash.data[NVS : NVS + len(own)] = own
    refused(bench, port, "enrolled, as pump-1")
    other = nvs(fl_factory={"id": b"heater-9"})
    board.flash.data[NVS : NVS + len(other)] = other
    refused(bench, port, "given the identity heater-9")
    bench.force = True
    assert flash(bench, port)
    assert board.starts


def test_an_id_that_another_board_has(mock_rom: Ports, tmp_path: Path) -> None:
    port, bench = mock_rom(Board(1)), make_bench(tmp_path)
    flash(bench, port)
    port.board = Board(2)
    refused(bench, port, "pump-1 is the board 24:0a:c4:00:00:01")
    flash(bench, port, "pump-2")
    refused(bench, port, "This board is pump-2")


def test_an_id_that_is_not_provisioned(mock_rom: Ports, tmp_path: Path) -> None:
    refused(make_bench(tmp_path), mock_rom(Board()), "not provisioned", "pump-9")


def test_an_identity_in_another_boards_folder(mock_rom: Ports, tmp_path: Path) -> None:
    bench, port = make_bench(tmp_path), mock_rom(Board())
    place = bench.boards / "pump-2/nvs.bin"
    place.write_bytes((bench.boards / "pump-1/nvs.bin").read_bytes())
    refused(bench, port, "holds the identity of pump-1, not of pump-2", "pump-2")
    place.write_bytes(b"\xff" * 0x4000)
    refused(bench, port, "identity of nobody", "pump-2")


def test_nothing_on_the_port(mock_rom: Ports, tmp_path: Path) -> None:
    with pytest.raises(NoBoard, match="socket://"):
        flash(make_bench(tmp_path), mock_rom(None))
    with pytest.raises(NoBoard, match="Could not open"):
        connect(str(tmp_path / "ttyUSB9"), attempts=1)


# --- cuts


def needed(mock_rom: Ports, folder: Path) -> int:
    """Bytes that a whole flashing sends to the board."""
    board = Board(99)
    flash(make_bench(folder), mock_rom(board))
    return board.received


def cut(bench: Bench, port: Port, after: int) -> bool:
    """Pulls the cable after so many bytes; whether it was in time to matter."""
    assert port.board is not None
    port.board.cut_after = after
    try:
        flash(bench, port)
    except FleetlingError:
        return True
    finally:
        port.board.cut_after = None
    return False


CUTS = 12  # in the suite; as many as one likes, each takes half a second


@pytest.mark.slow
def test_a_cut_anywhere_leaves_a_board_that_does_not_start_and_a_repeat_ends_right(
    mock_rom: Ports, tmp_path: Path
) -> None:
    total = needed(mock_rom, tmp_path / "measured")
    cuts = 0
    for after in range(1, total, max(1, total // CUTS)):
        folder = tmp_path / str(after)
        board = Board(after)
        # An old firmware that starts, with another table.
        board.flash.data[0x1000:0x1010] = b"\xe9" * 16
        board.flash.data[0x8000:0x8002] = b"\xaa\x50"
        old = bytes(board.flash.data)
        port, bench = mock_rom(board), make_bench(folder)
        if not cut(bench, port, after):
            continue
        cuts += 1
        now = bytes(board.flash.data)
        whole_now = complete(bench, board)
        assert now == old or whole_now or not board.starts, f"cut after {after} of {total}"
        # Nothing was written for an id that is not bound.
        assert now == old or Ledger(bench.ledger.path).of("pump-1") is not None
        again = make_bench(folder)
        flash(again, port)
        assert complete(again, board) and board.starts, f"cut after {after} of {total}"
        entry = Ledger(bench.ledger.path).of("pump-1")
        assert entry is not None and entry.flashed and entry.mac == board.mac_text
    assert cuts > CUTS // 2


def test_after_a_cut_another_board_is_not_gone_on_with(mock_rom: Ports, tmp_path: Path) -> None:
    first, other = Board(1), Board(2)
    port = mock_rom(first, after=lambda board: other)
    bench = make_bench(tmp_path)
    # Nothing that compresses: most of what flies is this image, and the cut is in its middle.
    body = random.Random(1).randbytes(200_000)
    bench.recipe = Recipe(read_firmware(download(body=body)), bench.recipe.files)
    assert cut(bench, port, 120_000)
    assert first.flash.data[0x10000] == 0xE9 and not first.starts
    assert other.received == 0 and set(other.flash.data) == {0xFF}
    entry = bench.ledger.of("pump-1")
    assert entry is not None and entry.mac == first.mac_text and not entry.flashed


def test_an_interruption_by_hand_leaves_the_ledger_right(mock_rom: Ports, tmp_path: Path) -> None:
    board = Board()
    port, bench = mock_rom(board), make_bench(tmp_path)

    def progress(region: object, done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), connect(port.url, before="no-reset") as rom:
        bench.flash(rom, bench.plan(rom, "pump-1"), progress)
    assert not board.starts
    entry = Ledger(bench.ledger.path).of("pump-1")
    assert entry is not None and not entry.flashed
    flash(bench, port)
    assert bytes(board.flash.data) == whole(bench)


def test_a_flash_that_forgets_is_found(
    mock_rom: Ports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board()
    port, bench = mock_rom(board), make_bench(tmp_path)
    plain = Rom.write

    def write(self: Rom, offset: int, data: bytes, watch: object = None) -> None:
        plain(self, offset, data, watch)  # type: ignore[arg-type]
        if offset == 0x10000:
            board.flash.data[0x1020] ^= 0xFF  # a neighbour that was right

    monkeypatch.setattr(Rom, "write", write)
    with pytest.raises(FleetlingError, match="does not hold bootloader"):
        flash(bench, port)
    assert not board.starts
    rows = [json.loads(line)["event"] for line in bench.ledger.path.read_text().splitlines()]
    assert rows == ["bound"]


# --- and it runs


def test_the_board_boots_and_enrols(mock_rom: Ports, tmp_path: Path) -> None:
    fleet = VirtualFleet()
    boards = tmp_path / "boards"
    (boards / "dev").mkdir(parents=True)
    (boards / "dev/nvs.bin").write_bytes(build_nvs(fleet.unproven("dev")))
    recipe = Recipe(read_firmware(download()), first_files("1.0.0", compiled=False))
    bench = Bench(recipe, Ledger(tmp_path / NAME), boards)
    board = Board()
    assert flash(bench, mock_rom(board), "dev")
    image = bytes(board.flash.data)
    assert image == whole(bench, "dev")
    with VirtualBoard(image, seed=1, net=fleet.net, air=fleet.air, unix=START) as started:
        started.boot(30)
        assert "proven" in started.console
        assert fleet.documents("dev/online")[-1]["online"] is True
        # The same board, put back on the bench: it has a key of its own now.
        board.flash.data[:] = started.image()
    refused(bench, mock_rom(board), "enrolled, as dev", "dev")
