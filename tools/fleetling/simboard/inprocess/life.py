# SPDX-License-Identifier: MIT
"""One life of a board: from power to reset, watchdog or power cut.

Invariants:
- every injected function that touches hardware or time passes through `check`, `spend` or a wait
  here, and each of them raises the end of the life again once it has come: device code that
  swallows the first `Reset` or `PowerCut` meets it at its next step;
- the watchdog is looked at whenever time moves, and time never jumps over its deadline;
- Ctrl-C is raised between two steps of device code, never inside a flash operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn

from .clock import Clock, Deadlock, Fiber
from .shim import chip_module

__all__ = ["End", "Life", "Pause"]

# What device code costs where nothing else is measured: one pass of a `while` loop, and one step
# of an asyncio task ("asyncio switch about 0.3 ms", docs/hardware.md).
LOOP_US = 20
SWITCH_US = 300
_LOOPS_AT_ONCE = 64
_WDT_RESET = 3

End = Literal["", "reset", "wdt", "power-cut"]
Pause = Literal["", "predicate", "idle", "deadlock", "corrupt-filesystem"]


class Life:
    """The clock, the watchdog and the end of one life. `target` is all that the board
    runs, in a stack of its own; None lets it share the stack of the host."""

    def __init__(self, clock: Clock, chip: Any, target: Callable[[], None] | None) -> None:
        self.clock = clock
        self.fiber = clock.host if target is None else Fiber(clock, target)
        self.born_us = clock.now_us
        self.end: End = ""
        self.cause = 0
        self.paused: Pause = ""
        self.stop_when: Callable[[], bool] | None = None
        self.stop_when_idle = False
        self._chip = chip
        self._flash = chip.flash
        self._interrupted = False
        self._loops = 0

    # --- the end

    def finish(self, end: End, cause: int = 0) -> NoReturn:
        """Ends the life; `cause` is the reset cause that the next one will see."""
        self.die(end, cause)
        self._raise_end()

    def die(self, end: End, cause: int = 0) -> None:
        """Marks the life as ended from outside: its next step raises."""
        if not self.end:
            self.end = end
            self.cause = cause

    def _raise_end(self) -> NoReturn:
        if self.end == "power-cut":
            raise chip_module("flash").PowerCut("power cut")
        raise chip_module("chip").Reset(self.cause)

    def interrupt(self) -> None:
        """Ctrl-C: KeyboardInterrupt in whatever runs or waits."""
        self._interrupted = True
        self.fiber.rouse()

    # --- steps of device code

    def check(self) -> None:
        """To be called at each step; raises what ends or interrupts it."""
        deadline_ms = self._chip.wdt_deadline_ms
        if (
            self.end
            or self._flash.dead
            or (deadline_ms is not None and self.clock.now_us >= deadline_ms * 1000)
        ):
            self._check_end()
        if self.stop_when is not None and self.stop_when():
            self.pause("predicate")
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt

    def _check_end(self) -> None:
        if self.end:
            self._raise_end()
        if self._flash.dead:
            self.finish("power-cut")
        deadline_ms = self._chip.wdt_deadline_ms
        if deadline_ms is not None and self.clock.now_us >= deadline_ms * 1000:
            self.finish("wdt", _WDT_RESET)

    def switch(self) -> None:
        """The board turns to its next task."""
        until = self.clock.now_us + SWITCH_US
        if self._not_after_watchdog(until) != until or not self.clock.skip_to(until):
            self.spend(SWITCH_US)
        self.check()

    def pause(self, why: Pause) -> None:
        """Gives the run to the host, until it lets the board go on."""
        self.stop_when = None
        self.paused = why
        self.clock.host.wake()
        self._check_end()

    def idle(self) -> None:
        """At the prompt: the host may want to know, and nothing but the watchdog can happen."""
        if self.stop_when_idle and self._chip.wdt_deadline_ms is None:
            self.stop_when_idle = False
            self.pause("idle")
        else:
            self.wait(None)

    def loop(self) -> None:
        """Called by every pass of every `while` loop of device code: a busy wait takes time, and
        a loop without an end meets the watchdog."""
        self._loops += 1
        if self._loops >= _LOOPS_AT_ONCE or self.end:
            self._loops = 0
            self.spend(_LOOPS_AT_ONCE * LOOP_US)
            self.check()

    def spend(self, us: float) -> None:
        """Takes time, uninterruptible but for the end: flash, arithmetic, a driver."""
        clock = self.clock
        until = clock.now_us + round(us)
        self._check_end()
        while clock.now_us < until:
            self.fiber.wait(self._not_after_watchdog(until))
            self._check_end()

    def sleep_until(self, until_us: int) -> None:
        """Blocks as `time.sleep` does; Ctrl-C gets through."""
        while True:
            self.check()
            if self.clock.now_us >= until_us:
                return
            self.fiber.wait(self._not_after_watchdog(until_us))

    def wait(self, until_us: int | None) -> None:
        """Idles until an event wakes the board, or until the instant. Nothing can ever happen any
        more: the host is told, and may change the world."""
        self.check()
        try:
            self.fiber.wait(self._not_after_watchdog(until_us))
        except Deadlock:
            self.pause("deadlock")
        self.check()

    def _not_after_watchdog(self, until_us: int | None) -> int | None:
        deadline_ms = self._chip.wdt_deadline_ms
        if deadline_ms is None:
            return until_us
        deadline_us: int = deadline_ms * 1000
        return deadline_us if until_us is None or until_us > deadline_us else until_us
