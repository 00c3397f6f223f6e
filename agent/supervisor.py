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

What it takes of the heap is held against a budget (decision 0016).
"""

import asyncio
import binascii
import struct
import sys

from micropython import const

from agent.errors import AgentError

_GOOD_S = const(65)  # longer than an application may be silent
_LOOK_S = const(15)
_DAY_S = const(86400)
_MANY = const(4)  # so many failures of a task
_WITHIN_S = const(600)  # in this time are answered by a reset, fewer by a new start

# The boot record, but for its CRC-32; its magic is with the version.
_LAYOUT = const("<3s3BI16s")
_MAGIC = const(b"GL\1")
_SIZE = const(30)
_SEALED = const(0x2144DF1C)  # the CRC-32 of whatever ends with its own CRC-32
_ROOM = const(2048)
_GOOD = const(1)
_SAFE = const(2)


class Task:
    """A supervised task: its own handle, by which it must call `alive` or `sleep` within its
    deadline, and at once what the event loop runs, step by step, as if it were a coroutine.

    `restarts` is how often it was started again; busy_us and worst_us, the longest step, are since
    the last heartbeat; due_s is the last second of uptime to check in."""

    restarts = 0
    failures = ()  # uptimes of the last ones

    def __init__(self, supervisor, name, run, deadline_s):
        self.supervisor = supervisor
        self.name = name
        self.run = run
        self.deadline_s = deadline_s
        self.of_application = False
        self.busy_us = self.worst_us = 0

    def start(self):
        self.alive()
        self._life = self.run(self)
        self.kept = asyncio.create_task(self)  # so that it is not collected

    def alive(self, seconds=0):
        """Checks in; the deadline starts to run after so many whole seconds."""
        self.due_s = self.supervisor.board.uptime_s() + seconds + self.deadline_s

    async def sleep(self, seconds):
        """Sleeps; the deadline starts to run when the sleep should end."""
        while seconds > _DAY_S:  # ticks reach no further than six days
            await self.sleep(_DAY_S)
            seconds -= _DAY_S
        self.alive(int(seconds) + 1)
        await asyncio.sleep(seconds)
        self.alive()

    def send(self, raised):
        """One step. `raised` is what the event loop throws in, or None, all that it ever sends."""
        supervisor = self.supervisor
        board = supervisor.board
        if supervisor.running is not self:
            supervisor.running = self
            record = supervisor.record
            record.task = self.name.encode()
            record.uptime_s = board.uptime_s()
            record.write()
        began = board.ticks_us()
        try:
            return self._life.send(None) if raised is None else self._life.throw(raised)
        except StopIteration:
            supervisor.tasks.pop(self.name, None)
            raise
        except (Exception, SystemExit) as e:  # noqa: BLE001 - whatever a wing raises
            self._life = None  # what it holds may be all of the heap
            self._life = self._again(supervisor.failed(self, e))
        finally:
            took = board.ticks_diff(board.ticks_us(), began)
            self.busy_us += took
            self.worst_us = max(self.worst_us, took)
        return self._life.send(None)

    throw = send

    def close(self):
        self._life.close()

    async def _again(self, pause_s):
        await self.sleep(pause_s)
        await self.run(self)


class Supervisor:
    """`boot` is what `bootcause` read, `record` the boot record.

    Attributes: tasks by their names, and commands, `await handler(args)` of each, whose value the
    reply carries; lag_ms, the worst delay of the event loop since it was last read; failed_at,
    uptime when a task raised; running, the task whose step ran last, ourselves before the first.
    """

    busy = None  # `hold.Busy` once the application has asked for it
    failed_at = 0
    running = None

    def __init__(self, board, log, state, boot, record):
        self.board = board
        self.log = log
        self.state = state
        self.boot = boot
        self.record = record
        self.safe = bool(record.flags & _SAFE)
        self.tasks = {}
        self.commands = {}
        self.lag_ms = 0
        self.on_failure = None  # called with (name, exception) when a task has raised

    def task(self, name, run, deadline_s=30):
        """Runs `run(task)`, a coroutine function, under supervision, as soon as `run` runs."""
        if name in self.tasks:
            raise AgentError("task-exists", name)
        task = self.tasks[name] = Task(self, name, run, deadline_s)
        if self.running:
            task.start()
        return task

    def failed(self, task, e):
        """Notes a failure; the seconds to wait until the next start."""
        if task.name == "app":
            # It is loaded anew for that; until then its module, and what it holds, is in the way.
            sys.modules.pop("app", None)
        try:
            self.on_failure(task.name, e)
        except Exception as second:  # noqa: BLE001 - a heap that is full, a file system that is
            self.log.error(task.name, type(e).__name__ + ", not noted: " + repr(second))
        now = self.failed_at = self.board.uptime_s()
        task.restarts += 1
        task.failures = (task.failures + (now,))[-_MANY:]
        if len(task.failures) == _MANY and now - task.failures[0] < _WITHIN_S:
            self.reset("crash", task.name)
        return 1 << len(task.failures) - 1

    async def run(self):
        """Runs for ever; ends only by a reset or by Ctrl-C."""
        board = self.board
        self.running = self
        for task in list(self.tasks.values()):
            task.start()
        wait_s = 1
        while True:
            began = board.ticks_ms()
            await asyncio.sleep(wait_s)
            late_ms = board.ticks_diff(board.ticks_ms(), began) - wait_s * 1000
            self.lag_ms = max(self.lag_ms, late_ms)
            wait_s = self._look()
            board.feed_watchdog()

    def _look(self):
        """Resets the board if a task is late; else the seconds until one may be."""
        now = self.board.uptime_s()
        wait_s = _LOOK_S
        for task in self.tasks.values():
            left_s = task.due_s - now
            if left_s < 0:
                self.reset("starved", task.name)
            wait_s = min(wait_s, left_s)
        record = self.record
        if not record.flags and now - self.failed_at >= _GOOD_S:
            record.bad = record.safe = 0
            self.good()
        return max(wait_s, 1)

    def good(self):
        """From now on the end of this boot speaks against nobody; safe mode stays what it is."""
        self.record.flags |= _GOOD
        self.record.write()
        try:
            if not self.safe and self.state.get_int("guard"):
                self.state.set_int("guard", 0)
        except AgentError as e:
            self.log.error("supervisor", e.code)

    def reset(self, why, detail=""):
        """Records the intent and resets the board."""
        try:
            from agent import ending

            ending.record(self, why, detail)
        except Exception as e:  # noqa: BLE001 - it must still be able to; only the reason is lost
            self.log.error("supervisor", repr(e))
        self.board.reset()


class BootRecord:
    """What has to survive a reset without a write to flash: a record in RTC memory.

    boot.py counts bad boots in it, and decides on safe mode; the agent says there which task runs,
    so that a board that hangs in one can tell after the watchdog's reset, and when a boot was
    good. Layout, at the end of RTC memory, after whatever an application keeps there: magic,
    version, how bad the last boots were, how often in safe mode, flags, uptime in seconds, task;
    CRC-32 of all. Flags: 1, this boot is no bad one any more, or its end is wanted; 2, safe mode:
    the application is not started. `memory` is machine.RTC().memory. Without a valid record all is
    zero."""

    def __init__(self, memory):
        self.memory = memory
        self.bad = self.safe = self.flags = self.uptime_s = 0
        self.task = b""
        kept = memory()
        if _sealed(kept):
            found = struct.unpack_from(_LAYOUT, kept[-_SIZE:])
            if found[0] == _MAGIC:
                _, self.bad, self.safe, self.flags, self.uptime_s, task = found
                self.task = task.rstrip(b"\0")

    def write(self):
        """Writes the record, after what an application keeps there by now; where that leaves no
        room, not at all."""
        kept = self.memory()
        if _sealed(kept):
            kept = kept[:-_SIZE]
        record = struct.pack(
            _LAYOUT, _MAGIC, self.bad, self.safe, self.flags, self.uptime_s, self.task
        )
        if len(kept) <= _ROOM - _SIZE:
            self.memory(kept + record + struct.pack("<I", binascii.crc32(record)))


def _sealed(data):
    """Whether it ends with a record."""
    return len(data) >= _SIZE and binascii.crc32(data[-_SIZE:]) == _SEALED
