# SPDX-License-Identifier: MIT
"""Many boards on several ports: every board its own id, whatever is cut, killed or swapped."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
from mock_boards import Board, Port, download, mock_rom
from test_flash_plan import nvs
from test_flash_rom import make_bench, needed

from fleetling.flashing.batch import Batch, News
from fleetling.flashing.bench import Bench
from fleetling.flashing.ledger import NAME, Ledger
from fleetling.flashing.rom import connect
from fleetling.flashing.standing import read_standing

__all__ = ["mock_rom"]

Ports = Callable[..., Port]
NVS = slice(0x9000, 0xD000)


class Belt:
    """Boards that come to the ports one after the other, and leave when they are done.

    Args:
        ledger: whose word is waited for, as a person waits for "done"; None lets a board go as
            soon as it starts.

    Attributes:
        done: the identity on each finished board, by its MAC.
    """

    def __init__(self, boards: Iterable[Board], ledger: Path | None = None) -> None:
        self.waiting = deque(boards)
        self._ledger = ledger
        self._done: dict[str, str] = {}
        self._ports: list[Port] = []
        self._lock = threading.Lock()

    def next(self, board: Board | None) -> Board | None:
        """What is on a port after `board` was there."""
        with self._lock:
            if board is not None and not self._leaves(board):
                return board
            if board is not None:
                assert board.starts
                assert board.mac_text not in self._done
                self._done[board.mac_text] = read_standing(bytes(board.flash.data[NVS])).device_id
                board.flash.data = bytearray()
            return self.waiting.popleft() if self.waiting else None

    def _leaves(self, board: Board) -> bool:
        if self._ledger is None or not self._ledger.exists():
            return self._ledger is None and board.starts
        entry = Ledger(self._ledger).at(board.mac_text)
        return entry is not None and bool(entry.flashed)

    def ports(self, mock_rom: Ports, count: int) -> list[Port]:
        self._ports = [mock_rom(self.next(None), after=self.next) for _ in range(count)]
        return self._ports

    @property
    def done(self) -> dict[str, str]:
        """The identity on each finished board, by its MAC."""
        for port in self._ports:
            port.settle()
        return self._done


def batch(bench: Bench, ids: list[str], news: list[News] | None = None) -> Batch:
    for device_id in ids:
        place = bench.boards / device_id
        if not place.is_dir():
            place.mkdir(parents=True)
            (place / "nvs.bin").write_bytes(nvs(fl_factory={"id": device_id.encode()}))
    told = news if news is not None else []
    link = partial(connect, before="no-reset", attempts=1)
    return Batch(bench, ids, link, told.append, pause_s=0.01, patience_s=2)


def names(count: int) -> list[str]:
    return [f"pump-{number}" for number in range(1, count + 1)]


def kinds(news: list[News]) -> list[str]:
    return [each.kind for each in news if each.kind not in ("waiting", "start", "progress")]


def test_every_board_gets_an_id_of_its_own(mock_rom: Ports, tmp_path: Path) -> None:
    belt = Belt(Board(number) for number in range(7))
    ports = belt.ports(mock_rom, 2)
    bench, news = make_bench(tmp_path), []  # type: tuple[Bench, list[News]]
    made = batch(bench, names(7), news)
    made.run([port.url for port in ports])
    assert made.missing() == [] and kinds(news) == ["done"] * 7
    assert sorted(belt.done.values()) == names(7)
    for mac, device_id in belt.done.items():
        entry = Ledger(bench.ledger.path).at(mac)
        assert entry is not None and entry.device_id == device_id and entry.flashed


def test_a_board_that_was_pulled_out_is_gone_on_with(mock_rom: Ports, tmp_path: Path) -> None:
    board = Board(1)
    board.cut_after = needed(mock_rom, tmp_path / "measured") * 3 // 4
    belt = Belt([board, Board(2)])
    port = belt.ports(mock_rom, 1)[0]
    news: list[News] = []
    made = batch(make_bench(tmp_path), names(2), news)
    made.run([port.url])
    assert kinds(news) == ["lost", "done", "done"]
    assert belt.done == {Board(1).mac_text: "pump-1", Board(2).mac_text: "pump-2"}


def test_boards_that_are_refused_cost_no_id(mock_rom: Ports, tmp_path: Path) -> None:
    wrong, strange = Board(1, "esp32s3"), Board(2)
    carries = nvs(fl_factory={"id": b"heater-9"})
    strange.flash.data[0x9000 : 0x9000 + len(carries)] = carries
    seen = iter([strange, Board(3)])
    finished: list[Board] = []

    def after(board: Board) -> Board | None:
        if board.starts:
            finished.append(board)
            return None
        return next(seen, None)

    news: list[News] = []
    made = batch(make_bench(tmp_path), names(1), news)
    port = mock_rom(wrong, after=after)
    made.run([port.url])
    port.settle()
    assert kinds(news) == ["refused", "refused", "done"]
    texts = [each.text for each in news if each.kind == "refused"]
    assert "for esp32, the board is an esp32s3" in texts[0] and "heater-9" in texts[1]
    assert finished[0].mac_text == Board(3).mac_text and made.missing() == []


def test_a_finished_board_is_known_and_one_too_many_gets_nothing(
    mock_rom: Ports, tmp_path: Path
) -> None:
    first = Board(1)
    bench = make_bench(tmp_path)
    batch(bench, names(1)).run([mock_rom(first).url])
    before = bytes(first.flash.data)
    order = iter([Board(2), Board(3), None])
    news: list[News] = []
    port = mock_rom(first, after=lambda board: next(order, None))
    made = batch(bench, names(2), news)
    # pump-2 is begun by a board that does not come back.
    bench.ledger.take("gone", "esp32", names(2))
    made.run([port.url])
    assert kinds(news) == ["already", "refused", "refused"]
    assert bytes(first.flash.data) == before
    last = [each for each in news if each.kind == "refused"][-1]
    assert "No id is left" in last.text and made.missing() == ["pump-2"]


def test_a_board_that_started_before_it_was_noted_is_done(mock_rom: Ports, tmp_path: Path) -> None:
    board = Board(1)
    bench, news = make_bench(tmp_path), []  # type: tuple[Bench, list[News]]
    bench.ledger.take(board.mac_text, "esp32", names(1))
    enrolled = nvs(fl_factory={"id": b"pump-1"}, fl_id={"ident0": b"key"})
    board.flash.data[NVS] = enrolled
    before = bytes(board.flash.data)
    made = batch(bench, names(1), news)
    made.run([mock_rom(board).url])
    assert kinds(news) == ["already"] and made.missing() == []
    assert bytes(board.flash.data) == before


def test_a_bug_in_one_thread_ends_all_and_is_seen(mock_rom: Ports, tmp_path: Path) -> None:
    def tell(news: News) -> None:
        raise ZeroDivisionError

    made = batch(make_bench(tmp_path), names(3))
    made._tell = tell
    with pytest.raises(ZeroDivisionError):
        made.run([port.url for port in Belt(map(Board, range(3))).ports(mock_rom, 2)])


def test_ctrl_c_lets_no_thread_write_on(mock_rom: Ports, tmp_path: Path) -> None:
    belt = Belt(Board(number) for number in range(6))
    ports = belt.ports(mock_rom, 2)
    bench = make_bench(tmp_path)
    made = batch(bench, names(6))
    tell = made._tell
    main = threading.main_thread().ident
    assert main is not None
    sent = threading.Event()

    def told(news: News) -> None:
        tell(news)
        if kinds([news]) and made.entries() and not sent.is_set():
            sent.set()
            signal.pthread_kill(main, signal.SIGINT)

    made._tell = told
    with pytest.raises(KeyboardInterrupt):
        made.run([port.url for port in ports])
    assert made.missing() and not [
        each
        for each in threading.enumerate()
        if each.name.startswith("flash-") and each.is_alive()
    ]
    batch(bench, names(6)).run([port.url for port in ports])
    assert sorted(belt.done.values()) == names(6)


# --- fifty boards, and the command itself, killed and repeated


class Killed(BaseException):
    """The program ends here, without a word."""


@pytest.mark.slow
def test_fifty_boards_killed_at_many_points_and_repeated(mock_rom: Ports, tmp_path: Path) -> None:
    ids = names(50)
    belt = Belt((Board(number) for number in range(50)), tmp_path / NAME)
    ports = belt.ports(mock_rom, 3)
    runs = 0
    # How much each run lives to tell: some die at their first words, some in the middle of boards.
    for told in (1, 2, 7, 40, 41, 100, 3, 150, None):
        bench = make_bench(tmp_path)
        made = batch(bench, ids)
        left = told

        def tell(news: News) -> None:
            nonlocal left
            if left is not None:
                left -= 1
                if left < 0:
                    raise Killed

        made._tell = tell
        try:
            made.run([port.url for port in ports])
        except Killed:
            runs += 1
        on = [port.put(None) for port in ports]
        for port, board in zip(ports, [*on[1:], on[0]], strict=True):
            port.put(board)
    assert runs == 8
    assert sorted(belt.done.values()) == sorted(ids) and len(belt.done) == 50
    known = Ledger(tmp_path / NAME)
    for mac, device_id in belt.done.items():
        entry = known.at(mac)
        assert entry is not None and entry.device_id == device_id and entry.flashed


COUNT = 6
KILLED_AFTER = (2,)


@pytest.mark.slow
def test_the_command_is_killed_and_repeated(mock_rom: Ports, tmp_path: Path) -> None:
    ids = [f"pump-{number:02}" for number in range(COUNT)]
    (tmp_path / "boards.csv").write_text("id\n" + "\n".join(ids) + "\n")
    (tmp_path / "firmware.bin").write_bytes(download())
    home = tmp_path / "farm"
    fleetling = [sys.executable, "-m", "fleetling"]
    made = ["init", "farm", "--broker", "h:1", "--no-passphrase", "--home", str(home)]
    subprocess.run([*fleetling, *made], check=True, capture_output=True)
    belt = Belt((Board(number) for number in range(COUNT)), home / NAME)
    ports = belt.ports(mock_rom, 3)
    labels = tmp_path / "labels.csv"
    command = [*fleetling, "flash", "--csv", str(tmp_path / "boards.csv"), "--pause", "0.1"]
    command += ["--firmware", str(tmp_path / "firmware.bin"), "--labels", str(labels)]
    command += ["--home", str(home), "--wait", "20", "--label-text", "https://x.example/{id}"]
    for port in ports:
        command += ["-p", port.url]
    ledger = home / NAME

    def flashed() -> int:
        return ledger.read_bytes().count(b'"flashed"') if ledger.exists() else 0

    for number in KILLED_AFTER:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while flashed() < number and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None, process.communicate()[1].decode()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        # Who stands at the ports puts the boards back in any order.
        on = [port.put(None) for port in ports]
        for port, board in zip(ports, [*on[1:], on[0]], strict=True):
            port.put(board)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"{COUNT} of {COUNT} are done." in done.stdout
    # None twice, none lost, and the ledger knows where each is.
    assert sorted(belt.done.values()) == ids and len(belt.done) == COUNT
    known = Ledger(ledger)
    for mac, device_id in belt.done.items():
        entry = known.at(mac)
        assert entry is not None and entry.device_id == device_id and entry.flashed
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["mac"]: row["id"] for row in rows} == belt.done
    assert all(row["qr"] == f"https://x.example/{row['id']}" for row in rows)
