# SPDX-License-Identifier: MIT
"""First file of the board, and the only code that is not A/B: keep it small.

In this order, each step able to fail without stopping the rest: hardware watchdog on; boot
counter; choose a slot and verify every file of it; sys.path. Nothing is imported from a slot that
is not verified. State is in NVS, namespace fl_state: "slot" (0 = a, 1 = b), "boots", "dev".
"""

import binascii
import hashlib
import json
import sys

import esp32
import machine

_WATCHDOG_MS = 60000
_SLOTS = ("/slots/a", "/slots/b")


def _read(state, key):
    try:
        return state.get_i32(key)
    except (OSError, AttributeError):  # not there yet, or no NVS: the default is always safe
        return 0


def _count_boot(state):
    try:
        state.set_i32("boots", _read(state, "boots") + 1)
        state.commit()
    except (OSError, OverflowError, AttributeError) as e:
        print("boot: counter", repr(e))


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
    _count_boot(state)
    chosen = _read(state, "slot") & 1
    for slot in (_SLOTS[chosen], _SLOTS[1 - chosen]):
        if _good(slot):
            sys.path.insert(0, slot)
            return
    print("boot: no slot is good. Install again: fleetling flash")


_start()
# The firmware runs this file in the prompt's own namespace, where its names would hold their heap.
for _name in ("_start", "_state", "_good", "_hash", "_count_boot", "_read"):
    del globals()[_name]
