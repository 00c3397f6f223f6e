# SPDX-License-Identifier: MIT
"""The board's file system: littlefs, by littlefs-python, on the flash of the chip.

Invariants:
- every program and erase goes through the chip's `Flash`, so it is counted, takes time and can
  be cut, from inside littlefs too;
- nothing is raised through littlefs's C code: a callback that fails keeps the exception, littlefs
  sees an I/O error, and the exception is raised once littlefs has returned;
- a file that is not closed has nothing on flash of what littlefs still caches; its handle stays
  referenced here, because littlefs itself points to it.

Geometry as docs/hardware.md gives it for what the official firmware accepts; a file system of
version 2.0 becomes 2.1 with its first write, as it does there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from littlefs import LittleFS, LittleFSError, lfs

from .errors import ERRNO, BoardError

__all__ = ["BLOCK", "CorruptFileSystem", "FileSystem", "image"]

BLOCK = 4096
TYPE_DIRECTORY = 2
_GEOMETRY: dict[str, Any] = {
    "block_size": BLOCK,
    "read_size": 32,
    "prog_size": 32,
    "cache_size": 128,
    "lookahead_size": 32,
    "block_cycles": 100,
    "name_max": 255,
}
_IO_ERROR = -5
_CORRUPT = -84
_FLAG: Any = lfs.LFSFileFlag
_APPEND = {
    "a": _FLAG.wronly | _FLAG.creat | _FLAG.append,
    "a+": _FLAG.rdonly | _FLAG.wronly | _FLAG.creat | _FLAG.append,
}


class CorruptFileSystem(Exception):
    """There is something on the partition, and it does not mount."""


class _Blocks:
    """littlefs's block device: a region of the flash."""

    def __init__(self, flash: Any, addr: int) -> None:
        self.flash = flash
        self._addr = addr
        self.failure: BaseException | None = None

    def read(self, cfg: Any, block: int, off: int, size: int) -> bytes:
        try:
            if self.failure is None or isinstance(self.failure, OSError):
                found: bytes = self.flash.read(self._addr + block * BLOCK + off, size)
                return found
        except BaseException as e:  # noqa: BLE001 - raised again by FileSystem.call
            self.failure = e
        return bytes(size)

    def prog(self, cfg: Any, block: int, off: int, data: bytes) -> int:
        return self._do(self.flash.program, self._addr + block * BLOCK + off, bytes(data))

    def erase(self, cfg: Any, block: int) -> int:
        return self._do(self.flash.erase, self._addr + block * BLOCK, BLOCK)

    def sync(self, cfg: Any) -> int:
        return 0 if self.failure is None else _IO_ERROR

    def _do(self, operation: Callable[[int, Any], None], addr: int, argument: Any) -> int:
        if self.failure is None:
            try:
                operation(addr, argument)
                return 0
            except BaseException as e:  # noqa: BLE001 - raised again by FileSystem.call
                self.failure = e
        # What the flash refuses: of its errors this one alone makes littlefs drop what it caches
        # of the block, as the firmware's does, which is built without its assertions.
        return _CORRUPT if isinstance(self.failure, OSError) else _IO_ERROR


class FileSystem:
    """littlefs on `size` bytes of `flash` at `addr`, mounted, for one life of the board.

    Raises:
        CorruptFileSystem: by the constructor.
    """

    def __init__(self, flash: Any, addr: int, size: int) -> None:
        self._blocks = _Blocks(flash, addr)
        context: Any = self._blocks
        self._lfs = LittleFS(context, False, block_count=size // BLOCK, **_GEOMETRY)
        self._handles: set[Any] = set()
        self._kept: dict[tuple[str, str], Any] = {}
        self._kept_at = 0
        try:
            self._call(self._lfs.mount)
        except OSError as e:
            raise CorruptFileSystem from e

    @classmethod
    def formatted(cls, flash: Any, addr: int, size: int) -> FileSystem:
        """Formats first, as the frozen _boot.py does with a blank partition."""
        blocks = _Blocks(flash, addr)
        context: Any = blocks
        LittleFS(context, False, block_count=size // BLOCK, **_GEOMETRY).format()
        if blocks.failure is not None:
            raise blocks.failure
        return cls(flash, addr, size)

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            result = function(*args)
        except LittleFSError as e:
            result = None
            error: BoardError | None = BoardError(-e.code)
        except FileExistsError:
            error = BoardError(ERRNO["EEXIST"])
        except FileNotFoundError:
            error = BoardError(ERRNO["ENOENT"])
        else:
            error = None
        failure = self._blocks.failure
        if failure is not None:
            self._blocks.failure = None
            raise failure
        if error is not None:
            raise error
        return result

    def _remembered(self, what: str, path: str, ask: Callable[[str], Any]) -> Any:
        """What `ask(path)` says, or said while the flash was as it is: agents load the same
        modules, and ask for the room that is left, again and again."""
        flash = self._blocks.flash
        if self._kept_at != flash.operations or flash.dead or flash.bad_reads:
            self._kept.clear()
            self._kept_at = flash.operations
        found = self._kept.get((what, path))
        if found is None:
            try:
                found = ask(path)
            except BoardError as e:
                found = e
            self._kept[what, path] = found
        if isinstance(found, BoardError):
            raise BoardError(found.args[0])
        return found

    # --- paths; littlefs resolves "." and ".." itself

    def stat(self, path: str) -> tuple[bool, int]:
        """(is a directory, size)."""
        if not path.strip("/"):
            return True, 0
        found = self._remembered("stat", path, lambda path: self._call(self._lfs.stat, path))
        directory = found.type == TYPE_DIRECTORY
        return directory, 0 if directory else int(found.size)

    def entries(self, path: str) -> list[tuple[str, bool, int]]:
        """(name, is a directory, size) of each."""
        found = self._call(lambda: list(self._lfs.scandir(path or "/")))
        return [(e.name, e.type == TYPE_DIRECTORY, int(e.size)) for e in found]

    def mkdir(self, path: str) -> None:
        self._call(self._lfs.mkdir, path)

    def remove(self, path: str) -> None:
        self._call(self._lfs.remove, path)

    def rename(self, old: str, new: str) -> None:
        self._call(self._lfs.rename, old, new)

    def usage(self) -> tuple[int, int]:
        """(blocks, blocks in use)."""
        used = self._remembered(
            "usage", "", lambda _: self._call(lambda: self._lfs.used_block_count)
        )
        return self._lfs.block_count, used

    def read_file(self, path: str) -> bytes:
        """The whole file."""
        return bytes(self._remembered("read", path, self._read_file))

    def _read_file(self, path: str) -> bytes:
        handle = self.open(path, "r")
        try:
            return self.read(handle, self.size(handle))
        finally:
            self.close(handle)

    def write_file(self, path: str, data: bytes) -> None:
        """Makes the folders on the way, too."""
        folders = path.strip("/").split("/")[:-1]
        for depth in range(len(folders)):
            try:
                self.mkdir("/" + "/".join(folders[: depth + 1]))
            except OSError as e:
                if e.errno != ERRNO["EEXIST"]:
                    raise
        handle = self.open(path, "w")
        self.write(handle, data)
        self.close(handle)

    # --- open files

    def open(self, path: str, mode: str) -> Any:
        """`mode` is r, w, a or x, with +."""
        # littlefs-python's own "a" does not make a file.
        flags = _APPEND.get(mode, mode)
        handle = self._call(lfs.file_open, self._lfs.fs, path or "/", flags)
        self._handles.add(handle)
        return handle

    def close(self, handle: Any) -> None:
        try:
            self._call(lfs.file_close, self._lfs.fs, handle)
        finally:
            self._handles.discard(handle)

    def read(self, handle: Any, count: int) -> bytes:
        return bytes(self._call(lfs.file_read, self._lfs.fs, handle, count))

    def write(self, handle: Any, data: bytes) -> int:
        return int(self._call(lfs.file_write, self._lfs.fs, handle, data))

    def seek(self, handle: Any, offset: int, whence: int) -> int:
        return int(self._call(lfs.file_seek, self._lfs.fs, handle, offset, whence))

    def tell(self, handle: Any) -> int:
        return int(self._call(lfs.file_tell, self._lfs.fs, handle))

    def size(self, handle: Any) -> int:
        return int(self._call(lfs.file_size, self._lfs.fs, handle))

    def sync(self, handle: Any) -> None:
        self._call(lfs.file_sync, self._lfs.fs, handle)


def image(flash: Any, addr: int, size: int, files: dict[str, bytes]) -> None:
    """Formats the partition and writes `files` (path -> content), as a host tool would."""
    made = FileSystem.formatted(flash, addr, size)
    for path, data in files.items():
        made.write_file("/" + path.strip("/"), data)
