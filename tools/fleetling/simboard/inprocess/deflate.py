# SPDX-License-Identifier: MIT
"""The board's `deflate`: DeflateIO for reading, over zlib.

As there, it takes its input one byte a call (so the source stands right behind the stream
afterwards), keeps to the window it was given, and cannot compress. Errors as measured: OSError
EINVAL for bytes that are no DEFLATE, EOFError where they end early.
"""

from __future__ import annotations

import zlib
from types import ModuleType
from typing import Any

from .errors import ERRNO, BoardError

__all__ = ["make_deflate"]

AUTO, RAW, ZLIB, GZIP = 0, 1, 2, 3
# Windows when none is given: 256 bytes, and the 32 KB that gzip implies (docs/hardware.md).
_DEFAULT_WBITS = 8
_GZIP_WBITS = 15
_CHUNK = 1024


class DeflateIO:
    def __init__(self, stream: Any, format: int = AUTO, wbits: int = 0, close: bool = False):
        if wbits != 0 and not 5 <= wbits <= 15:
            raise ValueError("wbits")
        self._stream = stream
        self._format = format
        self._wbits = wbits
        self._close = close
        self._inflate: Any = None

    def read(self, n: int = -1) -> bytes:
        parts = []
        missing = n
        while n < 0 or missing > 0:
            part = self._next(_CHUNK if n < 0 else missing)
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def readinto(self, buf: bytearray | memoryview) -> int:
        data = self.read(len(buf))
        buf[: len(data)] = data
        return len(data)

    def readline(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            byte = self._next(1)
            if not byte:
                break
            line += byte
        return line

    def close(self) -> None:
        if self._close and self._stream is not None:
            self._stream.close()
        self._stream = None

    def __enter__(self) -> DeflateIO:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _next(self, n: int) -> bytes:
        """Up to `n` bytes of content; b"" at the end."""
        if self._stream is None:
            raise BoardError(ERRNO["EINVAL"])
        if self._inflate is None:
            self._begin()
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail
            if not data:
                # Output of an earlier byte may still be held back.
                held = self._decompress(b"", n)
                if held:
                    return held
                data = self._byte()
            out = self._decompress(data, n)
            if out:
                return out
        return b""

    def _begin(self) -> None:
        first = b""
        kind = self._format
        if kind == AUTO:
            first = self._byte()
            kind = GZIP if first == b"\x1f" else ZLIB
        if kind == RAW:
            wbits = -max(8, self._wbits or _DEFAULT_WBITS)
        elif kind == GZIP:
            wbits = 16 + (self._wbits or _GZIP_WBITS)
        else:
            wbits = self._wbits or 0
        self._inflate = zlib.decompressobj(wbits)
        if first:
            self._decompress(first, 1)

    def _byte(self) -> bytes:
        if hasattr(self._stream, "readinto"):
            buf = bytearray(1)
            got = self._stream.readinto(buf)
            byte = bytes(buf[: got or 0])
        else:
            byte = self._stream.read(1)
        if not byte:
            raise EOFError
        return byte

    def _decompress(self, data: bytes, n: int) -> bytes:
        try:
            return bytes(self._inflate.decompress(data, n))
        except zlib.error:
            raise BoardError(ERRNO["EINVAL"]) from None


def make_deflate() -> ModuleType:
    module = ModuleType("deflate")
    module.__dict__.update(AUTO=AUTO, RAW=RAW, ZLIB=ZLIB, GZIP=GZIP, DeflateIO=DeflateIO)
    return module
