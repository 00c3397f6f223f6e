# SPDX-License-Identifier: MIT
"""What tests in this folder share. Runs on MicroPython and CPython."""

from agent import bootcause
from agent.log import Log
from agent.supervisor import BootRecord, Supervisor


def raises(kind, call, *args):
    """Calls `call(*args)` and returns the exception of class `kind` that it must raise."""
    try:
        call(*args)
    except kind as e:
        return e
    raise AssertionError("{} not raised".format(kind.__name__))


async def raises_async(kind, awaitable):
    """Awaits, and returns the exception of class `kind` that it must raise."""
    try:
        await awaitable
    except kind as e:
        return e
    raise AssertionError("{} not raised".format(kind.__name__))


counted = []  # what `tried` was told, for whoever runs the tests


def tried(count):
    """Tells how many cases or cut points the test has tried; docs/faults.md shows it."""
    counted.append(count)


class Ended(Exception):
    """The board was reset: the life is over."""


class FakeNvs:
    """A namespace of NVS in memory."""

    def __init__(self):
        self.values = {}
        self.writes = 0
        self.error = None  # what the next write raises

    def get(self, key, size=4096):
        return self.values.get(key)

    get_int = get

    def set(self, key, value):
        if self.error:
            raise self.error
        self.writes += 1
        self.values[key] = value

    set_int = set

    def erase(self, key):
        self.values.pop(key, None)


class FakeBoard:
    """The part of `agent.board.Board` that pure wings ask for; time moves when a test says so."""

    def __init__(self):
        self.ms = 0
        self.unix = 0
        self.cause = "power-on"
        self.fed = 0
        self.namespaces = {}
        self.server_time = None  # what SNTP answers, or an exception
        self.rtc = b""

    def ticks_ms(self):
        return self.ms

    def ticks_us(self):
        return self.ms * 1000

    def rtc_memory(self, data=None):
        if data is not None:
            self.rtc = bytes(data)
        return self.rtc

    def ticks_diff(self, a, b):
        return a - b

    def ticks_add(self, a, ms):
        return a + ms

    def uptime_s(self):
        return self.ms // 1000

    def unix_time(self):
        return self.unix

    def set_unix_time(self, seconds):
        self.unix = seconds

    def network_time(self, host):
        if isinstance(self.server_time, Exception):
            raise self.server_time
        return self.server_time

    def nvs(self, name):
        if name not in self.namespaces:
            self.namespaces[name] = FakeNvs()
        return self.namespaces[name]

    def random(self, count):
        return bytes(count)

    def feed_watchdog(self):
        self.fed += 1

    def format_exception(self, e):
        return repr(e)

    def reset(self):
        raise Ended()


def supervisor_of(board, lines=None):
    """A supervisor, as `boot.py` and `wiring` make it: each one is another life."""
    log = quiet_log([] if lines is None else lines)
    state = board.nvs("fl_state")
    state.values["boots"] = (state.get_int("boots") or 0) + 1
    record = BootRecord(board.rtc_memory)
    boot = bootcause.read(board.cause, log, state, record)
    return Supervisor(board, log, state, boot, record)


def quiet_log(lines):
    """A log that writes into the list `lines`."""
    return Log(lambda: 0, lines.append)
