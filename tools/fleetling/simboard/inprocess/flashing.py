# SPDX-License-Identifier: MIT
"""What a board's flash holds before its first life: an image, or a board from the shop with files.

Nothing here is counted as an operation of the board.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import littlefs
from .shim import chip_module

__all__ = ["FLASH_SIZE", "Nvs", "new_flash", "read_files", "write_file"]

FLASH_SIZE = 0x400000

# Namespace -> key -> blob or i32, as the flashing tool stores them.
Nvs = Mapping[str, Mapping[str, bytes | int]]


def new_flash(image: bytes | None, files: Mapping[str, bytes] | None, nvs: Nvs | None) -> Any:
    """A `Flash` with these contents; without an image, the official partition table and a small
    app in ota_0. An image of more than 4 MB makes a larger chip. `files` format the vfs partition,
    when there are any or no image is given."""
    parts = chip_module("flash")
    size = max(FLASH_SIZE, len(image or b""))
    store = parts.MemoryStore(size)
    flash = parts.Flash(store, size)
    if image is None:
        chip_module("stock").furnish(flash)
    else:
        store.write(0, image)
    table = chip_module("table")
    entries = table.parse(flash)
    vfs = table.find(entries, "vfs")
    if files is not None or image is None:
        flash.and_ranges = [(vfs[2], vfs[2] + vfs[3])]
        flash.erase(vfs[2], vfs[3])
        littlefs.image(flash, vfs[2], vfs[3], dict(files or {}))
    if nvs:
        _store(flash, table.find(entries, "nvs"), nvs)
    return parts.Flash(store, size)


def _store(flash: Any, region: Any, nvs: Nvs) -> None:
    kinds = chip_module("nvs_format")
    opened = chip_module("nvs").Nvs(flash, region[2], region[3])
    for namespace, values in nvs.items():
        for key, value in values.items():
            kind = kinds.I32 if isinstance(value, int) else kinds.BLOB_V1
            opened.set(namespace, kind, key, value)


def write_file(flash: Any, path: str, data: bytes) -> None:
    """Writes one file onto the vfs partition of a board that is off."""
    parts = chip_module("flash")
    table = chip_module("table")
    direct = parts.Flash(flash.store, flash.size)
    vfs = table.find(table.parse(direct), "vfs")
    direct.and_ranges = [(vfs[2], vfs[2] + vfs[3])]
    littlefs.FileSystem(direct, vfs[2], vfs[3]).write_file(path, data)


def read_files(flash: Any) -> dict[str, bytes]:
    """Every file on the vfs partition, read from a copy of the flash (a live board may go on).

    Raises:
        CorruptFileSystem: when it does not mount.
    """
    parts = chip_module("flash")
    table = chip_module("table")
    copy = parts.Flash(flash.store.clone(), flash.size)
    vfs = table.find(table.parse(copy), "vfs")
    copy.and_ranges = [(vfs[2], vfs[2] + vfs[3])]
    fs = littlefs.FileSystem(copy, vfs[2], vfs[3])
    found: dict[str, bytes] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        for name, is_folder, _ in fs.entries(folder or "/"):
            path = f"{folder}/{name}"
            if is_folder:
                folders.append(path)
            else:
                found[path] = fs.read_file(path)
    return found
