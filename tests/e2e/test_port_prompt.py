# SPDX-License-Identifier: MIT
"""What every tool that reaches a board's prompt has to do, through mpremote and through ampy."""

from __future__ import annotations

import hashlib
import os
import pty
import signal
import socket
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import TYPE_CHECKING, Any

import pytest
import serial
from serial.rfc2217 import PortManager

from fleetling.errors import FleetlingError
from fleetling.port.board import TOOLS, Board, open_prompt, session
from fleetling.port.prompt import PortError, RaisedError, SilentError
from fleetling.simboard.process.terminal import BoardOnPty

if TYPE_CHECKING:
    from pty_board import Bench

pytest_plugins = ("pty_board",)

BARE = {"boot.py": b"# boot.py\n"}
DATA = bytes(range(256)) * 20


class Line:
    """The settings that a client of RFC 2217 asks for; a pty has none."""

    cts = dsr = ri = cd = True
    rts = dtr = break_condition = xonxoff = rtscts = dsrdtr = False
    baudrate, bytesize, parity, stopbits = 115200, 8, "N", 1

    def reset_input_buffer(self) -> None:
        pass

    reset_output_buffer = reset_input_buffer


class Peer:
    """What PortManager answers to."""

    def __init__(self, connection: socket.socket) -> None:
        self.write = connection.sendall


@contextmanager
def bridge(path: str, scheme: str = "socket") -> Iterator[str]:
    """A serial port served over TCP, as a terminal server does; its URL."""
    server = socket.create_server(("127.0.0.1", 0))
    line = os.open(path, os.O_RDWR | os.O_NOCTTY)
    ended = threading.Event()

    def carry() -> None:
        peer, _ = server.accept()
        manager = PortManager(Line(), Peer(peer)) if scheme == "rfc2217" else None
        with peer:
            while not ended.is_set():
                watched: list[Any] = [peer, line]
                ready = select(watched, [], [], 0.1)[0]
                if line in ready:
                    data = os.read(line, 4096)
                    try:
                        peer.sendall(b"".join(manager.escape(data)) if manager else data)
                    except BrokenPipeError:
                        return  # it has hung up
                if peer in ready:
                    data = peer.recv(4096)
                    if not data:
                        return
                    os.write(line, b"".join(manager.filter(data)) if manager else data)

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    yield f"{scheme}://127.0.0.1:{server.getsockname()[1]}"
    ended.set()
    thread.join(10)
    server.close()
    os.close(line)


@contextmanager
def other_end(echo: bool) -> Iterator[str]:
    """A port with something else than a board on it: `cat`, or nothing at all."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            if select([master], [], [], 0.1)[0]:
                data = os.read(master, 4096)
                if echo:
                    os.write(master, data)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield os.ttyname(slave)
    ended.set()
    thread.join(10)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_contract_of_a_prompt(bench: Bench, tool: str) -> None:
    on = bench({**BARE, "main.py": b"while True: pass\n"})
    prompt = open_prompt(on.path, tool)
    try:
        prompt.enter()  # Ctrl-C gets through to a program that runs
        assert prompt.run("print(6 * 7)").strip() == b"42"
        assert prompt.run("x = 'kept'") == b"" and prompt.run("print(x)").strip() == b"kept"
        with pytest.raises(RaisedError, match="ValueError: no") as told:
            prompt.run("raise ValueError('no')")
        assert told.value.kind == "ValueError" and told.value.number is None
        with pytest.raises(RaisedError, match="it is not there") as told:
            prompt.run("open('/none')")
        assert told.value.number == 2 and "Traceback" in told.value.trace
        with pytest.raises(RaisedError) as told:
            prompt.run("import esp32; esp32.NVS('x').get_i32('y')")
        assert told.value.number == -4354
        assert prompt.run("print(1)").strip() == b"1"  # an exception ends nothing
        prompt.soft_reset()
        with pytest.raises(RaisedError, match="NameError"):
            prompt.run("x")
        with pytest.raises(SilentError):
            prompt.run("import time; time.sleep(60)", silence_s=0.3)
        prompt.enter()
        assert prompt.run("print(2)").strip() == b"2"
        prompt.leave()
    finally:
        prompt.close()


@pytest.mark.parametrize("tool", TOOLS)
def test_files_come_and_go_whole(bench: Bench, tool: str) -> None:
    on = bench(BARE)
    with session(on.path, tool) as board:
        assert not board.running and not board.watched and not board.restart
        sent: list[int] = []
        board.write("/a.new", DATA, sent.append)
        board.rename("/a.new", "/a")
        assert sum(sent) == len(DATA) and board.read("/a") == DATA
        assert board.sha256("/a") == (len(DATA), hashlib.sha256(DATA).hexdigest())
        assert board.sha256("/none") is None and board.sha256("/") is None
        board.make_folder("/d")
        board.make_folder("/d")
        assert board.listdir("/") == [
            ("a", False, len(DATA)),
            ("boot.py", False, 10),
            ("d", True, 0),
        ]
        board.remove("/a")
        board.remove("/a")
        with pytest.raises(RaisedError) as told:
            board.read("/a")
        assert told.value.number == 2
        board.set_blob("fl_factory", "id", b"pump")
        assert board.blob_digest("fl_factory", "id") == hashlib.sha256(b"pump").hexdigest()
        board.set_blob("fl_factory", "id", None)
        assert board.blob_digest("fl_factory", "id") is None
        assert board.number("fl_state", "dev") == 0
        board.number("fl_state", "dev", 1)
        assert board.number("fl_state", "dev") == 1


def test_a_file_that_does_not_fit_leaves_nothing_behind(bench: Bench) -> None:
    on = bench(BARE)
    with session(on.path) as board:
        free = board.ask("s = os.statvfs('/'); fl.say(s[0] * s[3])")
        board.run(
            f"f = open('/filler', 'wb')\nfor i in range({free // 4096 - 3}):"
            " f.write(bytes(4096))\nf.close()",
            60,
        )
        with pytest.raises(RaisedError, match="full") as told:
            board.write("/big.new", DATA * 8)
        assert told.value.number == 28
        assert [name for name, _, _ in board.listdir("/")] == ["boot.py", "filler"]


def test_what_is_not_what_was_sent_is_noticed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = bench(BARE)
    with session(on.path) as board:
        run = board.run

        def noisy(code: str, silence_s: float = 10) -> bytes:
            return run(
                "fl.file.write(b'noise'); fl.end()" if code == "fl.end()" else code, silence_s
            )

        monkeypatch.setattr(board, "run", noisy)
        with pytest.raises(FleetlingError, match="not what was sent"):
            board.write("/a.new", DATA)
        assert board.sha256("/a.new") is None


@pytest.mark.parametrize("tool", TOOLS)
def test_the_agent_runs_again_afterwards(bench: Bench, tool: str) -> None:
    on = bench()
    events: list[tuple[str, str]] = []
    on.board.on_event = lambda kind, detail: events.append((kind, detail))
    with session(on.path, tool) as board:
        assert board.restart and board.watched
        before = board.number("fl_state", "boots")
    bench.until(lambda: events.count(("boot", "2")) == 1, "it resets")
    bench.until(lambda: on.board.heap_at_boot, "and starts")
    with session(on.path) as board:
        assert board.number("fl_state", "boots") == before + 1
        bad = board.ask("import machine; fl.say(machine.RTC().memory()[-27])")
        assert bad <= 1, "a visit counts as a crash"


def test_the_watchdog_is_fed_where_it_runs_and_started_nowhere_else(bench: Bench) -> None:
    on = bench()
    with session(on.path) as board:
        fed(bench, on, board)
        board.prompt.soft_reset()
        board.enter()
        assert not board.running and board.watched, "it survives the soft reset"
        fed(bench, on, board)
    bare = bench(BARE)
    with session(bare.path) as board:
        board.sha256("/boot.py")
        assert bare.board._life is not None and bare.board._life.watchdog_s is None


def fed(bench: Bench, on: BoardOnPty, board: Board) -> None:
    life = on.board._life
    assert life is not None and life.watchdog_s == 60
    due = life.due
    board.sha256("/boot.py")
    bench.until(lambda: life.due > due, "it is fed")


@pytest.mark.filterwarnings("ignore:set:DeprecationWarning")  # pyserial's
def test_over_tcp_as_over_a_cable(bench: Bench) -> None:
    on = bench(BARE)
    for scheme in ("socket", "rfc2217"):
        with bridge(on.path, scheme) as url, session(url) as board:
            board.write("/a", DATA)
            assert board.read("/a") == DATA
    with pytest.raises(PortError, match="ampy cannot open"):
        open_prompt(url, "ampy")
    with pytest.raises(PortError, match="cannot be reached"):
        open_prompt("socket://127.0.0.1:9")
    with pytest.raises(PortError, match="no port"):
        open_prompt("nonsense://x")


@pytest.mark.parametrize("tool", TOOLS)
def test_whose_fault_it_is(tmp_path: Path, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("remote", "ampy"):
        monkeypatch.setattr(f"fleetling.port.{name}.ANSWER_S", 0.5)
    with pytest.raises(PortError, match="There is no port") as told:
        open_prompt("/dev/ttyNONE", tool)
    assert "fleetling ports" in told.value.hint
    for echo in (True, False):
        with (
            other_end(echo) as path,
            pytest.raises(SilentError, match="No MicroPython") as deaf,
            session(path, tool),
        ):
            pass
        assert "flash" in deaf.value.hint


def test_a_busy_port_is_told(bench: Bench) -> None:
    on = bench(BARE)
    with serial.Serial(on.path, exclusive=True), pytest.raises(PortError, match="in use"):
        open_prompt(on.path)


def test_ctrl_c_ends_what_runs_there_too(bench: Bench) -> None:
    on = bench(BARE)
    with pytest.raises(KeyboardInterrupt), session(on.path) as board:
        timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        board.run("import time\ntime.sleep(120)", 120)
    with session(on.path) as board:
        assert board.ask("fl.say(1)") == 1
