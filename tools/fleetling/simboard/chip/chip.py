# SPDX-License-Identifier: MIT
"""The whole chip: flash, boot, NVS, real-time clock, watchdog, pins and radio in one object.

Invariants:
- nothing here reads a clock of the host: `ticks_ms` (never wraps, never goes back) and
  `true_unix` (what an NTP server would say) are handed in, so virtual and real time are one code;
- the real-time clock starts at 2000-01-01 at power-on and, like the RTC memory, survives every
  other reset; the watchdog survives a soft reset only;
- a life ends by `Reset` or `PowerCut`, both SystemExit; whoever runs the board catches it, calls
  `power_on(cause)` for the next, and polls `wdt_expired()` to end one that hangs (WDT_RESET).
"""

import struct

from micropython import const

from . import bootloader, esp, esp32, machine, network, ntptime, table
from .air import Air, Radio
from .nvs import Nvs

# machine.reset_cause() and its constants.
PWRON_RESET = const(1)
HARD_RESET = const(2)
WDT_RESET = const(3)
DEEPSLEEP_RESET = const(4)
SOFT_RESET = const(5)

RTC_MEMORY = const(2048)
_KEPT = "<4sqH"

# What the official builds say of themselves.
MACHINE = "Generic ESP32 module with OTA with ESP32"
BUILD = "ESP32_GENERIC-OTA"
MPY = const(11014)
RELEASES = {"1.25.0": "2025-04-15", "1.24.1": "2024-11-29"}


class Reset(SystemExit):
    """The program asked for a reset; `kind` is the cause that the next life will see."""

    def __init__(self, kind):
        super().__init__(kind)
        self.kind = kind


class Chip:
    """`rollback` says whether the bootloader was built with app rollback; `family` is "ESP32" or
    a newer one ("ESP32-S3"), which has another temperature sensor. Tests may set any attribute
    that says so below, at any time."""

    def __init__(
        self, flash, ticks_ms, true_unix, seed=0, air=None, rollback=True, family="ESP32"
    ):
        self.flash = flash
        self.ticks_ms = ticks_ms
        self.true_unix = true_unix
        self.seed = seed
        self.air = air or Air()
        self.rollback = rollback
        self.family = family
        self.unique_id = b"\x24\x0a\xc4" + struct.pack(">I", seed)[1:]
        # Set by tests: levels of pins (number -> 0 or 1), what is measured at them (number ->
        # volts), die temperature, heap of the IDF, and bytes of the Python heap that something
        # holds until the next reset.
        self.heap_held = 0
        self.pins = {}
        self.volts = {}
        self.temperature_c = 45.0
        self.idf_heap = [
            (7288, 0, 0, 0),
            (16648, 4, 0, 4),
            (79912, 35712, 35512, 35108),
            (15072, 15036, 15036, 15036),
            (113840, 111664, 110592, 108356),
        ]
        self.cpu_hz = 160000000
        self.micropython = "1.25.0"  # one of RELEASES; from the next life on
        self.machine = MACHINE
        self.hostname = "mpy-esp32"
        self.country = "XX"
        self.radio = Radio(self.air, ticks_ms)
        self.rtc_memory = bytearray(RTC_MEMORY)
        self.rtc_memory_length = 0
        self._rtc_zero_ms = 0
        self.wdt_timeout_ms = 0
        self.wdt_deadline_ms = None
        self.wake_at_ms = None
        self.reset_cause = PWRON_RESET
        self.table = None
        self.running = None
        self.nvs = None
        self._modules = None

    def power_on(self, cause=PWRON_RESET):
        """Begins a life. May itself end by PowerCut: the bootloader and NVS write.

        Raises bootloader.Bricked when no slot holds a bootable image.
        """
        self.flash.revive()
        self._modules = None
        self.reset_cause = cause
        self.wake_at_ms = None
        self.cpu_hz = 160000000
        if cause == SOFT_RESET:
            # The interpreter starts again within the boot: slot, NVS, watchdog, Wi-Fi stay.
            return
        self.wdt_deadline_ms = None
        self.heap_held = 0
        self.radio = Radio(self.air, self.ticks_ms)
        if cause == PWRON_RESET:
            self.rtc_memory_length = 0
            self._rtc_zero_ms = -self.ticks_ms()
        self.read_table()
        thorough = cause != DEEPSLEEP_RESET
        self.running = bootloader.select(
            self.flash, self.table, self.rollback, thorough, self.family
        )
        self.open_nvs()

    def uname(self):
        """What os.uname() has, for those who build a runtime around this chip."""
        release = self.micropython
        said = "v{} on {}".format(release, RELEASES[release])
        return "esp32", "esp32", release, said, self.machine

    def implementation(self):
        """What sys.implementation has, by name; `_build` came with 1.25."""
        version = tuple([int(part) for part in self.micropython.split(".")])
        found = {
            "name": "micropython",
            "version": version + ("",),
            "_machine": self.machine,
            "_mpy": MPY,
        }
        if version >= (1, 25):
            found["_build"] = BUILD
        return found

    def read_table(self):
        self.table = table.parse(self.flash)
        # littlefs reads back what it wrote; NVS writes on over what a cut left undetected.
        tolerant = [e for e in self.table if e[4] == "vfs" or e[:2] == (1, table.SUBTYPE_NVS)]
        self.flash.and_ranges = [(e[2], e[2] + e[3]) for e in tolerant]

    def open_nvs(self):
        region = table.first(self.table, table.TYPE_DATA, table.SUBTYPE_NVS)
        try:
            self.nvs = Nvs(self.flash, region[2], region[3]) if region else None
        except OSError:
            # The firmware boots without it, and every esp32.NVS() then fails.
            self.nvs = None

    def modules(self):
        """Name -> module-like object, to be put into sys.modules of the board's program."""
        if self._modules is None:
            self._modules = {
                "machine": machine.make(self),
                "esp32": esp32.make(self),
                "esp": esp.make(self),
                "network": network.make(self),
                "ntptime": ntptime.make(self),
            }
        return self._modules

    # The end of a life. Replaceable: a process ends itself instead of raising.

    def on_reset(self, kind):
        raise Reset(kind)

    def sleep_ms(self, ms):
        """Lets time pass in a call that blocks. Replaceable; here time stands still."""

    # The real-time clock, in seconds or milliseconds since 2000-01-01 as the board believes.

    def now_2000(self):
        return self.now_2000_ms() // 1000

    def now_2000_ms(self):
        return self._rtc_zero_ms + self.ticks_ms()

    def set_now_2000(self, seconds, ms=0):
        self._rtc_zero_ms = seconds * 1000 + ms - self.ticks_ms()

    # What a process has to keep outside of itself when it is restarted for a reset.

    def save_rtc(self):
        head = struct.pack(_KEPT, b"RTC1", self._rtc_zero_ms, self.rtc_memory_length)
        return head + bytes(self.rtc_memory[: self.rtc_memory_length])

    def load_rtc(self, saved):
        """Before power_on, with a `ticks_ms` that ran on meanwhile."""
        magic, self._rtc_zero_ms, length = struct.unpack_from(_KEPT, saved)
        if magic != b"RTC1":
            raise ValueError("not an RTC state")
        self.rtc_memory_length = length
        head = struct.calcsize(_KEPT)
        self.rtc_memory[:length] = saved[head : head + length]

    # The watchdog: the deadline is here, whoever runs the board enforces it.

    def wdt_start(self, timeout_ms):
        self.wdt_timeout_ms = timeout_ms
        self.wdt_fed()

    def wdt_fed(self):
        self.wdt_deadline_ms = self.ticks_ms() + self.wdt_timeout_ms

    def wdt_expired(self):
        return self.wdt_deadline_ms is not None and self.ticks_ms() >= self.wdt_deadline_ms
