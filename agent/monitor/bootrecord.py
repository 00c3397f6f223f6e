# SPDX-License-Identifier: MIT
"""What has to survive a reset without a write to flash: a record in RTC memory.

boot.py counts bad boots in it, and decides on safe mode; the agent says there which task runs, so
that a board that hangs in one can tell after the watchdog's reset, and when a boot was good.
Layout, at the end of RTC memory, after whatever an application keeps there: magic, version, how
bad the last boots were, how often in safe mode, flags, uptime in seconds, task; CRC-32 of all.
"""

import binascii
import struct

from micropython import const

_LAYOUT = "<HBBBBI16s"
_SIZE = const(30)
_MAGIC = const(0x4C47)
_VERSION = const(1)
_ROOM = const(2048)

GOOD = const(1)  # this boot is no bad one any more, or its end is wanted
SAFE = const(2)  # safe mode: the application is not started


class BootRecord:
    """`memory` is machine.RTC().memory. Without a valid record all is zero."""

    def __init__(self, memory):
        self._memory = memory
        self.bad = self.safe = self.flags = self.uptime_s = 0
        self.task = b""
        self._before = self._written = b""  # what an application keeps there, and what we left
        found = _unpack(memory())
        if found:
            self.bad, self.safe, self.flags, self.uptime_s, self.task = found

    def mark(self, task, uptime_s):
        """Says that `task` (bytes) runs."""
        self.task = task
        self.uptime_s = uptime_s
        self.write()

    def write(self):
        kept = self._memory()
        if kept != self._written or not kept:
            self._before = kept[:-_SIZE] if _unpack(kept) else kept
        if len(self._before) <= _ROOM - _SIZE:
            self._written = self._before + self._pack()
            self._memory(self._written)

    def _pack(self):
        body = struct.pack(
            _LAYOUT,
            _MAGIC,
            _VERSION,
            self.bad,
            self.safe,
            self.flags,
            self.uptime_s,
            self.task,
        )
        return body + struct.pack("<I", binascii.crc32(body))


def _unpack(data):
    """(bad, safe, flags, uptime, task), or None."""
    if len(data) < _SIZE:
        return None
    tail = data[-_SIZE:]
    if struct.unpack_from("<I", tail, _SIZE - 4)[0] != binascii.crc32(tail[: _SIZE - 4]):
        return None
    found = struct.unpack_from(_LAYOUT, tail)
    if found[0] != _MAGIC or found[1] != _VERSION:
        return None
    return found[2:6] + (found[6].rstrip(b"\0"),)
