# SPDX-License-Identifier: MIT
"""The board: with `facts`, the only module that imports machine, esp32 and network.

Everything else is handed one `Board` and stays free of hardware, so that it runs wherever Python
does. Facts on what the firmware really does are in docs/hardware.md.
"""

import gc
import io
import os
import sys
import time

import esp32
import machine
import network
import ntptime
from micropython import const

from agent.errors import StorageError

_NVS_NOT_FOUND = const(-4354)
_NVS_NOT_ENOUGH_SPACE = const(-4357)
_NVS_INVALID_LENGTH = const(-4364)

# Seconds from 1970 to the epoch of `time` here: 946684800 on the ESP32, 0 where time starts in
# 1970.
_EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0


class _Gone:
    """An NVS that cannot be opened: an empty one that takes nothing."""

    def __init__(self, e):
        self._e = e

    def get_i32(self, *args):
        raise OSError(_NVS_NOT_FOUND)

    get_blob = erase_key = get_i32

    def set_i32(self, *args):
        raise self._e

    set_blob = set_i32


class Namespace:
    """One NVS namespace; every write is committed. Where NVS cannot be opened a board still runs:
    what it needs to get to its broker has copies in files."""

    def __init__(self, name):
        try:
            self._nvs = esp32.NVS(name)
        except OSError as e:
            self._nvs = _Gone(e)

    def get(self, key, size):
        buffer = bytearray(size)
        try:
            length = self._nvs.get_blob(key, buffer)
        except OSError as e:
            return self._absent(e)
        return bytes(buffer[:length])

    def get_int(self, key):
        try:
            return self._nvs.get_i32(key)
        except OSError as e:
            return self._absent(e)

    def set(self, key, data):
        try:
            self._nvs.set_blob(key, data)
            self._nvs.commit()
        except OSError as e:
            raise self._error(e)

    def set_int(self, key, value):
        try:
            self._nvs.set_i32(key, value)
            self._nvs.commit()
        except OSError as e:
            raise self._error(e)

    def erase(self, key):
        try:
            self._nvs.erase_key(key)
            self._nvs.commit()
        except OSError as e:
            self._absent(e)

    def _absent(self, e):
        if e.args[0] != _NVS_NOT_FOUND:
            raise self._error(e)

    def _error(self, e):
        if e.args[0] == _NVS_NOT_ENOUGH_SPACE:
            return StorageError("nvs-full")
        if e.args[0] == _NVS_INVALID_LENGTH:
            return StorageError("nvs-size")
        return StorageError("nvs-error", str(e.args[0]))


class Board:
    def __init__(self):
        self.wlan = network.WLAN(network.STA_IF)
        self.rtc_memory = machine.RTC().memory
        self._watchdog = None
        self._last_ms = time.ticks_ms()
        self._uptime_s = self._rest_ms = 0
        self._namespaces = {}

    # --- time

    def ticks_ms(self):
        return time.ticks_ms()

    def ticks_us(self):
        return time.ticks_us()

    def ticks_diff(self, a, b):
        """From `b` to `a`, right while they are less than six days (in us, nine minutes) apart."""
        return time.ticks_diff(a, b)

    def ticks_add(self, a, ms):
        return time.ticks_add(a, ms)

    def uptime_s(self):
        """Seconds since the start; the supervisor calls it often enough for the tick not to
        wrap."""
        now = time.ticks_ms()
        self._rest_ms += time.ticks_diff(now, self._last_ms)
        self._last_ms = now
        self._uptime_s += self._rest_ms // 1000  # milliseconds would outgrow small integers
        self._rest_ms %= 1000
        return self._uptime_s

    def unix_time(self):
        return int(time.time()) + _EPOCH

    def set_unix_time(self, seconds):
        t = time.gmtime(seconds - _EPOCH)
        machine.RTC().datetime((t[0], t[1], t[2], t[6], t[3], t[4], t[5], 0))

    def network_time(self, host):
        """Unix seconds from an SNTP server; blocks for at most about a second and the DNS."""
        ntptime.host = host
        # ntptime counts from the epoch of the board that it was frozen into.
        return ntptime.time() + _EPOCH

    # --- memory, identity of the build

    def heap(self):
        """Bytes: free and allocated on the Python heap; the largest block and the least free that
        the system heap ever had, which TLS lives on."""
        largest = least = 0
        for region in esp32.idf_heap_info(esp32.HEAP_DATA):
            largest = max(largest, region[2])
            least += region[3]
        return {
            "free": gc.mem_free(),
            "used": gc.mem_alloc(),
            "largest": largest,
            "least": least,
        }

    def temperature_c(self):
        """Degrees Celsius of the chip, or None where it has no sensor that is worth reading."""
        read = getattr(esp32, "mcu_temperature", None)
        return read() if read else None

    def random(self, count):
        return os.urandom(count)

    def format_exception(self, e):
        text = io.StringIO()
        sys.print_exception(e, text)
        return text.getvalue()

    # --- storage

    def nvs(self, name):
        if name not in self._namespaces:
            self._namespaces[name] = Namespace(name)
        return self._namespaces[name]

    def storage(self):
        """Bytes: size and free of the file system; none of either where it cannot say. It follows
        the blocks of all files for that, and where one is spoilt it takes nothing either."""
        try:
            s = os.statvfs("/")
        except OSError:
            return {"size": 0, "free": 0}
        return {"size": s[0] * s[2], "free": s[0] * s[3]}

    # --- watchdog and reset

    def start_watchdog(self, timeout_s):
        """Starts the hardware watchdog: from now on only feeding it keeps the board running."""
        self._watchdog = machine.WDT(timeout=timeout_s * 1000)

    def feed_watchdog(self):
        if self._watchdog:
            self._watchdog.feed()

    def reset(self):
        machine.reset()
