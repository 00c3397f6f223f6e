# SPDX-License-Identifier: MIT
"""Times what supervision and monitoring cost on MicroPython. Run by monitor.py.

    micropython -X heapsize=400k monitor_device.py FOLDER

FOLDER holds the agent, compiled. Answers one line of JSON: times in microseconds, heap in bytes.
"""

import asyncio
import gc
import json
import sys
import time

sys.path.insert(0, sys.argv[1])

ROUNDS = 2000
BEATS = 40


def taken():
    gc.collect()
    gc.collect()
    return gc.mem_alloc()


from agent.monitor.bootrecord import BootRecord  # noqa: E402
from agent.monitor.heartbeat import Heartbeat  # noqa: E402
from agent.supervisor import Supervisor, Task  # noqa: E402


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


class Room:
    """In the place of agent.storage.room, which asks the hardware."""

    nvs_free = staticmethod(lambda: 200)


sys.modules["agent.storage.room"] = Room


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

    def connected(self):
        return True

    def figures(self):
        return {"connects": 1, "dropped": 0, "failures": {}, "in": 1000, "out": 1000}

    async def publish(self, topic, document, qos=0, retain=False):
        if not isinstance(document, str):
            json.dumps(document)

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
    pass


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
    runtime.board = board
    runtime.log = runtime.session = runtime.wifi = runtime.events = runtime.clock = quiet
    runtime.settings = SETTINGS
    record = BootRecord(runtime.board.rtc_memory)
    runtime.supervisor = Supervisor(runtime.board, quiet, State(), {"count": 1}, record)
    runtime.heart = Heartbeat(runtime)
    return runtime


async def for_ever(task):
    while True:
        await Yield()


class Yield:
    """Gives the loop back once, to whoever steps a task by hand."""

    def __iter__(self):
        yield

    __await__ = __iter__


async def nothing():
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


async def per_round(make_awaitable):
    started = time.ticks_us()
    await make_awaitable()
    return time.ticks_diff(time.ticks_us(), started) / ROUNDS


def per_call(call, rounds):
    started = time.ticks_us()
    for _ in range(rounds):
        call()
    return time.ticks_diff(time.ticks_us(), started) / rounds


async def main():
    board = Board()
    before = taken()
    runtime = make(board)
    supervisor, heart = runtime.supervisor, runtime.heart
    for name in ("link", "health", "identity", "app"):
        task = supervisor.tasks[name] = Task(supervisor, name, for_ever, 30)
        task.send(None)
    plain = await per_round(lambda: asyncio.create_task(nothing()))

    def supervised():
        return asyncio.create_task(Task(supervisor, "x", lambda task: nothing(), 30))

    stepped = await per_round(supervised)

    def marked():
        supervisor.record.mark(b"link", supervisor.uptime_s)

    changed = per_call(marked, ROUNDS)
    for _ in range(3):
        heart.sample()
    collect = per_call(gc.collect, 50)
    sample = per_call(heart.sample, 50)
    look = per_call(supervisor._look, ROUNDS)
    beats = []
    for _ in range(BEATS):
        runtime.board.beats += 1
        for _ in range(6):
            heart.sample()
        started = time.ticks_us()
        await heart._report()
        beats.append(time.ticks_diff(time.ticks_us(), started))
    beats.sort()
    found = {
        "switch": plain,
        "step": stepped - plain,
        "changed": changed,
        "collect": collect,
        "sample": sample - collect,
        "look": look,
        "beat": beats[BEATS // 2] - collect,
        "state": taken() - before,
    }
    print(json.dumps(found))


asyncio.run(main())
