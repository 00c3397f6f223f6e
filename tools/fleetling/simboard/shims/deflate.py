# SPDX-License-Identifier: MIT
"""CPython's stand-in for MicroPython's built-in `deflate` module, as on the ESP32: reading only.

Like the original it takes its input one byte a call, so that `tell()` on the stream below says
exactly how much was used, and raises OSError(EINVAL) for input that is malformed or too short.
"""

import zlib

AUTO = 0
RAW = 1
ZLIB = 2
GZIP = 3

_EINVAL = 22


class DeflateIO:
    def __init__(self, stream, format=AUTO, wbits=0, close=False):
        bits = {RAW: -max(wbits or 8, 8), AUTO: 47, ZLIB: 15, GZIP: 31}[format]
        self._stream = stream
        self._close = close
        self._inflate = zlib.decompressobj(bits)
        self._held = False

    def read(self, size=-1):
        out = bytearray()
        while size < 0 or len(out) < size:
            more = self._some(size - len(out) if size >= 0 else 0)
            if not more:
                break
            out += more
        return bytes(out)

    def readinto(self, buffer):
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _some(self, most):
        inflate = self._inflate
        while not inflate.eof:
            # zlib may hold output back: only when it has none left does it get another byte.
            data = inflate.unconsumed_tail
            if not (data or self._held):
                data = self._stream.read(1)
                if not data:
                    raise OSError(_EINVAL)
            try:
                out = inflate.decompress(data, most)
            except zlib.error:
                raise OSError(_EINVAL) from None
            self._held = bool(out)
            if out:
                return out
        return b""

    def close(self):
        if self._close:
            self._stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
