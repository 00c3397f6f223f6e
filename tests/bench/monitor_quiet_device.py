# SPDX-License-Identifier: MIT
"""A board that has nothing to say, round the real supervisor and the real monitor. Runs on
MicroPython, for monitor.py."""

import gc
import json
import sys
import time

from agent.monitor import Heartbeat
from agent.supervisor import BootRecord, Supervisor

TASKS = ("link", "health", "identity", "app")


class Nvs:
    """Its partition."""

    TYPE_DATA = 1

    @staticmethod
    def find(kind, label):
        return [Nvs()]

    def ioctl(self, what, arg):
        return 4

    def readblocks(self, number, head, offset):
        head[0] = 0xFE


class Chip:
    """The modules that `agent.facts` imports, as far as it asks them here."""

    Partition = Nvs

    def __getattr__(self, name):
        return 0


for name in ("esp32", "machine", "network"):
    sys.modules[name] = Chip()


class Board:
    def __init__(self):
        self.rtc = bytearray(2048)
        self.length = 0
        self.start = time.ticks_ms()
        self.beats = 0

    def rtc_memory(self, data=None):
        if data is None:
            return bytes(self.rtc[: self.length])
        self.rtc[: len(data)] = data
        self.length = len(data)
        return None

    def ticks_ms(self):
        return time.ticks_ms()

    def ticks_us(self):
        return time.ticks_us()

    def ticks_diff(self, a, b):
        return time.ticks_diff(a, b)

    def ticks_add(self, a, b):
        return time.ticks_add(a, b)

    def uptime_s(self):
        return time.ticks_diff(time.ticks_ms(), self.start) // 1000 + 60 * self.beats

    def heap(self):
        return {"free": gc.mem_free(), "largest": 110592, "least": 100000}

    def storage(self):
        return {"free": 500000}

    def temperature_c(self):
        return 45

    def feed_watchdog(self):
        pass


class State:
    def get(self, key, size=0):
        return None

    def get_int(self, key):
        return 0

    def set_int(self, key, value):
        pass


class Quiet:
    """Session, Wi-Fi, events, clock and log of a board that has nothing to say."""

    connects = 1
    failures = {}  # noqa: RUF012

    def __init__(self):
        self.online = True
        self.sent = 0

    def connected(self):
        return self.online

    def figures(self):
        return {"connects": 1, "dropped": 0, "failures": {}, "in": 1000, "out": 1000}

    async def publish(self, topic, document, qos=0, retain=False):
        if not isinstance(document, str):
            json.dumps(document)
        self.sent += 1

    def rssi(self):
        return -60

    def synced(self):
        return True

    def now(self):
        return 1795392000

    def add(self, code, **detail):
        pass

    def info(self, wing, text):
        pass

    warning = error = info


class Runtime:
    """What `agent.runtime.Runtime` has, for those that ask it here."""


SETTINGS = {
    "heartbeat_s": 60,
    "limit_heap": 8192,
    "limit_storage": 32768,
    "limit_lag_ms": 5000,
    "limit_temp_c": 90,
}


def make(board):
    runtime = Runtime()
    quiet = Quiet()
    quiet.log = quiet
    runtime.board = board
    runtime.log = runtime.session = runtime.wifi = runtime.events = runtime.clock = quiet
    runtime.settings = SETTINGS
    runtime.state = State()
    runtime.boot = {"count": 1}
    runtime.supervisor = runtime.heart = None
    return runtime


def supervise(runtime):
    board = runtime.board
    record = BootRecord(board.rtc_memory)
    runtime.supervisor = Supervisor(board, runtime.log, runtime.state, runtime.boot, record)


def monitor(runtime):
    runtime.heart = Heartbeat(runtime)


def add_tasks(supervisor):
    """Four, as a board with an application has, as they are before their first step."""
    for name in TASKS:
        task = supervisor.task(name, for_ever)
        task.alive()
        task.kept = task._life = None  # any agent has a coroutine for a task, and an asyncio task


def step(supervisor):
    """Each task's first step."""
    for task in supervisor.tasks.values():
        task._life = task.run(task)
        task.send(None)


def has_not_crashed():
    """Says so in a file: where there is none, not all interpreters tell that as an ESP32 does."""
    with open("/fl/crash", "w") as file:  # noqa: PTH123 - MicroPython
        file.write("null")


def sends_both(runtime):
    minute(runtime)
    assert runtime.session.sent == 2


def away(runtime):
    """A heartbeat that the broker is not there for, as the first of a life may be."""
    runtime.session.online = False
    minute(runtime)
    runtime.session.online = True


def hour(runtime):
    for _ in range(60):
        minute(runtime)


def minute(runtime):
    """Six samples, and the heartbeat."""
    for _ in range(6):
        runtime.heart.sample()
    beat(runtime)


def beat(runtime):
    runtime.board.beats += 1
    report = runtime.heart._report()
    try:
        report.send(None)
    except StopIteration:
        return
    raise AssertionError("a heartbeat of a board with nothing to say waits")


async def for_ever(task):
    while True:
        await Yield()


class Yield:
    """Gives the loop back once, to whoever steps a task by hand."""

    def __iter__(self):
        yield

    __await__ = __iter__
