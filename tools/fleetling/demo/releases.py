# SPDX-License-Identifier: MIT
"""The demo's releases: a repository of its own, an application and a firmware to update to."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from fleetling import device
from fleetling.demo.application import APPLICATION, HANGING
from fleetling.release.keys import make_signer
from fleetling.release.repository import Repository
from fleetling.simboard.chip import stock

__all__ = ["FIRMWARE", "Releases"]

APP, CHIP = "pump", "esp32"
ROLES = ("root", "targets", "snapshot", "timestamp")
BOARDS = ("ESP32_GENERIC-OTA",)
SIZE = 400_000


def _firmware(version: str, changed: int) -> bytes:
    """An app image; every `changed`th piece of it is the version's own."""
    pieces = (
        hashlib.sha256(f"{version if changed and n % changed == 0 else ''}{n}".encode()).digest()
        for n in range(SIZE // 32)
    )
    image: bytes = stock.build_app(version=version, body=b"".join(pieces))
    return image


# What the boards are flashed with.
FIRMWARE = _firmware("1.0.0", 0)


class Releases:
    """Everything that the story updates to, published in `folder`.

    Args:
        compiled: whether the boards take bytecode.
    """

    def __init__(self, folder: Path, *, compiled: bool) -> None:
        self.folder = folder
        repository = Repository.create(folder, {role: [make_signer()] for role in ROLES})
        self.good = self._app(repository, "1.1.0", APPLICATION, compiled)
        self.hanging = self._app(repository, "1.2.0", HANGING, compiled)
        self.tampered = self._app(repository, "1.3.0", APPLICATION, compiled)
        image = _firmware("1.1.0", 40)
        self.firmware = repository.add_firmware(
            CHIP, "1.1.0", image, bases=[FIRMWARE], chip=CHIP, boards=BOARDS
        )
        repository.publish()
        root = (folder / "metadata/1.root.json").read_bytes()
        self.root = struct.pack("<I", 1) + hashlib.sha256(root).digest()

    @staticmethod
    def _app(repository: Repository, version: str, files: dict[str, bytes], compiled: bool) -> str:
        slot = device.slot_files(version, files, compiled=compiled, bare=not compiled)
        return repository.add_app(APP, slot)

    def read(self, path: str) -> bytes | None:
        """What the server has at a path."""
        file = self.folder / path
        public = path.startswith(("metadata/", "targets/")) and ".." not in path
        return file.read_bytes() if public and file.is_file() else None

    def tamper(self) -> None:
        """Changes what the server has, as who broke into it would."""
        product, _, name = self.tampered.partition("/")
        for file in (self.folder / "targets" / product).glob(f"*.{name}"):
            data = bytearray(file.read_bytes())
            data[len(data) // 20] ^= 1
            file.write_bytes(data)

    def size(self, end: str) -> int:
        """Bytes of the published file whose name ends so."""
        return sum(file.stat().st_size for file in self.folder.glob(f"targets/*/*{end}"))
