# SPDX-License-Identifier: MIT
"""Virtual time, and the stacks that share it.

Invariants:
- time is an integer of microseconds and moves only in `run_next` and `skip_to`;
- events of one instant run in the order in which they were asked for, so a run repeats exactly;
- of all fibers exactly one runs; whoever waits runs the events until its own wake-up is among
  them. An event that wakes another fiber hands the run over there and then.

A fiber is a thread because device code blocks deep inside ordinary calls (`time.sleep` in an
import in boot.py), and a board that is paused must keep that whole stack.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable

__all__ = ["Clock", "Deadlock", "Fiber", "Timer"]


class Deadlock(Exception):
    """Everybody waits for an event, and none will come."""


class Timer:
    """One event to come."""

    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Microseconds since the simulation began, and the events to come."""

    def __init__(self) -> None:
        self.now_us = 0
        self.failures: list[BaseException] = []
        self.host = Fiber(self)
        self.running = self.host
        self._events: list[tuple[int, int, Timer]] = []  # when, order, what
        self._order = 0

    def call_at(self, at_us: int, callback: Callable[[], object]) -> Timer:
        """Has `callback()` called at that instant, or at once when it has passed."""
        self._order += 1
        timer = Timer(callback)
        heapq.heappush(self._events, (max(at_us, self.now_us), self._order, timer))
        return timer

    def next_at(self) -> int | None:
        """When the next event is due; None when there is none."""
        events = self._events
        while events:
            at_us, _, timer = events[0]
            if not timer.cancelled:
                return at_us
            heapq.heappop(events)
        return None

    def run_next(self) -> None:
        """Moves on to the next event and runs it. What it raises is the world's failure, not
        the fault of the device code that happened to wait: it is kept for the host."""
        if self.next_at() is None:
            raise Deadlock
        self.now_us, _, timer = heapq.heappop(self._events)
        try:
            timer.callback()
        except Exception as e:  # noqa: BLE001 - host code may raise anything
            self.fail(e)

    def fail(self, error: BaseException) -> None:
        """Keeps an error of the host's code and gives the host the run."""
        self.failures.append(error)
        self.host.rouse()

    def skip_to(self, at_us: int) -> bool:
        """Moves on to an instant where no event comes before it; says whether it did."""
        upcoming = self.next_at()
        if upcoming is not None and upcoming <= at_us:
            return False
        if at_us > self.now_us:
            self.now_us = at_us
        return True


class Fiber:
    """A stack that takes part in virtual time. Without `target` it is the creating thread."""

    def __init__(self, clock: Clock, target: Callable[[], None] | None = None) -> None:
        self.woken = False
        self.over = False
        self._clock = clock
        self._baton = threading.Semaphore(0)
        self._target = target
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Ends the wait of this fiber and lets it run; called from whichever fiber runs."""
        self.woken = True
        self.switch()

    def rouse(self) -> None:
        """`wake` for those inside an event: the hand-over becomes an event of its own, so that
        no half-done step of a server task is left open."""
        if self._clock.running is self:
            self.woken = True
        elif not self.over:
            self._clock.call_at(self._clock.now_us, self.wake)

    def switch(self) -> None:
        """Hands the run over to this fiber, whose wait goes on; returns when it comes back."""
        caller = self._clock.running
        if caller is self or self.over:
            return
        self._clock.running = self
        if self._thread is None and self._target is not None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="simboard-life")
            self._thread.start()
        else:
            self._baton.release()
        caller._baton.acquire()

    def wait(self, until_us: int | None = None) -> bool:
        """Runs the world until somebody wakes this fiber (True) or the instant comes (False).

        Raises:
            Deadlock: without an instant, when no event is left that could wake anybody.
        """
        clock = self._clock
        self.woken = False
        if until_us is not None and clock.skip_to(until_us):
            return False
        timer = None if until_us is None else clock.call_at(until_us, self._time_is_up)
        self._timed_out = False
        try:
            while not self.woken:
                clock.run_next()
        finally:
            if timer is not None:
                timer.cancel()
        return not self._timed_out

    def _time_is_up(self) -> None:
        self._timed_out = True
        self.wake()

    def _run(self) -> None:
        assert self._target is not None
        try:
            self._target()
        finally:
            clock = self._clock
            self.over = True
            clock.host.woken = True
            clock.running = clock.host
            clock.host._baton.release()
