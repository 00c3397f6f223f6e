# SPDX-License-Identifier: MIT
"""First file of the board, and the only code that is not A/B: keep it small.

In this order, each step able to fail without stopping the rest: hardware watchdog on; reset
button; boot counter and boot record; choose a slot and verify every file of it; sys.path. Nothing
is imported from a slot that is not verified. State is in NVS, namespace fl_state: "slot"
(0 = factory, 1 = a, 2 = b), "boots", "dev", "reset" (a factory reset that the agent has to carry
out), "button", "guard"; and in the boot record at the end of RTC memory, whose layout and meaning
are those of agent/monitor/bootrecord.py.
"""

import binascii
import hashlib
import json
import struct
import sys
import time

import esp32
import machine

_WATCHDOG_MS = 60000
_SLOTS = ("/slots/factory", "/slots/a", "/slots/b")  # and then the others in this order
_APP = 2  # from this level on a reset goes back to the factory slot
_BLINK_MS = 100
_LAYOUT = "<HBBBBI16s"
_GOOD, _SAFE = 1, 2
_CRASH = 2  # how bad it is when the last boot crashed; a loss of power may be anybody's hand, so 1
_TOO_BAD = 6  # safe mode; twice as much, and it is tried from the factory slot


def _read(state, key):
    try:
        return state.get_i32(key)
    except (OSError, AttributeError):  # not there yet, or no NVS: the default is always safe
        return 0


def _write(state, key, value):
    try:
        state.set_i32(key, value)
        state.commit()
    except (OSError, OverflowError, AttributeError) as e:
        print("boot:", key, repr(e))


def _button(state):
    """A button held long enough asks for a reset. "button" is, from its lowest bit: pin + 1, hold
    in seconds, LED's pin + 1 (6 bits each, 0 is none), level (2 bits)."""
    packed = _read(state, "button")
    if packed <= 0 or not packed & 63:
        return
    try:
        button = machine.Pin((packed & 63) - 1, machine.Pin.IN, machine.Pin.PULL_UP)
        led = packed >> 12 & 63
        led = machine.Pin(led - 1, machine.Pin.OUT) if led else None
    except ValueError as e:
        print("boot: button", repr(e))
        return
    left_ms = (packed >> 6 & 63) * 1000
    while left_ms > 0 and not button.value():
        if led:
            led.value(left_ms // _BLINK_MS & 1)
        time.sleep_ms(_BLINK_MS)
        left_ms -= _BLINK_MS
    if led:
        led.value(0)
    if left_ms <= 0 and not button.value():
        print("boot: factory reset by button")
        _write(state, "reset", packed >> 18 & 3)


def _record():
    """(what stands before the record in RTC memory, its values or None)."""
    data = machine.RTC().memory()
    body, crc = data[-30:-4], data[-4:]
    if len(body) == 26 and struct.pack("<I", binascii.crc32(body)) == crc:
        values = struct.unpack(_LAYOUT, body)
        if values[:2] == (0x4C47, 1):
            return data[:-30], values[2:]
    return data, None


def _guard(state):
    """Judges the last boot; how bad the last ones were. Flash is written after a loss of power
    alone, since RTC memory is gone then."""
    before, values = _record()
    cause = machine.reset_cause()
    safe = before_flags = uptime_s = 0
    task = b""
    if values and cause != machine.PWRON_RESET:
        bad, safe, before_flags, uptime_s, task = values
        if not before_flags & _GOOD and cause not in (machine.DEEPSLEEP_RESET, machine.SOFT_RESET):
            bad += _CRASH
    else:
        packed = _read(state, "guard")
        bad, safe = (packed & 255) + 1, packed >> 8 & 255
    bad = min(bad, 255)
    flags = _SAFE if bad >= _TOO_BAD else 0
    if flags and safe < 255 and not before_flags & _GOOD:
        safe += 1
    if cause == machine.PWRON_RESET or not values:
        _write(state, "guard", bad | safe << 8)
    body = struct.pack(_LAYOUT, 0x4C47, 1, bad, safe, flags, uptime_s, task)
    if len(before) <= 2018:  # of 2048
        machine.RTC().memory(before + body + struct.pack("<I", binascii.crc32(body)))
    if flags:
        print("boot: safe mode")
    return bad


def _hash(path):
    digest = hashlib.sha256()
    buffer = bytearray(512)
    size = 0
    with open(path, "rb") as file:
        while True:
            count = file.readinto(buffer)
            if not count:
                return size, binascii.hexlify(digest.digest()).decode()
            size += count
            digest.update(memoryview(buffer)[:count])


def _good(slot):
    """Whether all files of the slot's manifest are there, byte for byte."""
    try:
        with open(slot + "/manifest.json") as file:
            files = json.load(file)["files"]
        for path, size, digest in files:
            if _hash(slot + "/" + path) != (size, digest):
                print("boot: damaged", slot, path)
                return False
        return bool(files)
    except (OSError, ValueError, KeyError, TypeError) as e:
        print("boot: no slot", slot, repr(e))
        return False


def _state():
    try:
        return esp32.NVS("fl_state")
    except OSError as e:
        print("boot: NVS", repr(e))
        return None


def _start():
    state = _state()
    if _read(state, "dev") != 1:
        machine.WDT(timeout=_WATCHDOG_MS)
    _button(state)
    _write(state, "boots", _read(state, "boots") + 1)
    bad = 0
    try:
        bad = _guard(state)
    except (OSError, ValueError, MemoryError) as e:
        print("boot: guard", repr(e))
    chosen = _read(state, "slot")
    if bad >= 2 * _TOO_BAD or _read(state, "reset") >= _APP:
        chosen = 0
    chosen = _SLOTS[chosen if 0 <= chosen < len(_SLOTS) else 0]
    for slot in [chosen] + [other for other in _SLOTS if other != chosen]:
        if _good(slot):
            sys.path.insert(0, slot)
            return
    print("boot: no slot is good. Install again: fleetling flash")


_start()
# The firmware runs this file in the prompt's own namespace, where its names would hold their heap.
for _name in (
    "_start",
    "_state",
    "_good",
    "_hash",
    "_button",
    "_record",
    "_guard",
    "_write",
    "_read",
):
    del globals()[_name]
