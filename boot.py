# SPDX-License-Identifier: MIT
"""First file of the board, and the only code that is not A/B: keep it small.

In this order, each step able to fail without stopping the rest: hardware watchdog on; boot
counter and boot record; reset button, unless boots go on failing, which its pin may be the cause
of; choose a slot and verify every file of it; mount it. Nothing
is imported from a slot that is not verified. A slot is one
file, a pack (docs/updates.md), mounted as a file system of its own: littlefs would take 4 KB for
each of its files. State is in
NVS, namespace fl_state: "slot" (agent/update/slotword.py has its layout), "boots", "dev", "reset"
(a factory reset that the agent has to carry out), "button", "guard"; and in the boot record at the
end of RTC memory, whose layout and meaning are those of `BootRecord` in agent/supervisor.py.
"""

import binascii
import gc
import hashlib
import io
import json
import struct
import sys
import time

import esp32
import machine
import vfs

_WATCHDOG_MS = 60000
_SLOTS = ("factory", "a", "b")  # and then the others in this order
_APP = 2  # from this level on a reset goes back to the factory slot
_BLINK_MS = 100
_LAYOUT = "<HBBBBI16s"
_GOOD, _SAFE = 1, 2
_CRASH = 2  # how bad it is when the last boot crashed; a loss of power may be anybody's hand, so 1
_TOO_BAD = 6  # safe mode; twice as much, and it is tried from the factory slot
_TRIALS = 10  # boots of a slot that never came to be confirmed
_SURE = 15
_POWER = 2048


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


def _guard(state, trial):
    """Judges the last boot; how bad the last ones were. Flash is written after a loss of power
    alone, since RTC memory is gone then. On trial a slot is not given a safe mode."""
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
    flags = _SAFE if bad >= _TOO_BAD and not trial else 0
    if flags and safe < 255 and not before_flags & _GOOD:
        safe += 1
    kept = 0 if trial and bad >= _TOO_BAD else bad  # what is gone back to starts afresh
    if cause == machine.PWRON_RESET or not values:
        _write(state, "guard", kept | safe << 8)
    body = struct.pack(_LAYOUT, 0x4C47, 1, kept, safe, flags, uptime_s, task)
    if len(before) <= 2018:  # of 2048
        machine.RTC().memory(before + body + struct.pack("<I", binascii.crc32(body)))
    if flags:
        print("boot: safe mode")
    return bad


def _chosen(state, word, bad):
    """The slots to try, the most wanted first."""
    keep, trial, boots, firmware = word & 3, word >> 2 & 3, word >> 4 & 15, word >> 8 & 7
    running = esp32.Partition(esp32.Partition.RUNNING).info()[1] - 15 if firmware else 0
    if boots != _SURE and (bad >= _TOO_BAD or boots >= _TRIALS):
        print("boot: back to", _SLOTS[keep])
        power = machine.reset_cause() == machine.PWRON_RESET
        _write(state, "slot", keep | _POWER if power else keep)
        if firmware and firmware == running:  # this bootloader does not go back by itself
            esp32.Partition(esp32.Partition.RUNNING).get_next_update().set_boot()
            machine.reset()
    elif firmware == running:
        if boots != _SURE:
            _write(state, "slot", word + 16)
        if trial:
            return [trial % 3, keep]
    return [keep]


class _Pack:
    """A pack as a file system that can be read. `index` has a line for each file: its path, where
    it begins and its length."""

    def __init__(self, path, index):
        self._path = path
        self._index = index

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        pass

    def _find(self, path):
        """(start, length) of a file, or None."""
        name = b"\n" + path.strip("/").encode() + b" "
        at = self._index.find(name)
        if at < 0:
            return None
        at += len(name)
        line = self._index[at : self._index.find(b"\n", at)].split(b" ")
        return int(line[0]), int(line[1])

    def stat(self, path):
        found = self._find(path)
        if found:
            return (0x8000, 0, 0, 0, 0, 0, found[1], 0, 0, 0)
        name = path.strip("/").encode()
        if name and self._index.find(b"\n" + name + b"/") < 0:
            raise OSError(2)
        return (0x4000, 0, 0, 0, 0, 0, 0, 0, 0, 0)

    def open(self, path, mode):
        found = self._find(path)
        if not found:
            raise OSError(2)
        if mode[0] != "r" or "+" in mode:
            raise OSError(30)  # EROFS
        gc.collect()  # modules stay: they must not lie scattered among what the search leaves
        file = open(self._path, "rb")
        file.seek(found[0])
        if path.endswith(".mpy"):
            return file  # whoever loads it knows where it ends, and needs no copy of it
        data = file.read(found[1])
        file.close()
        return io.BytesIO(data) if "b" in mode else io.StringIO(data.decode())

    def ilistdir(self, path):
        folder = path.strip("/")
        folder = folder + "/" if folder else ""
        names = set()
        for line in self._index.decode().strip("\n").split("\n"):
            path, _, size = line.split(" ")
            name, deeper, _ = path[len(folder) :].partition("/")
            if path.startswith(folder) and name not in names:
                names.add(name)
                yield (name, 0x4000, 0, 0) if deeper else (name, 0x8000, 0, int(size))


def _index(path):
    """The index of a pack all of whose files are as its manifest says; else ValueError."""
    index = bytearray()
    with open(path, "rb") as file:
        head = file.read(12)
        magic, length, crc = struct.unpack("<4sII", head)
        if magic != b"FLPK" or length >> 20:  # what has no 31 bits `read` does not even take
            raise ValueError("head")
        manifest = file.read(length)
        if binascii.crc32(manifest) != crc:
            raise ValueError("manifest")
        at = 12 + length
        buffer = memoryview(bytearray(512))
        for name, size, wanted in json.loads(manifest)["files"]:
            digest = hashlib.sha256()
            left = size
            while left:
                count = file.readinto(buffer[: min(left, 512)])
                if not count:
                    break
                digest.update(buffer[:count])
                left -= count
            if left or binascii.hexlify(digest.digest()).decode() != wanted:
                raise ValueError(name)
            index += "\n{} {} {}".format(name, at, size).encode()
            at += size
        if not index or file.read(1):
            raise ValueError("length")
    return bytes(index + b"\n")


def _started(name):
    """Mounts the slot, if all of it is good."""
    path = "/slots/" + name + ".pack"
    try:
        pack = _Pack(path, _index(path))
    except (OSError, ValueError, KeyError, TypeError, MemoryError) as e:
        print("boot: damaged" if isinstance(e, ValueError) else "boot: no slot", name, repr(e))
        return False
    vfs.mount(pack, "/slot-" + name)
    sys.path.insert(0, "/slot-" + name)
    return True


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
    _write(state, "boots", _read(state, "boots") + 1)
    word = _read(state, "slot")
    bad = 0
    try:
        bad = _guard(state, word >> 2)
    except (OSError, ValueError, MemoryError) as e:
        print("boot: guard", repr(e))
    if bad < _TOO_BAD:
        _button(state)
    wanted = [word & 3]
    if _read(state, "reset") >= _APP or (bad >= 2 * _TOO_BAD and not word >> 2):
        wanted = []
    elif word >> 2:
        try:
            wanted = _chosen(state, word, bad)
        except (OSError, ValueError) as e:
            print("boot: trial", repr(e))
    for number in wanted + [each for each in (0, 1, 2) if each not in wanted]:
        if number < len(_SLOTS) and _started(_SLOTS[number]):
            return
    print("boot: no slot is good")


_start()
# The firmware runs this file in the prompt's own namespace, where its names would hold their heap.
for _name in (
    "_start",
    "_state",
    "_started",
    "_index",
    "_Pack",
    "_chosen",
    "_button",
    "_record",
    "_guard",
    "_write",
    "_read",
):
    del globals()[_name]
