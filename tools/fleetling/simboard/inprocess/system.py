# SPDX-License-Identifier: MIT
"""The board's `time`, `gc` and `micropython`, and how it prints an exception."""

from __future__ import annotations

import calendar
import time as host_time
from collections.abc import Callable
from types import ModuleType, TracebackType

from .errors import error_text
from .life import Life
from .shim import micropython_shim

__all__ = ["UNIX_2000", "exception_text", "make_gc", "make_micropython", "make_time"]

UNIX_2000 = 946684800
_TICKS_PERIOD = 1 << 30
# At the prompt of the official firmware (docs/hardware.md).
HEAP_BYTES = 176_000
HEAP_USED = 12_000


def make_time(life: Life, now_2000_ms: Callable[[], int]) -> ModuleType:
    """Epoch 2000, ticks that wrap at 2**30 and start at zero with each life."""
    clock = life.clock

    def ticks_us() -> int:
        life.check()
        return (clock.now_us - life.born_us) % _TICKS_PERIOD

    def ticks_ms() -> int:
        life.check()
        return (clock.now_us - life.born_us) // 1000 % _TICKS_PERIOD

    def ticks_add(ticks: int, delta: int) -> int:
        if abs(delta) >= _TICKS_PERIOD // 2:
            raise OverflowError("ticks interval overflow")
        return (ticks + delta) % _TICKS_PERIOD

    def ticks_diff(end: int, start: int) -> int:
        half = _TICKS_PERIOD // 2
        return (end - start + half) % _TICKS_PERIOD - half

    def sleep_us(us: float) -> None:
        life.sleep_until(clock.now_us + max(0, round(us)))

    def sleep_ms(ms: float) -> None:
        sleep_us(ms * 1000)

    def sleep(seconds: float) -> None:
        sleep_us(seconds * 1e6)

    def time() -> int:
        life.check()
        return now_2000_ms() // 1000

    def time_ns() -> int:
        life.check()
        return now_2000_ms() * 1_000_000

    def gmtime(seconds: int | None = None) -> tuple[int, ...]:
        wanted = int(time() if seconds is None else seconds)
        if not -(1 << 31) <= wanted < 1 << 31:
            raise OverflowError("overflow converting long int to machine word")
        t = host_time.gmtime(UNIX_2000 + wanted)
        return (*t[:6], t.tm_wday, t.tm_yday)

    def mktime(t: tuple[int, ...]) -> int:
        return calendar.timegm((*t[:6], 0, 0, 0)) - UNIX_2000

    module = ModuleType("time")
    module.__dict__.update(
        gmtime=gmtime,
        localtime=gmtime,
        mktime=mktime,
        sleep=sleep,
        sleep_ms=sleep_ms,
        sleep_us=sleep_us,
        ticks_add=ticks_add,
        ticks_cpu=ticks_us,
        ticks_diff=ticks_diff,
        ticks_ms=ticks_ms,
        ticks_us=ticks_us,
        time=time,
        time_ns=time_ns,
    )
    return module


def make_gc(loaded_bytes: Callable[[], int], held: Callable[[], int]) -> ModuleType:
    """Plausible figures, not measurements: the idle heap, less what modules from files take, and
    what a test says is `held`. `loaded_bytes()` is the length of their source; about two thirds of
    it ends up in the heap."""

    def mem_alloc() -> int:
        return HEAP_USED + loaded_bytes() * 2 // 3 + held()

    module = ModuleType("gc")
    module.__dict__.update(
        collect=lambda: 0,
        disable=lambda: None,
        enable=lambda: None,
        isenabled=lambda: True,
        mem_alloc=mem_alloc,
        mem_free=lambda: max(0, HEAP_BYTES - mem_alloc()),
        threshold=lambda amount=None: -1 if amount is None else None,
    )
    return module


def make_micropython() -> ModuleType:
    shim = micropython_shim()
    module = ModuleType("micropython")
    for name in vars(shim):
        if not name.startswith("_"):
            setattr(module, name, getattr(shim, name))
    module.__dict__.setdefault("alloc_emergency_exception_buf", lambda size: None)
    module.__dict__.setdefault("mem_info", lambda verbose=None: None)
    module.__dict__.setdefault("schedule", lambda function, argument: function(argument))
    return module


def exception_text(error: BaseException, is_device: Callable[[TracebackType], bool]) -> str:
    """What sys.print_exception prints: the frames of device code, and the error as there."""
    lines = ["Traceback (most recent call last):"]
    at: TracebackType | None = error.__traceback__
    while at is not None:
        if is_device(at):
            code = at.tb_frame.f_code
            lines.append(f'  File "{code.co_filename}", line {at.tb_lineno}, in {code.co_name}')
        at = at.tb_next
    name = "OSError" if isinstance(error, OSError) else type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        name = "ImportError"
    lines.append(f"{name}: {error_text(error)}")
    return "\n".join(lines) + "\n"
