# SPDX-License-Identifier: MIT
"""The simulated board on the real interpreter: resets, watchdog, cuts, memory, prompt."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetling.errors import FleetlingError
from fleetling.image.filesystem import read_filesystem
from fleetling.image.flash import build_flash
from fleetling.simboard.chip import stock
from fleetling.simboard.inprocess import Board
from fleetling.simboard.process.board import ProcessBoard
from fleetling.simboard.process.terminal import BoardOnPty

VFS = slice(0x310000, 0x400000)
BLANK_NVS = b"\xff" * 0x4000

Start = Callable[..., "Running"]


class Running:
    """A board with a main.py of the test's own, its lines and its events."""

    def __init__(self, folder: Path, main: str) -> None:
        folder.mkdir(exist_ok=True)
        image = build_flash(
            firmware=stock.build_app(), nvs=BLANK_NVS, files={"main.py": main.encode()}
        )
        (folder / "flash.bin").write_bytes(image)
        self.lines: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.board = ProcessBoard(
            folder,
            on_line=self.lines.append,
            on_event=lambda *event: self.events.append(event),
        )

    def says(self, text: str, timeout_s: float = 10) -> bool:
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if any(text in line for line in self.lines):
                return True
            time.sleep(0.02)
        return False

    def files(self) -> dict[str, bytes]:
        return read_filesystem((self.board.folder / "flash.bin").read_bytes()[VFS])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[Running] = []

    def starts(main: str) -> Running:
        running = Running(tmp_path / f"board{len(made)}", main)
        made.append(running)
        running.board.start()
        return running

    yield starts
    for running in made:
        running.board.stop()


CAUSES = """
import machine
rtc = machine.RTC()
told = rtc.memory()
print("cause", machine.reset_cause(), told)
rtc.memory(told + b"x")
"""


def test_resets_have_their_causes_and_keep_rtc_memory(start: Start) -> None:
    run = start(
        CAUSES + "if len(told) < 1: machine.reset()\nif len(told) < 2: machine.soft_reset()"
    )
    assert run.says("cause 1 b''") and run.says("cause 2 b'x'") and run.says("cause 5 b'xx'")
    run.board.power_cut()
    run.lines.clear()
    run.board.start()
    assert run.says("cause 1 b''")


def test_the_watchdog_ends_a_loop_without_end(start: Start) -> None:
    run = start(CAUSES + "if told == b'':\n    machine.WDT(timeout=1000)\n    while True: pass")
    assert run.says("cause 3 b'x'")
    assert ("watchdog", "") in run.events


def test_the_watchdog_outlives_a_soft_reset(start: Start) -> None:
    run = start(
        CAUSES + "import time\nif told == b'':\n    machine.WDT(timeout=2000)\n"
        "    machine.soft_reset()\nif told == b'x': time.sleep(30)"
    )
    assert run.says("cause 5 b'x'") and run.says("cause 3 b'xx'")


COUNTER = """
try:
    with open("/count") as f: count = int(f.read())
except OSError:
    count = 0
print("count", count)
with open("/count", "w") as f: f.write(str(count + 1))
"""


def test_flash_outlives_a_power_cut(start: Start) -> None:
    run = start(COUNTER + "while True: pass")
    assert run.says("count 0")
    time.sleep(0.3)
    run.board.power_cut()
    assert run.files()["/count"] == b"1"
    run.board.start()
    assert run.says("count 1")


def test_a_planned_cut_happens_at_its_operation(start: Start) -> None:
    run = start(COUNTER)
    assert run.says("count 0")
    time.sleep(0.3)
    run.board.power_cut()
    run.board.cut_at(1)
    run.lines.clear()
    run.board.start()
    assert run.says("count 1")
    until = time.monotonic() + 10
    while run.board.powered and time.monotonic() < until:
        time.sleep(0.02)
    assert not run.board.powered and run.files()["/count"] == b"1"


def test_the_heap_has_an_end(start: Start) -> None:
    run = start(
        "import gc\nprint('free', gc.mem_free())\n"
        "try:\n    bytearray(400_000)\nexcept MemoryError: print('no more')"
    )
    assert run.says("no more")
    free = int(next(line for line in run.lines if line.startswith("free")).split()[1])
    assert 2 * 150_000 < free < 2 * 170_000  # 164 KB on a board, whose objects are half as large


def test_an_application_cannot_see_the_host(start: Start, tmp_path: Path) -> None:
    run = start(f"import os\nprint(os.listdir('/'))\nopen({str(tmp_path)!r} + '/options.json')")
    assert run.says("['main.py']") or run.says("main.py")
    assert run.says("ENOENT")


def test_ending_the_board_ends_every_process(start: Start) -> None:
    run = start("while True: pass")
    time.sleep(0.5)
    pid = run.board.pid
    assert pid is not None
    run.board.stop()
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)


def test_what_one_runtime_writes_the_other_reads(start: Start) -> None:
    run = start(COUNTER)
    assert run.says("count 0")
    time.sleep(0.3)
    run.board.stop()
    image = (run.board.folder / "flash.bin").read_bytes()
    with Board(image) as board:
        board.boot()
        assert "count 1" in board.console
        (run.board.folder / "flash.bin").write_bytes(board.image())
    run.lines.clear()
    run.board.start()
    assert run.says("count 2")


def test_a_corrupt_file_system_is_told_for_ever(start: Start) -> None:
    run = start("print('never')")
    run.board.stop()
    path = run.board.folder / "flash.bin"
    data = bytearray(path.read_bytes())
    data[0x310000:0x312000] = bytes(range(256)) * 32
    path.write_bytes(data)
    run.lines.clear()
    run.board.start()
    assert run.says("filesystem appears to be corrupted") and not run.says("never", 0.5)


def test_the_prompt_serves_mpremote(tmp_path: Path) -> None:
    folder = tmp_path / "board"
    running = Running(folder, "while True: pass")
    assert running.board.folder == folder

    def mpremote(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "mpremote", "connect", str(folder / "tty"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with BoardOnPty(folder):
        time.sleep(1)
        assert "6" in mpremote("exec", "print(2 * 3)")  # Ctrl-C got through to the loop
        assert "main.py" in mpremote("fs", "ls")
        (tmp_path / "new.txt").write_text("fresh")
        mpremote("fs", "cp", str(tmp_path / "new.txt"), ":new.txt")
        assert "fresh" in mpremote("fs", "cat", "new.txt")
    assert read_filesystem((folder / "flash.bin").read_bytes()[VFS])["/new.txt"] == b"fresh"


def test_without_an_interpreter_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(tmp_path / "board", "")
    monkeypatch.setenv("MICROPYTHON", str(tmp_path / "none"))
    with pytest.raises(FleetlingError, match="none") as told:
        running.board.start()
    assert told.value.hint
    monkeypatch.setenv("MICROPYTHON", "")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(FleetlingError) as told:
        running.board.start()
    assert "fleetling[sim]" in told.value.hint and "MICROPYTHON" in told.value.hint


def test_a_folder_without_a_board_is_told(tmp_path: Path) -> None:
    with pytest.raises(FleetlingError, match="no board") as told:
        ProcessBoard(tmp_path).start()
    assert "fleetling sim new" in told.value.hint
