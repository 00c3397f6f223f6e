# SPDX-License-Identifier: MIT
"""What the firmware does in one life: bootloader, file system, boot.py, main.py, prompt.

As in ports/esp32/main.c and the frozen _boot.py: a blank vfs partition is formatted, a corrupt
one ends in a message for ever; main.py runs unless boot.py raised; both share `__main__`; a
SystemExit is a soft reset.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from .console import Console
from .files import Volume
from .life import Life
from .littlefs import BLOCK, CorruptFileSystem, FileSystem
from .net import Net
from .sandbox import Sandbox
from .shim import chip_module

__all__ = ["Program", "Stage"]

# From the reset to the first line of boot.py.
BOOT_US = 300_000
_SOFT_RESET = 5
_DEFAULT_BOOT = b"# This file is executed on every boot (including wake-boot from deepsleep)\n"
_CORRUPT = (
    "The filesystem appears to be corrupted. If you had important data there, you may want to "
    "make a flash snapshot to try to recover it.\n"
)

Stage = Literal["bootloader", "boot.py", "main.py", "idle", "bricked"]


class Program:
    """Runs inside the fiber of a life; `stage` says how far it is."""

    def __init__(
        self,
        chip: Any,
        net: Net,
        console: Console,
        source: random.Random,
        cause: int,
        extra_paths: Sequence[Path],
    ) -> None:
        self.stage: Stage = "bootloader"
        self.exception: BaseException | None = None
        self.crash: BaseException | None = None
        self.sandbox: Sandbox | None = None
        self.command: bytes | None = None
        self.life = Life(net.clock, chip, self._live)
        chip.on_reset = self._on_reset
        chip.sleep_ms = self._sleep_ms
        chip.flash.spend = self.life.spend
        net.radio = self._radio
        self._chip = chip
        self._net = net
        self._console = console
        self._random = source
        self._cause = cause
        self._extra_paths = extra_paths

    # --- what the chip and the network ask

    def _on_reset(self, kind: int) -> None:
        self.life.finish("reset", kind)

    def _sleep_ms(self, ms: int) -> None:
        self.life.sleep_until(self.life.clock.now_us + ms * 1000)

    def _radio(self) -> bool:
        return not self.life.end and bool(self._chip.radio.connected())

    # --- the life

    def _live(self) -> None:
        """All of the life. Whatever is raised here and is not the end of it is our own mistake."""
        flash_module = chip_module("flash")
        chip_file = chip_module("chip")
        life = self.life
        try:
            self._firmware()
        except flash_module.PowerCut:
            life.die("power-cut")
        except chip_file.Reset as e:
            life.die("reset", e.kind)
        except chip_module("bootloader").Bricked:
            self.stage = "bricked"
        except BaseException as e:  # noqa: BLE001 - handed to the host, which raises it
            self.crash = e
        life.die("power-cut")
        self._chip.flash.dead = True
        self._console.muted = True
        self._net.board_gone()
        if self.sandbox is not None:
            self.sandbox.core.forget()

    def _firmware(self) -> None:
        self._chip.power_on(self._cause)
        self.life.spend(BOOT_US)
        try:
            volume = Volume(self._mount(), self.life.check)
        except CorruptFileSystem:
            self._console.write(_CORRUPT)
            self.life.pause("corrupt-filesystem")
            while True:
                self.life.sleep_until(self.life.clock.now_us + 3_000_000)
                self._console.write(_CORRUPT)
        self.sandbox = Sandbox(
            self.life,
            self._chip,
            self._net,
            volume,
            self._console,
            self._random,
            self._extra_paths,
        )
        self.stage = "boot.py"
        if self._run_file("boot.py"):
            self.stage = "main.py"
            self._run_file("main.py")
        self.stage = "idle"
        self._prompt(self.sandbox)

    def _mount(self) -> FileSystem | None:
        chip = self._chip
        vfs = chip_module("table").find(chip.table, "vfs")
        if vfs is None:
            return None
        try:
            return FileSystem(chip.flash, vfs[2], vfs[3])
        except CorruptFileSystem:
            # Its first block alone may be blank: a cut leaves it so, and the second is good.
            if chip.flash.read(vfs[2], BLOCK) != b"\xff" * BLOCK:
                raise
        fs = FileSystem.formatted(chip.flash, vfs[2], vfs[3])
        fs.write_file("/boot.py", _DEFAULT_BOOT)
        return fs

    def _run_file(self, name: str) -> bool:
        """Whether the next file is to be run."""
        assert self.sandbox is not None
        try:
            source = self.sandbox.volume.fs().read_file("/" + name)
        except OSError:
            return True
        return self._run(name, source)

    def _run(self, name: str, source: bytes) -> bool:
        assert self.sandbox is not None
        reset = chip_module("chip").Reset
        cut = chip_module("flash").PowerCut
        try:
            self.sandbox.run_source(name, source)
        except (reset, cut):
            raise
        except SystemExit:
            self._console.write("MPY: soft reboot\n")
            self.life.finish("reset", _SOFT_RESET)
        except BaseException as e:  # noqa: BLE001 - device code may raise anything
            self.exception = e
            self.life.check()
            self._console.write(self.sandbox.exception_text(e))
            return False
        self.life.check()
        return True

    def _prompt(self, sandbox: Sandbox) -> None:
        """The REPL, waiting; the watchdog runs on."""
        while True:
            try:
                if self.command is None:
                    self.life.idle()
                else:
                    self._run("<stdin>", self.command)
                    self.command = None
            except KeyboardInterrupt:
                self.command = None
                self._console.write("\n>>> ")
