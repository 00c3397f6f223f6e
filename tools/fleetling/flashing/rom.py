# SPDX-License-Identifier: MIT
"""The chip's own loader, through esptool's public API. Only this and efuse.py import esptool.

Everything that esptool says goes to `logging`, and its progress to whoever watches, by thread, so
that several boards are flashed at once.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from serial import SerialException

from fleetling.errors import FleetlingError
from fleetling.flashing.board import Chip, NoBoard, Watch

try:
    import esptool
    from esptool.cmds import detect_flash_size
    from esptool.logger import TemplateLogger
    from esptool.logger import log as esptool_log
    from esptool.util import FatalError, flash_size_bytes
except ImportError as e:
    raise FleetlingError(
        "Flashing needs esptool, which is not installed",
        "pip install 'fleetling[flash]'. It is GPL-2.0-or-later, therefore an extra.",
    ) from e

__all__ = ["Rom", "connect"]

ROM_BAUD = 115200
PORT = "Is it the right port, free, and yours to use? `fleetling ports` lists them."
BOARD = (
    "Is the board powered, on a cable that carries data? If it does not go into its loader by "
    "itself, hold BOOT, press and release RESET, then let go of BOOT."
)
log = logging.getLogger("fleetling.flash")
_here = threading.local()
_MARKUP = re.compile(r"\[/?[a-z ]+\]")


class _Listener(TemplateLogger):  # type: ignore[misc]  # esptool has no types
    """esptool's logger: words to `logging`, progress to the thread's own watcher.

    It has no state, since esptool 5.0 takes over its class and not the object.
    """

    def print(self, *args: Any, **kwargs: Any) -> None:
        text = _MARKUP.sub("", " ".join(map(str, args))).strip()
        if text:
            log.debug("%s", text)

    def note(self, message: str) -> None:
        log.debug("%s", message)

    def warning(self, message: str) -> None:
        log.info("%s", message)

    def error(self, message: str) -> None:
        log.info("%s", message)

    def stage(self, finish: bool = False) -> None:
        pass

    def progress_bar(
        self,
        cur_iter: int,
        total_iters: int,
        prefix: str = "",
        suffix: str = "",
        bar_length: int = 30,
    ) -> None:
        watch = getattr(_here, "watch", None)
        if watch is not None:
            watch(cur_iter, total_iters)

    def set_verbosity(self, verbosity: str) -> None:
        pass


esptool_log.set_logger(_Listener())


@contextmanager
def _watched(watch: Watch | None) -> Iterator[None]:
    _here.watch = watch
    try:
        yield
    finally:
        _here.watch = None


@contextmanager
def _explained(port: str) -> Iterator[None]:
    """esptool's and the port's errors in words of ours."""
    try:
        yield
    except FatalError as e:
        said = str(e).splitlines()[0].strip().rstrip(".")
        raise NoBoard(f"{port}: {said}", PORT if "Could not open" in said else BOARD) from e
    except (SerialException, OSError) as e:
        raise NoBoard(f"{port} cannot be used: {e}", PORT) from e


def connect(
    port: str,
    *,
    baud: int = 460800,
    before: str = "default-reset",
    stub: bool = True,
    attempts: int = 7,
) -> Rom:
    """Takes a board into its loader.

    Args:
        baud: after the first words, which are at 115200.
        before: how the chip gets there, as esptool names it.
        stub: loads esptool's own loader into RAM, which is quicker than the one in ROM.

    Raises:
        NoBoard: nothing answers.
    """
    with _explained(port):
        esp = esptool.detect_chip(port, ROM_BAUD, before, False, attempts)
    try:
        return _ready(port, esp, baud, stub)
    except BaseException:
        esp.__exit__(None, None, None)
        raise


def _ready(port: str, esp: Any, baud: int, stub: bool) -> Rom:
    with _explained(port):
        locked = _locked(esp)
        # In secure download mode it does not even tell its MAC.
        mac = "" if esp.secure_download_mode else _mac(esp)
        name = esp.CHIP_NAME.lower().replace("-", "")
        if not locked:
            if stub:
                esp = esptool.run_stub(esp)
            if baud != ROM_BAUD:
                esp.change_baud(baud)
            esptool.attach_flash(esp)
            said = detect_flash_size(esp)
            size = flash_size_bytes(said) if said else None
            esp.flash_set_parameters(size or 0x400000)
        else:
            size = None
    # After a lost connection esptool would go on with whatever answers then; that may be another
    # board. Here a lost connection ends it, and the whole is done again.
    esp.WRITE_FLASH_ATTEMPTS = 1
    return Rom(port, esp, Chip(name, mac, size, esp.BOOTLOADER_FLASH_OFFSET, locked))


def _mac(esp: Any) -> str:
    return ":".join(f"{byte:02x}" for byte in esp.read_mac("BASE_MAC"))


def _locked(esp: Any) -> list[str]:
    """The protections that make a plain write useless, or harmful."""
    if esp.secure_download_mode:
        return ["secure download mode"]
    found = []
    if esp.get_secure_boot_enabled():
        found.append("secure boot")
    if esp.get_flash_encryption_enabled():
        found.append("flash encryption")
    return found


class Rom:
    """A board in its loader; a context manager, which lets go of the port.

    Attributes:
        port: where it is.
        chip: what it is.
    """

    def __init__(self, port: str, esp: Any, chip: Chip) -> None:
        self.port = port
        self.chip = chip
        self._esp = esp

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._esp.__exit__(None, None, None)

    def read(self, offset: int, size: int) -> bytes:
        """Reads from the flash."""
        with _explained(self.port):
            data: bytes = esptool.read_flash(self._esp, offset, size, no_progress=True)
        return data

    def holds(self, offset: int, data: bytes) -> bool:
        """Whether the flash has these bytes, by an MD5 that the chip makes."""
        with _explained(self.port):
            found: str = self._esp.flash_md5sum(offset, len(data))
        return found == hashlib.md5(data, usedforsecurity=False).hexdigest()

    def write(self, offset: int, data: bytes, watch: Watch | None = None) -> None:
        """Erases and writes whole sectors, and compares their MD5 with the chip's.

        Args:
            watch: is called with (done, total), in bytes of what flies.
        """
        with _explained(self.port), _watched(watch):
            esptool.write_flash(self._esp, [(offset, data)])

    def erase(self, offset: int, size: int) -> None:
        """Erases whole sectors, and makes sure of it."""
        with _explained(self.port):
            esptool.erase_region(self._esp, offset, size)
        blank = b"\xff" * size
        if not self.holds(offset, blank):
            self.write(offset, blank)  # a loader that erases only what it writes

    def erase_all(self) -> None:
        """Erases the whole flash.

        Raises:
            FleetlingError: the loader in ROM cannot; the stub can.
        """
        if not self._esp.IS_STUB:
            raise FleetlingError(
                "The loader in the chip's ROM cannot erase all of the flash",
                "Leave --no-stub out, or --erase.",
            )
        with _explained(self.port):
            esptool.erase_flash(self._esp)

    def reset(self, how: str = "hard-reset") -> None:
        """Lets the board go, as esptool names it."""
        with _explained(self.port):
            esptool.reset_chip(self._esp, how)
