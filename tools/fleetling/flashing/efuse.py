# SPDX-License-Identifier: MIT
"""The eFuses of a chip on a port, or of a virtual one in a file; the only user of espefuse.

eFuse bits go from 0 to 1 and never back. Nothing here decides what to burn: fleetling.secure does.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import secrets
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fleetling.errors import FleetlingError

__all__ = ["CHIPS", "Fuses", "on_port", "virtual"]

CHIPS = ("esp32", "esp32s3", "esp32c3")
# The revision that a new virtual chip has, as major * 100 + minor: one that secure boot v2 takes.
_REVISION = {"esp32": 301, "esp32s3": 2, "esp32c3": 4}
_KEY_BLOCKS = {"esp32": ("BLOCK1", "BLOCK2")}
_BLOCKS = tuple(f"BLOCK_KEY{n}" for n in range(6))
# The ESP32's blocks have their purpose by their names.
_ALIASES = {"BLOCK1": "flash_encryption", "BLOCK2": "secure_boot_v2"}


class Fuses:
    """What is burnt, and burning more. Values are as they were read last, at the latest burn."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands
        self.chip: str = commands.esp.CHIP_NAME.lower().replace("-", "")
        # A real one is left behind a closed port, and may shut the door behind it.
        self.virtual = not hasattr(commands.esp, "_port")

    @property
    def mac(self) -> str:
        return str(self._commands.efuses["MAC"].get()).split(" ")[0].lower()

    @property
    def revision(self) -> int:
        """Of the chip, as major * 100 + minor."""
        return int(self._commands.esp.get_chip_revision())

    @property
    def faults(self) -> list[str]:
        """Blocks that the chip itself cannot read without errors, and another coding scheme."""
        efuses = self._commands.efuses
        found = [
            block.name for block in efuses.blocks if block.fail or (block.num_errors or 0) > 0
        ]
        if self.chip == "esp32" and efuses.coding_scheme != efuses.REGS.CODING_SCHEME_NONE:
            found.append("CODING_SCHEME")
        return found

    @property
    def key_blocks(self) -> tuple[str, ...]:
        return _KEY_BLOCKS.get(self.chip, _BLOCKS)

    def has(self, name: str) -> bool:
        return any(field.name == name for field in self._commands.efuses)

    def value(self, name: str) -> int:
        return int(self._commands.efuses[name].get_bitstring().uint)

    def readable(self, name: str) -> bool:
        return bool(self._commands.efuses[name].is_readable())

    def writable(self, name: str) -> bool:
        return bool(self._commands.efuses[name].is_writeable())

    def purpose(self, block: str) -> str:
        """What a key block is for; "USER" while it is for nothing."""
        if self.chip == "esp32":
            return "USER" if self.writable(block) else _ALIASES[block]
        return str(self._commands.efuses[f"KEY_PURPOSE_{block[-1]}"].get())

    def content(self, block: str) -> bytes:
        """A key block's bytes in the order of a key file; zeros where it cannot be read."""
        return bytes(self._commands.efuses[block].get_bitstring().bytes[::-1])

    def burn(self, values: dict[str, int]) -> None:
        """Burns these bits; what is burnt already stays."""
        wanted = {name: value | self.value(name) for name, value in values.items()}
        self._run(", ".join(values), lambda: self._commands.burn_efuse(wanted))

    def burn_key(self, block: str, key: bytes, purpose: str) -> None:
        """Burns a key or a digest, with its purpose and the protections that go with it."""
        data = io.BytesIO(key)
        if self.chip == "esp32":
            self._run(block, lambda: self._commands.burn_key([purpose], [data]))
        else:
            self._run(block, lambda: self._commands.burn_key([block], [data], [purpose]))

    def lock(self, name: str) -> None:
        """Forbids to burn more of a field, and of those that share its protection."""
        self._run(name, lambda: self._commands.write_protect_efuse([name]))

    def copy(self) -> Fuses:
        """A virtual chip with the same eFuses, in memory, to try things on."""
        from espefuse import init_commands
        from espefuse.efuse.token import EfsToken

        with _quiet():
            token = EfsToken.build(
                self._commands.esp.CHIP_NAME, self.revision, self._commands.efuses.blocks
            )
            return Fuses(init_commands(token=token, do_not_confirm=True))

    def _run(self, what: str, burn: Callable[[], Any]) -> None:
        from esptool import FatalError

        try:
            with _quiet():
                burn()
        except FatalError:
            # espefuse's words may hold the bits of a key, and so would the chain of causes.
            failed = True
        else:
            failed = False
        if failed:
            raise FleetlingError(
                f"The chip did not take it: {what}",
                "What is burnt stays burnt. Look with: fleetling secure status",
            )


@contextlib.contextmanager
def on_port(port: str, *, then_run: bool = False) -> Iterator[Fuses]:
    """The chip on a serial port, in its download mode.

    Args:
        then_run: reset it afterwards into what is on its flash; else it waits in that mode.

    Raises:
        FleetlingError: there is none, it is of a kind not known here, or does not let espefuse in.
    """
    with _commands(port=port) as commands:
        try:
            yield Fuses(commands)
        finally:
            if then_run:
                _reset(commands.esp)


@contextlib.contextmanager
def virtual(path: Path, chip: str) -> Iterator[Fuses]:
    """A chip whose eFuses are a file; a new one, fresh from the shop, where there is none."""
    if chip not in CHIPS:
        raise FleetlingError(f"There is no virtual {chip}", f"Known: {', '.join(CHIPS)}.")
    if path.exists() and path.stat().st_size != _file_size(chip):
        # espefuse would add a second chip to the file.
        raise FleetlingError(
            f"{path} is not a virtual {chip}", "Give its --chip, or another file."
        )
    if not path.exists():
        with _commands(chip=chip, virt=True, virt_efuse_file=str(path)) as commands:
            _furnish(commands.esp, chip)
    with _commands(chip=chip, virt=True, virt_efuse_file=str(path)) as commands:
        yield Fuses(commands)


@contextlib.contextmanager
def _commands(**how: Any) -> Iterator[Any]:
    try:
        from espefuse import init_commands
        from esptool import FatalError
    except ImportError as e:
        raise _not_installed() from e
    try:
        with _quiet():
            commands = init_commands(do_not_confirm=True, **how)
    except (FatalError, OSError) as e:
        raise FleetlingError(
            f"No eFuses can be reached: {e}",
            "Check cable and port. In secure download mode, or without download mode, nobody "
            "reaches them any more.",
        ) from e
    with commands:
        name = commands.esp.CHIP_NAME.lower().replace("-", "")
        if name not in CHIPS:
            raise FleetlingError(f"{name} is not known here", f"Known: {', '.join(CHIPS)}.")
        yield commands


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """espefuse tells what it does at length; keys are not among it, but it is no place for it."""
    from esptool.logger import log

    log.set_verbosity("silent")
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        log.set_verbosity("auto")


def _reset(esp: Any) -> None:
    from esptool import FatalError, reset_chip

    with contextlib.suppress(FatalError, OSError), _quiet():
        reset_chip(esp, "hard-reset")


def _file_size(chip: str) -> int:
    try:
        definition = importlib.import_module(f"espefuse.efuse.{chip}.mem_definition")
    except ImportError as e:
        raise _not_installed() from e
    return int(definition.EfuseDefineRegisters.EFUSE_MEM_SIZE)


def _not_installed() -> FleetlingError:
    return FleetlingError("esptool is not installed", "pip install 'fleetling[flash]'")


def _furnish(esp: Any, chip: str) -> None:
    """What the maker burns: revision and address."""
    esp.set_chip_revision(_REVISION[chip])
    mac = b"\x02" + secrets.token_bytes(5)  # an address that nobody was given
    low, high = struct.unpack(">IH", mac[2:] + mac[:2])
    if chip == "esp32":
        esp.direct_write_efuse(1, low)
        esp.direct_write_efuse(2, high | _crc8(mac) << 16)
    else:
        esp.direct_write_efuse(0, low, block=1)
        esp.direct_write_efuse(1, high, block=1)
    esp.save_to_file()


def _crc8(data: bytes) -> int:
    """The CRC of an ESP32's address: polynomial 0x31, reflected."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc
