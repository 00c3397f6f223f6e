# SPDX-License-Identifier: MIT
"""MicroPython's asyncio core on virtual time: tasks, sleeping, cancelling, the loop.

CPython's asyncio would differ where it hurts: MicroPython's TimeoutError is no OSError, an
exception nobody awaits is printed at once, cancelling a task cancels what it waits for,
KeyboardInterrupt leaves every task as it is, and tasks left over go on in the next `run`.
Behaviour as measured on the MicroPython unix port; the order of tasks due at once is first in,
first out.
"""

from __future__ import annotations

import contextlib
import heapq
import warnings
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from .life import Life

__all__ = ["CancelledError", "Core", "Suspend", "Task", "TimeoutError", "Waiters"]


class CancelledError(BaseException):
    """As on the board, not an Exception."""


class TimeoutError(Exception):
    """As on the board, not an OSError."""


class Waiters:
    """Tasks that wait for one thing, in the order in which they came."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._tasks: list[Task] = []

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def add(self, task: Task) -> None:
        self._tasks.append(task)
        task.waits_in = self

    def remove(self, task: Task) -> None:
        self._tasks.remove(task)

    def wake_one(self) -> None:
        self._core.make_ready(self._tasks.pop(0))

    def wake_all(self) -> None:
        while self._tasks:
            self.wake_one()


class Suspend:
    """What `await` bottoms out in: `arrange()` says who will wake the task, then it is left. No
    coroutine, so create_task refuses it, as MicroPython's does."""

    def __init__(self, arrange: Callable[[], None]) -> None:
        self._arrange = arrange

    def __await__(self) -> Generator[None, None, None]:
        self._arrange()
        yield

    __iter__ = __await__


class Task:
    """One coroutine that the loop drives."""

    def __init__(self, core: Core, coro: Coroutine[Any, Any, Any]) -> None:
        self.coro = coro
        self.waits_in: Waiters | None = None
        self.waits_for: Task | None = None
        self.due: list[Any] | None = None
        self.to_throw: BaseException | None = None
        self.on_done: Callable[[Task], None] | None = None
        self.awaited = Waiters(core)
        self.finished = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.retrieved = False
        self._core = core

    def done(self) -> bool:
        return self.finished

    def cancel(self) -> bool:
        """Raises CancelledError in the task, or in the task that it awaits."""
        if self.finished:
            return False
        if self is self._core.current:
            raise RuntimeError("can't cancel self")
        task = self
        while task.waits_for is not None and not task.waits_for.finished:
            task = task.waits_for
        if task.waits_in is not None:
            task.waits_in.remove(task)
            task.waits_in = None
        task.to_throw = CancelledError()
        self._core.make_ready(task)
        return True

    def __await__(self) -> Generator[None, None, Any]:
        self.retrieved = True
        if not self.finished:
            waiting = self._core.current
            assert waiting is not None
            self.awaited.add(waiting)
            waiting.waits_for = self
            yield
            waiting.waits_for = None
        if self.error is not None:
            raise self.error
        return self.result

    __iter__ = __await__


class Core:
    """The loop of one life. `report(task)` prints an exception that nobody awaited."""

    def __init__(self, life: Life, report: Callable[[Task], None]) -> None:
        self.life = life
        self.current: Task | None = None
        self._report = report
        self._queue: list[list[Any]] = []
        self._order = 0
        self.tasks: set[Task] = set()
        self._abandoned: set[Task] = set()  # by new_event_loop

    # --- the queue: [due_us, order, task or None]; None where the task left it early

    def make_ready(self, task: Task, at_us: int = 0) -> None:
        """Puts a task into the queue, and wakes the board when it idles."""
        if task.due is not None:
            task.due[2] = None
        self._order += 1
        now_us = self.life.clock.now_us
        task.due = [at_us if at_us > now_us else now_us, self._order, task]
        task.waits_in = None
        heapq.heappush(self._queue, task.due)
        self.life.fiber.rouse()

    def _next_due(self) -> int | None:
        while self._queue and self._queue[0][2] is None:
            heapq.heappop(self._queue)
        return int(self._queue[0][0]) if self._queue else None

    # --- what asyncio offers

    def create_task(self, coro: Any) -> Task:
        if not hasattr(coro, "send"):
            raise TypeError("coroutine expected")
        task = Task(self, coro)
        self.tasks.add(task)
        self.make_ready(task)
        return task

    def sleep(self, seconds: float) -> Suspend:
        return self.sleep_ms(int(seconds * 1000))

    def sleep_ms(self, ms: int) -> Suspend:
        due = self.life.clock.now_us + max(0, ms) * 1000
        return Suspend(lambda: self._requeue(due))

    def _requeue(self, due: int) -> None:
        assert self.current is not None
        self.make_ready(self.current, due)

    def current_task(self) -> Task:
        if self.current is None:
            raise RuntimeError("no running event loop")
        return self.current

    def run(self, coro: Any) -> Any:
        return self.run_until_complete(self.create_task(coro))

    def run_until_complete(self, main: Task | None) -> Any:
        """Runs until `main` is done, or for ever."""
        while True:
            due = self._next_due()
            if due is None or due > self.life.clock.now_us:
                self.life.wait(due)
                continue
            task: Task = heapq.heappop(self._queue)[2]
            task.due = None
            if task.finished:
                self._unretrieved(task)
                continue
            self.life.switch()
            self._step(task)
            if task is main and task.finished:
                task.retrieved = True
                if task.error is not None:
                    raise task.error
                return task.result

    def _step(self, task: Task) -> None:
        self.current = task
        error, task.to_throw = task.to_throw, None
        try:
            if error is None:
                task.coro.send(None)
            else:
                task.waits_for = None
                task.coro.throw(error)
        except StopIteration as e:
            task.result = e.value
            self._done(task)
        except (CancelledError, Exception) as e:  # noqa: BLE001 - the task's own exception
            task.error = e
            self._done(task)
        finally:
            self.current = None

    def _done(self, task: Task) -> None:
        task.finished = True
        self.tasks.discard(task)
        waiting = bool(task.awaited) or task.on_done is not None
        if task.on_done is not None:
            task.on_done(task)
        task.awaited.wake_all()
        if task.error is not None and not waiting and not isinstance(task.error, CancelledError):
            self.make_ready(task)  # somebody may still await it before its turn comes

    def _unretrieved(self, task: Task) -> None:
        if not task.retrieved:
            self._report(task)

    def abandon(self) -> None:
        """Forgets every task, as `new_event_loop` does: MicroPython never runs them further, not
        even what stands in their `finally`."""
        self._queue.clear()
        self._abandoned |= self.tasks
        self.tasks = set()

    def forget(self) -> None:
        """Drops every task at the end of a life."""
        self.abandon()
        tasks, self._abandoned = self._abandoned, set()
        for task in tasks:
            # Dead code may complain as it likes.
            with contextlib.suppress(BaseException), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                task.coro.close()
