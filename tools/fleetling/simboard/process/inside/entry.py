# SPDX-License-Identifier: MIT
"""One life of a board, run by the MicroPython interpreter. The host's `board.py` starts it:

    micropython -X heapsize=N entry.py FOLDER CAUSE CONTROL

FOLDER holds flash.bin, rtc.bin, air.json and options.json; CAUSE is the reset cause; CONTROL is
the file descriptor on which the board tells its host what only a host can do: "w MS" starts the
watchdog, "f" feeds it, "r CAUSE" asks for a reset, "s MS" for a deep sleep. It then waits to be
ended, so that no program can go on after its reset.
"""

import gc
import json
import os
import sys
import time

FOLDER = sys.argv[1]
sys.path[0] = sys.path[0].rsplit("/", 2)[0]

from chip import chip as chips  # noqa: E402 - the path comes first
from chip.flash import FileStore, Flash, PowerCut  # noqa: E402
from process.inside import repl, world  # noqa: E402

_FLASH_SIZE = 0x400000
_SINCE_MS = 1577836800000  # 2020; a clock that runs on between lives, and stays a small integer


class Control:
    """The line to the host."""

    def __init__(self, descriptor):
        self._out = open(descriptor, "wb")

    def say(self, text):
        self._out.write(text.encode() + b"\n")

    def end(self, text):
        self.say(text)
        while True:
            time.sleep(1)


class ProcessChip(chips.Chip):
    """A chip whose lives are processes: what outlives a reset goes into a file at once."""

    def __init__(self, flash, control, options, rtc):
        self._rtc = rtc
        self._control = control
        self._length = 0
        self._made = False
        offset_s = options.get("clock_offset_s", 0)
        chips.Chip.__init__(
            self,
            flash,
            lambda: time.time_ns() // 1000000 - _SINCE_MS,
            lambda: int(time.time()) + offset_s,
            seed=options.get("seed", 0),
            rollback=options.get("rollback", True),
        )
        self.tls_heap = options.get("tls_heap", 0)
        self._made = True

    @property
    def rtc_memory_length(self):
        return self._length

    @rtc_memory_length.setter
    def rtc_memory_length(self, length):
        self._length = length
        self._keep()

    def set_now_2000(self, seconds, ms=0):
        chips.Chip.set_now_2000(self, seconds, ms)
        self._keep()

    def _keep(self):
        if not self._made:
            return
        self._rtc.seek(0)
        self._rtc.write(self.save_rtc())

    def wdt_start(self, timeout_ms):
        chips.Chip.wdt_start(self, timeout_ms)
        self._control.say("w {}".format(timeout_ms))

    def wdt_fed(self):
        chips.Chip.wdt_fed(self)
        self._control.say("f")

    def on_reset(self, kind):
        self._control.end("r {}".format(kind))

    def sleep_ms(self, ms):
        time.sleep_ms(ms)


def _load(name, default):
    try:
        with open(FOLDER + "/" + name) as file:
            return json.load(file)
    except (OSError, ValueError):
        return default


def _make(control, cause):
    options = _load("options.json", {})
    size = max(_FLASH_SIZE, os.stat(FOLDER + "/flash.bin")[6])
    flash = Flash(FileStore(FOLDER + "/flash.bin", size), size)
    try:
        rtc = open(FOLDER + "/rtc.bin", "r+b")
        saved = rtc.read()
    except OSError:
        rtc = open(FOLDER + "/rtc.bin", "w+b")
        saved = b""
    made = ProcessChip(flash, control, options, rtc)
    made.micropython = options.get("micropython", made.micropython)
    if saved and cause != chips.PWRON_RESET:
        made.load_rtc(saved)
    cut = _load("fault.json", None)
    if cut:
        world.plan_cut(flash, cut)
    made.power_on(cause)
    if cause == chips.SOFT_RESET:
        # Another process, but the same boot: no bootloader ran in between.
        made.read_table()
        made.running = _load("running.json", "")
        made.open_nvs()
    else:
        with open(FOLDER + "/running.json", "w") as file:
            json.dump(made.running, file)
    world.keep_air(made, FOLDER + "/air.json")
    return made


def _run(path, names):
    """Runs a file as the firmware does: what it raises is printed, and the boot goes on."""
    try:
        try:
            with open(path) as file:
                source = file.read()
        except OSError:
            return True
        exec(compile(source, path, "exec"), names)
        return True
    except KeyboardInterrupt:
        print("KeyboardInterrupt:")
    except PowerCut:
        raise
    except SystemExit:
        return True
    except BaseException as e:  # noqa: BLE001 - as the firmware does
        sys.print_exception(e)
    return False


def _start(board, names, files, raw):
    """Runs the files, then the prompt; a Ctrl-C between them ends the files alone."""
    while True:
        try:
            while files:
                if not _run(files.pop(0), names):
                    files.clear()
            repl.run(board, names, raw)
        except KeyboardInterrupt:
            files.clear()


def main():
    control = Control(int(sys.argv[3]))
    cause = int(sys.argv[2])
    try:
        board = _make(control, cause)
        world.inject(board)
        world.mount(board)
        names = {"__name__": "__main__"}
        gc.collect()
        control.say("m {}".format(gc.mem_free()))
        raw = "raw" in sys.argv[4:]
        _start(board, names, ["/boot.py"] if raw else ["/boot.py", "/main.py"], raw)
    except PowerCut:
        control.end("p")


os.chdir("/")
main()
