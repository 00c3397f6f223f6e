# SPDX-License-Identifier: MIT
"""littlefs images with the parameters that MicroPython's ESP32 port mounts."""

from __future__ import annotations

from littlefs import LittleFS
from littlefs.errors import LittleFSError

from fleetling.errors import FleetlingError

__all__ = ["build_filesystem", "read_filesystem"]

BLOCK = 4096


# Images are made in littlefs 2.0, which every firmware mounts. A firmware that knows 2.1 raises it
# to that with its first write (as the unix port and v1.25 do), so what is read may be newer.
MADE = 0x20000
NEWEST = 0


def _filesystem(size: int, version: int, *, mount: bool) -> LittleFS:
    return LittleFS(
        block_size=BLOCK,
        block_count=size // BLOCK,
        read_size=32,
        prog_size=32,
        cache_size=128,
        lookahead_size=32,
        name_max=255,
        disk_version=version,
        mount=mount,
    )


def build_filesystem(files: dict[str, bytes], size: int) -> bytes:
    """An image of `size` bytes that holds `files`, by absolute or relative path.

    Raises:
        FleetlingError: they do not fit.
    """
    made = _filesystem(size, MADE, mount=True)
    try:
        for path, data in sorted(files.items()):
            folder, _, _ = path.strip("/").rpartition("/")
            if folder:
                made.makedirs(folder, exist_ok=True)
            with made.open(path.strip("/"), "wb") as file:
                file.write(data)
    except LittleFSError as e:
        total = sum(map(len, files.values()))
        raise FleetlingError(
            f"{len(files)} files of {total} bytes do not fit a file system of {size} bytes",
            "Leave out what the board does not need, or use a larger layout.",
        ) from e
    return bytes(made.context.buffer)


def read_filesystem(image: bytes) -> dict[str, bytes]:
    """The files of an image, by absolute path."""
    opened = _filesystem(len(image), NEWEST, mount=False)
    opened.context.buffer = bytearray(image)
    opened.mount()
    found: dict[str, bytes] = {}
    for folder, _, names in opened.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with opened.open(path, "rb") as file:
                found[path] = file.read()
    return found
