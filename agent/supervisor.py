# SPDX-License-Identifier: MIT
"""The supervisor: starts the wings' tasks, watches their progress, feeds the watchdog, resets.

Invariants:
- only `_supervise` feeds the hardware watchdog, and only when every task is within its deadline;
- a task that misses its deadline ends in a reset whose recorded intent names it;
- a task that raises is started again after a pause, so that one wing cannot stop the others;
- every wanted reset has its intent recorded before it.
"""

import asyncio
import gc
import json

from micropython import const

from agent.errors import AgentError
from agent.storage.records import Record

WATCHDOG_S = const(60)
_RESTART_S = const(5)


class Task:
    """A supervised task's own handle: it must call `alive` or `sleep` within its deadline."""

    def __init__(self, board, name, run, deadline_s):
        self.name = name
        self.run = run
        self.restarts = 0
        self.kept = None  # the asyncio task, held so that it is not collected
        self._board = board
        self._deadline_ms = deadline_s * 1000
        self.alive()

    def alive(self):
        """Checks in."""
        self._due = self._board.ticks_add(self._board.ticks_ms(), self._deadline_ms)

    async def sleep(self, seconds):
        """Sleeps; the deadline starts to run when the sleep should end."""
        ms = int(seconds * 1000) + self._deadline_ms
        self._due = self._board.ticks_add(self._board.ticks_ms(), ms)
        await asyncio.sleep(seconds)
        self.alive()

    def overdue(self):
        return self._board.ticks_diff(self._board.ticks_ms(), self._due) > 0


class Supervisor:
    """`boot` is what `bootcause` read."""

    def __init__(self, board, log, state, boot):
        self.board = board
        self.log = log
        self.tasks = {}
        self._running = False
        self.commands = {}
        self.lag_ms = 0  # the worst delay of the event loop since it was last read
        self._intent = Record(state, "intent")
        self.boot = boot

    def command(self, name, handler):
        """Announces a command: `await handler(args)` returns what the reply shall carry."""
        self.commands[name] = handler

    def task(self, name, run, deadline_s=30):
        """Runs `run(task)`, a coroutine function, under supervision, as soon as `run` runs."""
        if name in self.tasks:
            raise AgentError("task-exists", name)
        task = self.tasks[name] = Task(self.board, name, run, deadline_s)
        if self._running:
            self._start(task)

    def _start(self, task):
        task.alive()
        task.kept = asyncio.create_task(self._keep(task))

    async def _keep(self, task):
        while True:
            try:
                await task.run(task)
                del self.tasks[task.name]
                return
            except Exception as e:  # noqa: BLE001 - whatever a wing or an application raises
                task.restarts += 1
                self.log.error(task.name, "stopped by " + repr(e))
                for line in self.board.format_exception(e).split("\n"):
                    if line:
                        self.log.error(task.name, line)
            await task.sleep(_RESTART_S)

    async def run(self):
        """Runs for ever; ends only by a reset or by Ctrl-C."""
        board = self.board
        self._running = True
        for task in list(self.tasks.values()):
            self._start(task)
        while True:
            asked = board.ticks_ms()
            await asyncio.sleep(1)
            self.lag_ms = max(self.lag_ms, board.ticks_diff(board.ticks_ms(), asked) - 1000)
            board.uptime_s()
            late = [task.name for task in self.tasks.values() if task.overdue()]
            if late:
                self.log.error("supervisor", "no progress: " + ", ".join(late))
                self.reset("starved", late[0])
            board.feed_watchdog()

    def reset(self, why, detail=""):
        """Records the intent and resets the board."""
        try:
            self._intent.save(json.dumps({"why": why, "detail": detail}).encode())
        except AgentError as e:
            # A board that cannot write must still be able to reset; only the reason is lost.
            self.log.error("supervisor", e.code)
        self.log.warning("supervisor", "reset: {} {}".format(why, detail))
        gc.collect()
        self.board.reset()
