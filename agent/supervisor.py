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
    """A supervised task's own handle: it must call `alive` or `sleep` within its deadline.

    `restarts` is how often it was started again."""

    def __init__(self, supervisor, name, run, deadline_s, of_application=False):
        self.name = name
        self.of_application = of_application
        self.run = run
        self.restarts = 0
        self.busy_us = 0
        self.worst_us = 0
        self.kept = None  # the asyncio task, held so that it is not collected
        self.failures = []  # uptimes of the last ones
        self._mark = name.encode()[:16]
        self.supervisor = supervisor
        self._board = supervisor.board
        self._deadline_ms = int(deadline_s * 1000)
        self.alive()

    def alive(self):
        """Checks in."""
        self._due = self._board.ticks_add(self._board.ticks_ms(), self._deadline_ms)

    async def sleep(self, seconds):
        """Sleeps; the deadline starts to run when the sleep should end."""
        while seconds > _DAY_S:  # ticks reach no further than six days
            await self._nap(_DAY_S)
            seconds -= _DAY_S
        await self._nap(seconds)

    async def _nap(self, seconds):
        ms = int(seconds * 1000) + self._deadline_ms
        self._due = self._board.ticks_add(self._board.ticks_ms(), ms)
        await asyncio.sleep(seconds)
        self.alive()

    def left_ms(self):
        """Until it is overdue."""
        return self._board.ticks_diff(self._due, self._board.ticks_ms())

    def begin(self):
        """A step of it begins."""
        record = self.supervisor.record
        if record.task != self._mark:
            record.mark(self._mark, self.supervisor.uptime_s)
        self._began = self._board.ticks_us()

    def end(self):
        took = self._board.ticks_diff(self._board.ticks_us(), self._began)
        self.busy_us += took
        self.worst_us = max(self.worst_us, took)

    def take(self):
        """[busy ms, longest step in ms] since it was last called, and [restarts] since ever."""
        taken = [self.busy_us // 1000, self.worst_us // 1000, self.restarts]
        self.busy_us = self.worst_us = 0
        return taken


class Steps:
    """Awaits a coroutine step by step, and tells its task of each."""

    def __init__(self, task, coroutine):
        self._task = task
        self._coroutine = coroutine

    def __iter__(self):
        resume, value = self._coroutine.send, None
        while True:
            self._task.begin()
            try:
                given = resume(value)
            except StopIteration:
                return
            finally:
                self._task.end()
            try:
                yield given
                resume, value = self._coroutine.send, None
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as e:  # noqa: BLE001 - cancelled: the coroutine's to handle
                resume, value = self._coroutine.throw, e

    __await__ = __iter__


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
        self._running = False
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
        if self._running:
            self._start(task)

    def _start(self, task):
        task.alive()
        task.kept = asyncio.create_task(self._keep(task))

    async def _keep(self, task):
        while True:
            try:
                await Steps(task, task.run(task))
                self.tasks.pop(task.name, None)
                return
            except BaseException as e:  # whatever a wing or an application raises
                if not isinstance(e, Exception) and type(e) is not SystemExit:
                    raise  # Ctrl-C, a cancellation
                pause_s = self._failed(task, e)
            await task.sleep(pause_s)

    def _failed(self, task, e):
        """Notes a failure; the seconds to wait until the next start."""
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
        self._running = True
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
