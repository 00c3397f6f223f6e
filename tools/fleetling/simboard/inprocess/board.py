# SPDX-License-Identifier: MIT
"""A board in this process: power it, watch it, cut it, look into its flash.

    board = Board(files={"main.py": b"print('hello')"})
    board.boot()
    assert "hello" in board.console

Everything happens in virtual time and repeats exactly for the same seed. A board that reached the
end of the time it was given is paused, not stopped: `resume` goes on where it was, and the world
(Wi-Fi, servers, pins) may be changed in between.
"""

from __future__ import annotations

import dataclasses
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from .boot import Program
from .clock import Clock, Deadlock
from .console import Console
from .flashing import Nvs, new_flash, read_files
from .net import Net
from .sandbox import Sandbox
from .shim import chip_module

__all__ = ["Board", "Outcome", "Snapshot", "Until"]

_PWRON, _DEEPSLEEP, _SOFT = 1, 4, 5

Reason = Literal[
    "time", "predicate", "idle", "reset", "wdt", "power-cut", "corrupt-filesystem", "bricked"
]
Until = float | Callable[[], bool] | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Why the board stopped running.

    Attributes:
        reason: "time", "predicate" and "idle" pause the life, the others ended it.
        cause: machine.reset_cause() of the next life, where this one ended.
        life: Its number, from 1.
        at: Virtual seconds since the simulation began.
        exception: What boot.py or main.py let through, if anything.
    """

    reason: Reason
    cause: int
    life: int
    at: float
    exception: BaseException | None


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A board that is off: flash, what survives in RAM, and its source of random numbers."""

    store: Any
    operations: int
    rtc: bytes
    cause: int
    random_state: tuple[Any, ...]


class Board:
    """One simulated board.

    Args:
        image: The flash, from address 0; None is a new board with the stock partition table.
        files: Path -> content, for a freshly formatted file system.
        seed: Of os.urandom, `random`, and the MAC address.
        net: The network it is in; its clock is the board's.
        air: The Wi-Fi it is in (chip.air.Air).
        nvs: Namespace -> key -> blob or i32, stored before the first life.
        unix: The true time when the simulation begins.
        extra_paths: Host folders that imports fall back to.
        rollback: Whether the bootloader was built with app rollback.
    """

    def __init__(
        self,
        image: bytes | None = None,
        files: Mapping[str, bytes] | None = None,
        seed: int = 0,
        net: Net | None = None,
        air: Any = None,
        *,
        nvs: Nvs | None = None,
        unix: int = 1_767_225_600,
        extra_paths: Sequence[Path] = (),
        rollback: bool = True,
    ) -> None:
        self.net = net or Net()
        self.clock: Clock = self.net.clock
        self.flash = new_flash(image, files, nvs)
        self.log = Console()
        self.lives = 0
        self.program: Program | None = None
        self._random = random.Random(seed)
        self._extra_paths = tuple(extra_paths)
        self._cause = _PWRON
        clock = self.clock
        self.chip: Any = chip_module("chip").Chip(
            self.flash,
            lambda: clock.now_us // 1000,
            lambda: unix + clock.now_us // 1_000_000,
            seed=seed,
            air=air,
            rollback=rollback,
        )

    # --- looking

    @property
    def console(self) -> str:
        """All that the board has printed, over all its lives."""
        return self.log.text

    @property
    def air(self) -> Any:
        return self.chip.air

    @property
    def now(self) -> float:
        """Virtual seconds since the simulation began."""
        return self.clock.now_us / 1e6

    @property
    def alive(self) -> bool:
        return self.program is not None and not self.program.life.fiber.over

    @property
    def sandbox(self) -> Sandbox:
        """What the running life has loaded."""
        assert self.program is not None
        assert self.program.sandbox is not None
        return self.program.sandbox

    def files(self) -> dict[str, bytes]:
        """Every file as it is on flash at this moment."""
        return read_files(self.flash)

    def image(self) -> bytes:
        """The whole flash as it is at this moment; another `Board` takes it."""
        data = bytearray(self.flash.size)
        self.flash.store.read_into(0, data)
        return bytes(data)

    # --- running

    def boot(self, until: Until = None) -> Outcome:
        """Powers the board, or lets it start again after a reset, and runs that one life.

        `until` is a number of virtual seconds from now, or a predicate that is asked at each step
        of the device. A life that is going on is cut first.

        Raises:
            Deadlock: without a number of seconds, when nothing can happen any more.
        """
        if self.alive:
            self.power_cycle()
        self._wake_from_sleep(until)
        self._start()
        return self._drive(until, stop_when_idle=True)

    def resume(self, until: Until) -> Outcome:
        """Goes on with the life that is paused."""
        if not self.alive:
            raise RuntimeError("no life to resume")
        return self._drive(until, stop_when_idle=False)

    def run(self, seconds: float) -> list[Outcome]:
        """Runs on for that long, through resets and power cuts: the outcomes of the lives."""
        end = self.clock.now_us + round(seconds * 1e6)
        outcomes: list[Outcome] = []
        while self.clock.now_us < end or not outcomes:
            if not self.alive:
                self._wake_from_sleep((end - self.clock.now_us) / 1e6)
                if self.clock.now_us >= end:
                    break
                self._start()
            outcome = self._drive((end - self.clock.now_us) / 1e6, stop_when_idle=False)
            outcomes.append(outcome)
            if outcome.reason in ("time", "bricked", "corrupt-filesystem"):
                break
        return outcomes

    def repl(self, source: str, seconds: float = 60) -> str:
        """Runs statements at the prompt of a board that is idle; returns what they print."""
        if not self.alive or self.program is None or self.program.stage != "idle":
            raise RuntimeError("the board is not at its prompt")
        program = self.program
        before = len(self.log.text)
        program.command = source.encode()
        program.life.fiber.rouse()
        self._drive(seconds, stop_when_idle=True)
        return self.log.text[before:]

    # --- interfering

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        """Has `action()` called that many virtual seconds from now, while the board runs."""
        self.clock.call_at(self.clock.now_us + round(seconds * 1e6), action)

    def interrupt(self) -> None:
        """Ctrl-C on the console."""
        if self.alive and self.program is not None:
            self.program.life.interrupt()

    def cut_at(self, operation: int, torn: int | bytes | str | None = None) -> None:
        """Cuts the power at the flash operation of that number (`flash.operations` counts them).

        `torn` is what the hook of chip/flash.py may return: None cuts before the operation,
        "cut-after" after it, a number or a mask of bits in the middle.
        """
        before = self.flash.hook
        order = chip_module("flash").CUT_BEFORE if torn is None else torn

        def hook(kind: str, addr: int, data: bytes | None, number: int) -> Any:
            if number == operation:
                self.flash.hook = before
                return order
            return before(kind, addr, data, number) if before else None

        self.flash.hook = hook

    def power_cycle(self) -> None:
        """Takes the power away; the next life begins with the cause of a power-on."""
        program = self.program
        if self.alive and program is not None:
            program.life.die("power-cut")
            self.flash.dead = True
            program.life.fiber.wake()
        self._cause = _PWRON

    def snapshot(self) -> Snapshot:
        """The board as it is while off, or as it would be if the power went now.

        Raises:
            ValueError: between a soft reset and the life after it, which lives on RAM.
        """
        if self._cause == _SOFT and not self.alive:
            raise ValueError("a soft reset keeps what is in RAM; boot first")
        state = self._random.getstate()
        rtc = self.chip.save_rtc()
        store = self.flash.store.clone()
        cause = _PWRON if self.alive else self._cause
        return Snapshot(store, self.flash.operations, rtc, cause, state)

    def restore(self, snapshot: Snapshot) -> None:
        """Makes the board what it was; the clock of the world goes on."""
        self.power_cycle()
        self.flash.store = snapshot.store.clone()
        self.flash.operations = snapshot.operations
        self.flash.hook = None
        self.chip.load_rtc(snapshot.rtc)
        self._cause = snapshot.cause
        self._random.setstate(snapshot.random_state)

    def close(self) -> None:
        """Ends the running life and the servers of the network."""
        self.power_cycle()
        self.net.loop.close()

    def __del__(self) -> None:
        # A paused life is a thread that waits; it must not outlast its board.
        # At the exit of the interpreter the threads are gone before.
        if hasattr(self, "program") and not sys.is_finalizing():
            self.power_cycle()

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- the life

    def _wake_from_sleep(self, until: Until) -> None:
        """Lets the time of a deep sleep pass."""
        wake_ms = self.chip.wake_at_ms
        if self._cause != _DEEPSLEEP:
            return
        limit = None if until is None or callable(until) else self.clock.now_us + until * 1e6
        if wake_ms is None and limit is None:
            raise Deadlock("deep sleep without an end")
        wake = limit if wake_ms is None else wake_ms * 1000
        assert wake is not None
        target = round(wake if limit is None else min(wake, limit))
        while self.clock.now_us < target:
            self.clock.host.wait(target)

    def _start(self) -> None:
        self.lives += 1
        self.log.muted = False
        self.program = Program(
            self.chip, self.net, self.log, self._random, self._cause, self._extra_paths
        )

    def _drive(self, until: Until, stop_when_idle: bool) -> Outcome:
        program = self.program
        assert program is not None
        life = program.life
        limit = None
        if callable(until):
            life.stop_when = until
        elif until is not None:
            limit = self.clock.now_us + round(until * 1e6)
        life.paused = ""
        life.stop_when_idle = stop_when_idle
        self.clock.call_at(self.clock.now_us, life.fiber.switch)
        reason: Reason | None = None
        while reason is None:
            try:
                in_time = self.clock.host.wait(limit)
            except Deadlock:
                life.paused, in_time = "deadlock", True
            self._raise_failures(program)
            reason = self._reason(program, in_time)
        life.stop_when = None
        if life.fiber.over:
            self._cause = life.cause or _PWRON
        cause = self._cause if life.fiber.over else 0
        return Outcome(reason, cause, self.lives, self.now, program.exception)

    def _reason(self, program: Program, in_time: bool) -> Reason | None:
        life = program.life
        if program.stage == "bricked":
            return "bricked"
        if life.fiber.over:
            return life.end or "power-cut"
        if life.paused == "deadlock":
            if program.stage == "idle":
                return "idle"
            raise Deadlock("every task of the board waits, and no event is left that could come")
        if life.paused:
            return life.paused
        return None if in_time else "time"

    def _raise_failures(self, program: Program) -> None:
        if program.crash is not None:
            raise program.crash
        if self.clock.failures:
            raise self.clock.failures.pop(0)
