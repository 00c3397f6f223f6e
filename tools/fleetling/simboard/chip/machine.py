# SPDX-License-Identifier: MIT
"""The `machine` module of MicroPython: watchdog, resets, sleep, clock, RTC memory, pins, ADC."""

from micropython import const

from . import calendar
from .module import Module

_PWRON, _HARD, _WDT, _DEEPSLEEP, _SOFT = 1, 2, 3, 4, 5
_RTC_MEMORY = const(2048)
_TIMER_WAKE = const(4)
_FREQUENCIES = (20000000, 40000000, 80000000, 160000000, 240000000)
# The GPIOs of the ESP32; 34 and above are inputs only. Flash is on 6 to 11; the firmware keeps
# nobody from taking them.
_FLASH_PINS = (6, 7, 8, 9, 10, 11)
_PINS = tuple(range(24)) + (25, 26, 27) + tuple(range(32, 40))
_INPUT_ONLY = const(34)
_ADC_PINS = (32, 33, 34, 35, 36, 37, 38, 39, 0, 2, 4, 12, 13, 14, 15, 25, 26, 27)
# What 4095 stands for at each attenuation, in millivolts (ESP-IDF's guide to the ADC driver).
_FULL_MV = (1100, 1500, 2200, 3900)


def make(chip):
    def deepsleep(time_ms=None):
        chip.wake_at_ms = None if time_ms is None else chip.ticks_ms() + time_ms
        chip.on_reset(_DEEPSLEEP)

    def lightsleep(time_ms=None):
        chip.sleep_ms(0 if time_ms is None else time_ms)

    def freq(hz=None):
        if hz is None:
            return chip.cpu_hz
        if hz not in _FREQUENCIES:
            raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
        chip.cpu_hz = hz
        return None

    class BoundWDT(WDT):
        _chip = chip

    class BoundRTC(RTC):
        _chip = chip

    class BoundPin(Pin):
        _chip = chip

    class BoundADC(ADC):
        _chip = chip

    module = Module("machine")
    module.PWRON_RESET = _PWRON
    module.HARD_RESET = _HARD
    module.WDT_RESET = _WDT
    module.DEEPSLEEP_RESET = _DEEPSLEEP
    module.SOFT_RESET = _SOFT
    module.TIMER_WAKE = _TIMER_WAKE
    module.WDT = BoundWDT
    module.RTC = BoundRTC
    module.Pin = BoundPin
    module.ADC = BoundADC
    module.reset = lambda: chip.on_reset(_HARD)
    module.soft_reset = lambda: chip.on_reset(_SOFT)
    module.reset_cause = lambda: chip.reset_cause
    module.wake_reason = lambda: _TIMER_WAKE if chip.reset_cause == _DEEPSLEEP else 0
    module.unique_id = lambda: chip.unique_id
    module.idle = lambda: None
    module.deepsleep = deepsleep
    module.lightsleep = lightsleep
    module.freq = freq
    return module


class WDT:
    """The task watchdog: starts at once, cannot be stopped; a second one sets a new timeout."""

    _chip = None

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError()
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        self._chip.wdt_start(timeout)

    def feed(self):
        self._chip.wdt_fed()


class RTC:
    """`datetime` is (year, month, day, weekday, hours, minutes, seconds, microseconds)."""

    _chip = None

    def datetime(self, value=None):
        if value is None:
            now = self._chip.now_2000_ms()
            parts = calendar.from_seconds(now // 1000)
            return parts[:3] + (parts[6],) + parts[3:6] + (now % 1000 * 1000,)
        year, month, day, _, hours, minutes, seconds, micros = value
        seconds += calendar.to_seconds(year, month, day, hours, minutes)
        self._chip.set_now_2000(seconds, micros // 1000)
        return None

    init = datetime

    def memory(self, data=None):
        chip = self._chip
        if data is None:
            return bytes(chip.rtc_memory[: chip.rtc_memory_length])
        if len(data) > _RTC_MEMORY:
            raise ValueError("buffer too long")
        chip.rtc_memory[: len(data)] = data
        chip.rtc_memory_length = len(data)
        return None


class Pin:
    """Levels are in `chip.pins`: a test presses a button by writing there."""

    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2
    _chip = None

    def __init__(self, id, mode=-1, pull=-1, value=None):
        if id not in _PINS:
            raise ValueError("invalid pin")
        if id in _FLASH_PINS and mode != -1 and self._chip.family == "ESP32":
            self._chip.on_reset(_WDT)  # no instruction is read any more
        self._id = id
        self._pull = None
        self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=-1, value=None):
        if mode in (self.OUT, self.OPEN_DRAIN) and self._id >= _INPUT_ONLY:
            raise ValueError("pin can only be input")
        if pull != -1:
            self._pull = pull
        if value is not None:
            self.value(value)

    def value(self, level=None):
        pins = self._chip.pins
        if level is None:
            return pins.get(self._id, 1 if self._pull == self.PULL_UP else 0)
        pins[self._id] = 1 if level else 0
        return None

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)


class ADC:
    """What is measured is in `chip.volts` (pin -> volts): a test turns a knob by writing there."""

    ATTN_0DB = 0
    ATTN_2_5DB = 1
    ATTN_6DB = 2
    ATTN_11DB = 3
    _chip = None

    def __init__(self, pin, atten=0):
        self._id = getattr(pin, "_id", pin)
        if self._id not in _ADC_PINS:
            raise ValueError("invalid pin")
        self.init(atten=atten)

    def init(self, atten=0):
        self.atten(atten)

    def atten(self, atten):
        if not 0 <= atten < len(_FULL_MV):
            raise ValueError("invalid atten")
        self._full_mv = _FULL_MV[atten]

    def read(self):
        millivolts = int(self._chip.volts.get(self._id, 0) * 1000)
        return max(0, min(4095, millivolts * 4095 // self._full_mv))

    def read_u16(self):
        raw = self.read()
        return raw << 4 | raw >> 8

    def read_uv(self):
        return self.read() * self._full_mv * 1000 // 4095
