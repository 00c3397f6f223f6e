# SPDX-License-Identifier: MIT
"""`open` and `os` of the board on its littlefs, as VfsLfs2 behaves (measured on the unix port).

Text files are UTF-8, without translation of line ends; `seek` and `tell` count bytes in both
kinds; a closed file raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from .errors import ERRNO, BoardError
from .littlefs import BLOCK, FileSystem

__all__ = ["File", "TextFile", "Volume", "make_os", "make_vfs"]

_DIRECTORY = 0x4000
_REGULAR = 0x8000
_NAME_MAX = 255


class File:
    """A binary file; also what text files are made on."""

    def __init__(self, fs: FileSystem, handle: Any, readable: bool, writable: bool) -> None:
        self._fs = fs
        self._handle = handle
        self._readable = readable
        self._writable = writable

    def _open(self) -> Any:
        if self._handle is None:
            raise ValueError
        return self._handle

    def _read(self, n: int = -1) -> bytes:
        handle = self._open()
        if not self._readable:
            raise BoardError(ERRNO["EBADF"])
        if n is None or n < 0:
            n = max(0, self._fs.size(handle) - self._fs.tell(handle))
        if n >= 1 << 31:
            raise OverflowError("overflow converting long int to machine word")
        return self._fs.read(handle, n)

    def _readline(self, n: int = -1) -> bytes:
        line = b""
        while not line.endswith(b"\n") and len(line) != n:
            start = self._fs.tell(self._open())
            chunk = self._read(128 if n < 0 else min(128, n - len(line)))
            if not chunk:
                break
            end = chunk.find(b"\n") + 1
            if end:
                chunk = chunk[:end]
                self._fs.seek(self._handle, start + end, 0)
            line += chunk
        return line

    def read(self, n: int = -1) -> Any:
        return self._read(n)

    def readline(self, n: int = -1) -> Any:
        return self._readline(n)

    def readlines(self) -> list[Any]:
        return list(self)

    def readinto(self, buf: bytearray | memoryview) -> int:
        data = self._read(len(buf))
        buf[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        handle = self._open()
        if not self._writable:
            # The real one loses the bytes and says nothing; a mistake is better shown.
            raise BoardError(ERRNO["EBADF"])
        return self._fs.write(handle, data.encode() if isinstance(data, str) else bytes(data))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._fs.seek(self._open(), offset, whence)

    def tell(self) -> int:
        return self._fs.tell(self._open())

    def flush(self) -> None:
        self._fs.sync(self._open())

    def close(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self._fs.close(handle)

    def __enter__(self) -> File:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        line = self.readline()
        if not line:
            raise StopIteration
        return line


class TextFile(File):
    def read(self, n: int = -1) -> str:
        if n is None or n < 0:
            return self._read().decode()
        data = b""
        while True:
            missing = n - sum(byte & 0xC0 != 0x80 for byte in data)
            chunk = self._read(missing or _cut_short(data))
            data += chunk
            if not chunk:
                return data.decode()

    def readline(self, n: int = -1) -> str:
        return self._readline(n).decode()


def _cut_short(data: bytes) -> int:
    """Bytes that the last character of `data` still lacks."""
    for back in range(1, min(4, len(data)) + 1):
        lead = data[-back]
        if lead & 0xC0 != 0x80:
            length = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return max(0, length - back)
    return 0


class Volume:
    """The file system mounted at "/", with the current directory. `step()` is called before each
    access and may end the life; `fs` is None while a bare Sandbox has no flash. Programs may mount
    file systems of their own at other names of the root, to be read."""

    def __init__(self, fs: FileSystem | None, step: Callable[[], None]) -> None:
        self._mounted = fs
        self._step = step
        self.folder = "/"
        self._others: dict[str, Any] = {}

    def fs(self) -> FileSystem:
        self._step()
        if self._mounted is None:
            raise BoardError(ERRNO["ENODEV"])
        return self._mounted

    def path(self, name: Any) -> str:
        if isinstance(name, bytes):
            name = name.decode()
        if not isinstance(name, str):
            raise TypeError("path must be a string")
        return name if name.startswith("/") else self.folder.rstrip("/") + "/" + name

    def mount(self, made: Any, point: str, *, readonly: bool = False) -> None:
        """Mounts an object of the program's, with the methods that `vfs.mount` documents."""
        if not point.startswith("/") or "/" in point[1:]:
            raise BoardError(ERRNO["EINVAL"])
        if point == "/" or point in self._others:
            raise BoardError(ERRNO["EPERM"])
        made.mount(readonly, False)
        self._others[point] = made

    def umount(self, point: str) -> None:
        if point not in self._others:
            raise BoardError(ERRNO["EINVAL"])
        self._others.pop(point).umount()

    def _other(self, name: Any) -> tuple[Any, str] | None:
        """The program's own file system that a path leads to, and the path in it."""
        point, slash, rest = self.path(name)[1:].partition("/")
        made = self._others.get("/" + point)
        if made is None:
            return None
        self._step()
        return made, slash + rest if rest else "/"

    def open(self, name: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        """Buffering and encoding are accepted and change nothing, as on the board."""
        other = self._other(name)
        if other is not None:
            return other[0].open(other[1], mode)
        plain = mode.replace("b", "").replace("t", "") or "r"
        if plain.replace("+", "") not in ("r", "w", "a", "x", ""):
            raise ValueError
        if plain == "+":
            plain = "r+"
        fs = self.fs()
        path = self.path(name)
        if self._is_root(path):
            raise BoardError(ERRNO["EISDIR"])
        update = "+" in plain
        kind = TextFile if "b" not in mode else File
        handle = fs.open(path, plain)
        return kind(fs, handle, "r" in plain or update, "r" not in plain or update)

    def _is_root(self, path: str) -> bool:
        return not path.strip("/.")

    # --- os

    def stat(self, name: Any) -> tuple[int, ...]:
        other = self._other(name)
        if other is not None:
            found: tuple[int, ...] = other[0].stat(other[1])
            return found
        directory, size = self.fs().stat(self.path(name))
        return (_DIRECTORY if directory else _REGULAR, 0, 0, 0, 0, 0, size, 0, 0, 0)

    def ilistdir(self, name: Any = "") -> Iterator[tuple[str, int, int, int]]:
        other = self._other(name)
        if other is not None:
            return iter(list(other[0].ilistdir(other[1])))
        rows = self.fs().entries(self.path(name))
        return iter([(n, _DIRECTORY if d else _REGULAR, 0, 0 if d else s) for n, d, s in rows])

    def listdir(self, name: Any = "") -> list[str]:
        return [row[0] for row in self.ilistdir(name)]

    def mkdir(self, name: Any) -> None:
        path = self.path(name)
        if self._is_root(path):
            raise BoardError(ERRNO["EEXIST"])
        self.fs().mkdir(path)

    def remove(self, name: Any) -> None:
        path = self.path(name)
        if self._is_root(path):
            raise BoardError(ERRNO["EPERM"])
        self.fs().remove(path)

    def rename(self, old: Any, new: Any) -> None:
        self.fs().rename(self.path(old), self.path(new))

    def chdir(self, name: Any) -> None:
        path = self.path(name)
        directory, _ = self.fs().stat(path)
        if not directory:
            raise BoardError(ERRNO["ENOENT"])
        parts: list[str] = []
        for part in path.split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part not in ("", "."):
                parts.append(part)
        self.folder = "/" + "/".join(parts)

    def statvfs(self, name: Any = "/") -> tuple[int, ...]:
        blocks, used = self.fs().usage()
        return (BLOCK, BLOCK, blocks, blocks - used, blocks - used, 0, 0, 0, 0, _NAME_MAX)

    def sync(self) -> None:
        self._step()


def make_vfs(volume: Volume) -> ModuleType:
    """The board's `vfs`, as far as a program mounts its own objects."""
    module = ModuleType("vfs")
    module.__dict__.update(mount=volume.mount, umount=volume.umount)
    return module


def make_os(volume: Volume, uname: Any, urandom: Callable[[int], bytes]) -> ModuleType:
    """The board's `os`."""
    module = ModuleType("os")
    module.__dict__.update(
        sep="/",
        chdir=volume.chdir,
        getcwd=lambda: volume.folder,
        ilistdir=volume.ilistdir,
        listdir=volume.listdir,
        mkdir=volume.mkdir,
        remove=volume.remove,
        unlink=volume.remove,
        rmdir=volume.remove,
        rename=volume.rename,
        stat=volume.stat,
        statvfs=volume.statvfs,
        sync=volume.sync,
        uname=lambda: uname,
        urandom=urandom,
    )
    return module
