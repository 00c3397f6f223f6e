# SPDX-License-Identifier: MIT
"""A simulated board as a process: the host plays power, watchdog and reset for it.

A life is one process of the interpreter. Killing it is a power cut: what its flash file holds is
all that is left. A reset, which the board asks for over a pipe, starts the next life with its
cause.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from select import select
from typing import Any

from fleetling.errors import FleetlingError
from fleetling.simboard.chip import chip
from fleetling.simboard.process.interpreter import find_interpreter

__all__ = ["AccessPoint", "ProcessBoard"]

ENTRY = Path(__file__).with_name("inside") / "entry.py"
# What the simulated chip itself takes of the heap, measured as "heap before boot.py" with a large
# heap; on 64 bit every object is twice as large as on the ESP32, and the board's own share is too.
SIMULATION_HEAP = 114_000
BOARD_HEAP = 2 * 164_000
LOG_LIMIT = 1 << 20
PRCTL_DEATH_SIGNAL = 1
# In the kernel: for a socket, a terminal, or time. Between two looks at sockets the interpreter
# sleeps for a millisecond, so it is never asleep for long.
WAITS = (
    "poll_",
    "do_poll",
    "do_sys_poll",
    "do_select",
    "hrtimer_nanosleep",
    "pipe_",
    "anon_pipe_",
)
BUSY_TICKS = 150  # of 10 ms; a start takes less

OnLine = Callable[[str], None]
OnEvent = Callable[[str, str], None]


@dataclass
class AccessPoint:
    """A Wi-Fi network in the board's air."""

    ssid: str
    password: str = ""
    rssi: int = -55
    channel: int = 6
    up: bool = True


def _die_with_parent() -> None:
    """In the child, on Linux: it must not outlive whoever plays its power supply."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PRCTL_DEATH_SIGNAL, signal.SIGKILL)
    except (OSError, AttributeError):
        pass  # not Linux: a board that lost its host ends with its pipes
    # A Ctrl-C on the terminal is for the host, which decides what it means for the board.
    os.setpgrp()


def _wait_until_idle(pid: int) -> None:
    """Until the interpreter waits for something, or has worked without a pause for a while.

    It raises KeyboardInterrupt right in the signal's handler, also in the middle of a garbage
    collection or of littlefs, and neither gets over that. A chip does so between two bytecodes.
    """
    process = Path(f"/proc/{pid}")
    began, before = None, ""
    for _ in range(1000):
        try:
            found = (process / "stat").read_text().rpartition(")")[2].split()
            switches = (process / "status").read_text().partition("voluntary_ctxt")[2]
            where = (process / "wchan").read_text()
        except OSError:
            return  # not Linux, or the board is gone
        ticks = int(found[11]) + int(found[12])
        began = ticks if began is None else began
        if found[0] == "S" and where.startswith(WAITS):
            return
        # Or, where the kernel does not tell: asleep all the time since the last look, which is
        # longer than any access to a file.
        if (found[0] == "S" and switches == before) or ticks - began > BUSY_TICKS:
            return
        before = switches if found[0] == "S" else ""
        time.sleep(0.012)


def _wait_until_taken(pid: int) -> None:
    for _ in range(500):
        time.sleep(0.003)
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            pending = status.partition("ShdPnd:")[2].split()[0]
        except (OSError, IndexError):
            return
        if not int(pending, 16) >> signal.SIGINT - 1 & 1:
            return


@dataclass
class _Life:
    process: subprocess.Popen[bytes]
    control: int
    watchdog_s: float | None = None
    due: float = 0.0
    pending: bytes = b""
    listens: bool = False


@dataclass
class ProcessBoard:
    """One board in `folder`, which holds its flash.

    Args:
        folder: where flash.bin lies; the board's log and state go there too.
        points: the Wi-Fi networks around it.
        heap: bytes of MicroPython heap, the simulation's own share included.
        tls_heap: bytes of it that each connection with TLS takes, as on an ESP32; 0 for none.
        clock_offset_s: how far the board's SNTP servers are from this machine's clock.
        micropython: the release whose facts it tells, one of chip.RELEASES.
        on_line: called with every line of its console.
        on_event: called with ("boot", cause), ("watchdog", ""), ("reset", cause), ("end", code).
        stdin, stdout: the console's file descriptors, when it is not to be captured.
    """

    folder: Path
    points: list[AccessPoint] = field(default_factory=list)
    heap: int = SIMULATION_HEAP + BOARD_HEAP
    tls_heap: int = 0
    clock_offset_s: int = 0
    seed: int = 0
    micropython: str = "1.25.0"
    on_line: OnLine | None = None
    on_event: OnEvent | None = None
    stdin: int | None = None
    stdout: int | None = None
    heap_at_boot: int = 0
    _interpreter: Path | None = None
    _thread: threading.Thread | None = None
    _life: _Life | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _deadline: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        # The interpreter's own root is the board's file system.
        self.folder = self.folder.resolve()

    # --- power

    @property
    def powered(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def pid(self) -> int | None:
        life = self._life
        return life.process.pid if life else None

    def start(self) -> None:
        """Switches the power on.

        Raises:
            FleetlingError: there is no interpreter, or the folder has no flash.
        """
        if self.powered:
            return
        if not (self.folder / "flash.bin").is_file():
            raise FleetlingError(
                f"{self.folder} holds no board: flash.bin is missing",
                "Make one: fleetling sim new FOLDER",
            )
        self._interpreter = self._interpreter or find_interpreter()
        (self.folder / "rtc.bin").unlink(missing_ok=True)
        options = {
            "clock_offset_s": self.clock_offset_s,
            "seed": self.seed,
            "tls_heap": self.tls_heap,
            "micropython": self.micropython,
        }
        (self.folder / "options.json").write_text(json.dumps(options))
        self.set_air(self.points)
        self._stop.clear()
        self._deadline = None
        self._thread = threading.Thread(target=self._lives, name=f"board-{self.folder.name}")
        self._thread.daemon = True
        self._thread.start()

    def power_cut(self) -> None:
        """Takes the power away, at once."""
        self._stop.set()
        with self._lock:
            if self._life:
                self._life.process.kill()
        if self._thread:
            self._thread.join()
            self._thread = None

    stop = power_cut

    def interrupt(self) -> None:
        """Ctrl-C at the board's console; before boot.py runs, no board hears it.

        Returns when the board has taken it, so that what is typed next comes after it.
        """
        life = self._life
        if life is None or not life.listens:
            return
        _wait_until_idle(life.process.pid)
        with self._lock:
            if self._life is life:
                life.process.send_signal(signal.SIGINT)
        _wait_until_taken(life.process.pid)

    # --- the world around it

    def set_air(self, points: list[AccessPoint], *, ntp_up: bool = True) -> None:
        """Changes the Wi-Fi networks around the board, also while it runs."""
        self.points = points
        wanted = {"points": [vars(point) for point in points], "ntp_up": ntp_up}
        new = self.folder / "air.json.new"
        new.write_text(json.dumps(wanted))
        # In place: the board holds the file open, and takes the whole or waits for it.
        (self.folder / "air.json").write_bytes(new.read_bytes())
        new.unlink()

    def cut_at(self, operation: int | None, torn: Any = 0) -> None:
        """Plans a power cut in the next life, at a flash operation; None plans none."""
        plan = self.folder / "fault.json"
        if operation is None:
            plan.unlink(missing_ok=True)
        else:
            plan.write_text(json.dumps({"at": operation, "torn": torn}))

    # --- lives

    def _lives(self) -> None:
        cause, extra = chip.PWRON_RESET, ""
        while not self._stop.is_set():
            self._tell("boot", str(cause))
            order = self._live(cause, extra)
            if order is None:
                break
            cause, extra = order
        self._tell("end", "")

    def _spawn(self, cause: int, extra: str) -> _Life:
        read, write = os.pipe()
        command = [
            str(self._interpreter),
            *("-X", f"heapsize={self.heap}"),
            *(str(ENTRY), str(self.folder), str(cause), str(write)),
            *extra.split(),
        ]
        captured = self.stdout is None
        process = subprocess.Popen(
            command,
            stdin=self.stdin if self.stdin is not None else subprocess.PIPE,
            stdout=subprocess.PIPE if captured else self.stdout,
            stderr=subprocess.STDOUT,
            pass_fds=(write,),
            preexec_fn=_die_with_parent,
        )
        os.close(write)
        if captured:
            reader = threading.Thread(target=self._read_console, args=(process,), daemon=True)
            reader.start()
        return _Life(process, read)

    def _live(self, cause: int, extra: str) -> tuple[int, str] | None:
        """One life; how the next begins, or None when the power is gone."""
        life = self._spawn(cause, extra)
        with self._lock:
            self._life = life
        if cause == chip.SOFT_RESET and self._deadline:
            life.watchdog_s, life.due = self._deadline  # the watchdog survives a soft reset
        try:
            return self._watch(life)
        finally:
            self._deadline = (life.watchdog_s, life.due) if life.watchdog_s else None
            with self._lock:
                self._life = None
            life.process.kill()
            life.process.wait()
            os.close(life.control)

    def _watch(self, life: _Life) -> tuple[int, str] | None:
        while not self._stop.is_set():
            wait = 0.2
            if life.watchdog_s is not None:
                wait = min(wait, max(0.0, life.due - time.monotonic()))
            ready, _, _ = select([life.control], [], [], wait)
            if ready:
                data = os.read(life.control, 4096)
                if not data:
                    self._tell("end", str(life.process.wait()))
                    return None
                life.pending += data
                order = self._orders(life)
                if order is not None:
                    return order
            elif life.watchdog_s is not None and time.monotonic() >= life.due:
                self._tell("watchdog", "")
                return chip.WDT_RESET, ""
        return None

    def _orders(self, life: _Life) -> tuple[int, str] | None:
        *lines, life.pending = life.pending.split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "w":
                life.watchdog_s = int(rest) / 1000
            if word in ("w", "f") and life.watchdog_s is not None:
                life.due = time.monotonic() + life.watchdog_s
            elif word == "m":
                self.heap_at_boot = int(rest)
                life.listens = True
            elif word == "p":
                self._stop.set()  # the planned cut has come
            elif word == "r":
                cause, _, extra = rest.partition(" ")
                self._tell("reset", cause)
                return int(cause), extra
        return None

    # --- console

    def _read_console(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        log = self.folder / "console.log"
        for raw in iter(process.stdout.readline, b""):
            if log.exists() and log.stat().st_size > LOG_LIMIT:
                log.replace(self.folder / "console.old.log")
            with log.open("ab") as file:
                file.write(raw)
            if self.on_line:
                self.on_line(raw.decode(errors="replace").rstrip())

    def _tell(self, kind: str, detail: str) -> None:
        if self.on_event:
            self.on_event(kind, detail)
