# SPDX-License-Identifier: MIT
"""The supervisor: runs the tasks, watches their progress, feeds the watchdog, resets.

Invariants:
- only `run` feeds the hardware watchdog, and only when every task is within its deadline;
- a task that misses its deadline ends in a reset whose recorded intent names it; one that holds
  the whole loop is named by the boot record, which says whose step runs;
- a task that raises is started again after a pause, so that one wing cannot stop the others; one
  that goes on raising ends in a reset;
- a boot is good once no task has raised for a minute; every wanted reset has its intent recorded
  before it.
"""

import asyncio
import gc
import sys

from micropython import const

from agent import ondemand
from agent.errors import AgentError
from agent.monitor import bootrecord

WATCHDOG_S = const(60)
_GOOD_S = const(60)
_LOOK_S = const(15)
_DAY_S = const(86400)
_MANY = const(3)  # so many failures of a task, none long after the other,
_LONG_S = const(600)  # are answered by a new start; the next one by a reset


class Task:
    """A supervised task: its own handle, by which it must call `alive` or `sleep` within its
    deadline, and at once what the event loop runs, step by step, as if it were a coroutine.

    `restarts` is how often it was started again; busy_us and worst_us, the longest step, are since
    the last heartbeat."""

    def __init__(self, supervisor, name, run, deadline_s, of_application=False):
        self.supervisor = supervisor
        self.name = name
        self.of_application = of_application
        self.run = run
        self.restarts = self.busy_us = self.worst_us = 0
        self.kept = None  # the asyncio task, held so that it is not collected
        self.failures = ()  # uptimes of the last ones
        self._life = None  # the coroutine, from the first step on
        self._deadline_ms = int(deadline_s * 1000)
        self.alive()

    def alive(self):
        """Checks in."""
        self._wait(0)

    async def sleep(self, seconds):
        """Sleeps; the deadline starts to run when the sleep should end."""
        while seconds > _DAY_S:  # ticks reach no further than six days
            self._wait(_DAY_S * 1000)
            await asyncio.sleep(_DAY_S)
            seconds -= _DAY_S
        self._wait(int(seconds * 1000))
        await asyncio.sleep(seconds)
        self._wait(0)

    def _wait(self, ms):
        board = self.supervisor.board
        self._due = board.ticks_add(board.ticks_ms(), ms + self._deadline_ms)

    def left_ms(self):
        """Until it is overdue."""
        board = self.supervisor.board
        return board.ticks_diff(self._due, board.ticks_ms())

    def send(self, raised):
        """One step. `raised` is what the event loop throws in, or None, all that it ever sends."""
        supervisor = self.supervisor
        board = supervisor.board
        if supervisor.running is not self:
            supervisor.running = self
            supervisor.record.mark(self.name.encode(), supervisor.uptime_s)
        began = board.ticks_us()
        try:
            if self._life is None:
                self._life = self.run(self)
            return self._life.send(None) if raised is None else self._life.throw(raised)
        except StopIteration:
            supervisor.tasks.pop(self.name, None)
            raise
        except BaseException as e:  # whatever a wing or an application raises
            if not isinstance(e, Exception) and type(e) is not SystemExit:
                raise  # Ctrl-C, a cancellation
            self._life = None  # what it holds may be all of the heap
            self._life = self._again(supervisor.failed(self, e))
        finally:
            took = board.ticks_diff(board.ticks_us(), began)
            self.busy_us += took
            self.worst_us = max(self.worst_us, took)
        return self._life.send(None)

    throw = send

    async def _again(self, pause_s):
        await self.sleep(pause_s)
        await self.run(self)

    def close(self):
        if self._life:
            self._life.close()

    def __await__(self):  # CPython's event loop asks for it, and never calls it
        return self


class Supervisor:
    """`boot` is what `bootcause` read, `record` the boot record."""

    def __init__(self, board, log, state, boot, record):
        self.board = board
        self.log = log
        self.record = record
        self.tasks = {}
        self.commands = {}
        self.busy = None  # `hold.Busy` once the application has asked for it
        self.lag_ms = 0  # the worst delay of the event loop since it was last read
        self.uptime_s = 0  # as of the last look
        self.boot = boot
        self.on_failure = None  # called with (name, exception) when a task has raised
        self.failed_at = 0  # uptime when one did
        self.running = None  # the task whose step ran last; ourselves before the first
        self._state = state

    @property
    def safe(self):
        """Whether this is safe mode."""
        return bool(self.record.flags & bootrecord.SAFE)

    def command(self, name, handler):
        """Announces a command: `await handler(args)` returns what the reply shall carry."""
        self.commands[name] = handler

    def task(self, name, run, deadline_s=30, of_application=False):
        """Runs `run(task)`, a coroutine function, under supervision, as soon as `run` runs."""
        if name in self.tasks:
            raise AgentError("task-exists", name)
        task = self.tasks[name] = Task(self, name, run, deadline_s, of_application)
        if self.running:
            self._start(task)

    def _start(self, task):
        task.alive()
        task.kept = asyncio.create_task(task)

    def failed(self, task, e):
        """Notes a failure; the seconds to wait until the next start."""
        if task.name == "app":
            # It is loaded anew for that; until then its module, and what it holds, is in the way.
            sys.modules.pop("app", None)
        now = self.failed_at = self.board.uptime_s()
        task.failures = [at for at in task.failures if now - at < _LONG_S] + [now]
        task.restarts += 1
        self.log.error(task.name, "stopped by " + type(e).__name__)
        try:
            self.on_failure(task.name, e)
        except Exception as second:  # noqa: BLE001 - a heap that is full, a file system that is
            self.log.error("supervisor", repr(second))
        if len(task.failures) > _MANY:
            self.reset("crash", task.name)
        return 1 << len(task.failures) - 1

    async def run(self):
        """Runs for ever; ends only by a reset or by Ctrl-C."""
        board = self.board
        self.running = self
        for task in list(self.tasks.values()):
            self._start(task)
        while True:
            wait_ms = min([task.left_ms() for task in self.tasks.values()] + [_LOOK_S * 1000])
            asked = board.ticks_add(board.ticks_ms(), max(wait_ms + 1, 1000))
            await asyncio.sleep(max(wait_ms + 1, 1000) / 1000)
            self.lag_ms = max(self.lag_ms, board.ticks_diff(board.ticks_ms(), asked))
            self._look()
            board.feed_watchdog()

    def _look(self):
        self.uptime_s = self.board.uptime_s()
        late = [task.name for task in self.tasks.values() if task.left_ms() < 0]
        if late:
            self.log.error("supervisor", "no progress: " + ", ".join(late))
            self.reset("starved", late[0])
        record = self.record
        if not record.flags and self.uptime_s - self.failed_at >= _GOOD_S:
            record.bad = record.safe = 0
            self._end("good")

    def reset(self, why, detail=""):
        """Records the intent and resets the board."""
        self._end("record", why, detail)
        self.log.warning("supervisor", "reset: {} {}".format(why, detail))
        self.board.reset()

    def _end(self, name, *args):
        gc.collect()
        try:
            from agent import ending

            getattr(ending, name)(self, self._state, *args)
        except (AgentError, MemoryError) as e:
            # A board that cannot write must still be able to reset; only the reason is lost.
            self.log.error("supervisor", repr(e))
        ending = None
        ondemand.release("ending", "storage.records")
