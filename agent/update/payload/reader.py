# SPDX-License-Identifier: MIT
"""Reads a payload, frame by frame, into an image (docs/payload.md).

Invariants:
- All large buffers exist before the first byte is fetched. One decompressor, with its window,
  does for all frames: they are pieces of one stream that never ends, none needs what came before
  it. Only after a step that failed there is a new one, once the old one's memory is free.
- Whatever the bytes are, the outcome is the image, or Refused. What `fetch`, `write` and
  `read_base` raise passes through.
- A frame makes a whole number of sectors. Between frames `state()` is all there is to know, and
  a step that failed can simply be tried again.
- The image's hash is not checked here: it is taken from flash afterwards.
"""

import asyncio
import gc
import io
import struct
from binascii import crc32

import deflate
from micropython import const

from agent.errors import Refused
from agent.update.payload import header
from agent.update.payload.patch import Patch

_FRAME = const(8192)
_WINDOW = const(11)
_FRAME_HEAD = const(8)
_PRIMER = b"\0\1\0\xfe\xff\0"  # a stored block of one byte, after which others follow
_FLUSH = b"\0\0\xff\xff"  # what a frame's stream ends with
_TAIL = const(7)  # bytes at most that are left of a stream when all its content is out
_STATE = "<IIIiIIIB"


class Reader:
    def __init__(self, write=None, read_base=None, frame=_FRAME, window=_WINDOW):
        """`frame` and `window` bound what is accepted, and with it the heap:
        frame + 4096 + 1024 (with a base) + (1 << window) + about 1500 bytes.

        `use` may follow later: the sooner the buffers are there, the better.
        """
        self._packed = io.BytesIO()
        self._packed.seek(frame + _TAIL)
        self._packed.write(
            b"\0"
        )  # its room, in one step; of given bytes there would be two copies
        self._sector = memoryview(bytearray(header.SECTOR))
        self._head = memoryview(bytearray(_FRAME_HEAD))
        self._frame = frame
        self._window = window
        self._dirty = False
        self._renew()
        self.use(write, read_base)

    def use(self, write, read_base=None):
        """For the next payload: `write(offset, sector)` gets each 4096 bytes, the last padded with
        0xFF; `read_base(offset, buffer)` fills the buffer from the running image, and without it
        deltas are refused."""
        self.write = write
        self._patch = Patch(read_base) if read_base else None

    async def open(self, fetch, length, size, sha256, base_sha256=None):
        """Reads the header and holds it against the signed metadata: length of the payload,
        size and SHA-256 of the image; base_sha256 is that of the running image, measured.

        `await fetch(offset, buffer)` returns how many bytes it put there, 0 at the end only.
        """
        data = self._sector[: header.SIZE]
        await self._fill(fetch, 0, data)
        self.header = found = header.Header(data)
        if found.length != length or found.size != size or found.sha256 != sha256:
            raise Refused("payload-signed")
        if found.frame > self._frame or found.window > self._window:
            raise Refused("payload-memory")
        if found.kind == header.DELTA and (
            self._patch is None or found.base_sha256 != base_sha256
        ):
            raise Refused("payload-base")
        self.frame = 0
        self._offset = header.SIZE
        self._known = self._known_at = 0  # bytes in `_head`, and where they stand
        if self._patch:
            self._patch.start(size, found.base_size)
        self._saved = self._pack()
        self._clean()

    def done(self):
        """The image is complete, and the payload ended exactly with it."""
        return self.frame == self.header.frames()

    def position(self):
        """Bytes of the image that are written."""
        return min(self.frame * self.header.frame, self.header.size)

    def state(self):
        """29 bytes: where the last complete frame ended. Write it only after its sectors are."""
        return self._saved

    def restore(self, state):
        """Goes on where `state` was taken, perhaps in an earlier life; Refused if not of here."""
        if len(state) != len(self._saved):
            raise Refused("payload-state")
        crc, frame, offset, covers, literal, cover, place, plain = struct.unpack(_STATE, state)
        known = self.header
        ok = crc == known.crc and frame <= known.frames() and offset <= known.length
        if not ok or offset < header.SIZE + frame * _FRAME_HEAD:
            raise Refused("payload-state")
        self.frame = frame
        self._offset = offset
        patch = self._patch
        if patch:
            patch.covers, patch.literal, patch.cover = covers, literal, cover
            patch.place, patch.plain = place, plain
            if not patch.fits(self.position()):
                raise Refused("payload-state")
        self._saved = bytes(state)
        self._clean()

    async def step(self, fetch):
        """Fetches and writes one frame; False once the image is complete.

        Other tasks run while it fetches and after each sector.
        """
        if self._dirty:
            self.restore(self._saved)
        if self.done():
            return False
        packed, raw = await self._load(fetch)
        self._dirty = True
        for _ in self._unpack(packed, raw):
            await asyncio.sleep(0)
        self.frame += 1
        self._offset += _FRAME_HEAD + packed
        self._saved = self._pack()
        self._dirty = False
        return not self.done()

    def _pack(self):
        p = self._patch
        rest = (p.covers, p.literal, p.cover, p.place, p.plain) if p else (0, 0, 0, 0, 0)
        return struct.pack(_STATE, self.header.crc, self.frame, self._offset, *rest)

    async def _fill(self, fetch, offset, view):
        while view:
            count = await fetch(offset, view)
            if not count:
                raise Refused("payload-short")
            offset += count
            view = view[count:]

    async def _load(self, fetch):
        """Puts the frame's packed bytes into memory, with the sector's buffer for a stopover.

        What of the next frame's head comes along is kept, and saves a call.
        """
        offset = self._offset
        head = self._head
        rest = self.header.length - offset - _FRAME_HEAD
        if rest < 0:
            raise Refused("payload-short")
        known = self._known if self._known_at == offset else 0
        await self._fill(fetch, offset + known, head[known:])
        packed, raw, crc = struct.unpack("<HHI", head)
        found = crc32(head[:4])
        last = self.frame + 1 == self.header.frames()
        if packed > raw or packed > self._frame or packed > rest or (last and packed != rest):
            raise Refused("payload-frame", "length")
        self._packed.seek(0)
        if packed < raw:
            self._packed.write(self._tail)
        offset += _FRAME_HEAD
        end = offset + packed
        stop = end + min(_FRAME_HEAD, rest - packed)
        self._known = 0
        while offset < end:
            view = self._sector[: min(stop - offset, header.SECTOR)]
            count = await fetch(offset, view)
            if not count:
                raise Refused("payload-short")
            part = view[: min(count, end - offset)]
            found = crc32(part, found)
            self._packed.write(part)
            offset += count
            self._known = count - len(part)
            head[: self._known] = view[len(part) : count]
        if found != crc:
            raise Refused("payload-frame", "crc")
        self._known_at = end
        return packed, raw

    def _unpack(self, packed, raw):
        """Writes the frame's sectors, a `yield` after each."""
        stored = packed == raw
        self._source = self._packed if stored else self._inflate
        self._packed.seek(0)
        self._left = raw
        start = self.position()
        end = min(start + self.header.frame, self.header.size)
        sector = self._sector
        for at in range(start, end, header.SECTOR):
            count = min(end - at, header.SECTOR)
            out = sector[:count]
            if self.header.kind == header.WHOLE:
                self._take(out)
            else:
                self._patch.fill(self._take, out, at)
            for i in range(count, header.SECTOR):
                sector[i] = 0xFF
            self.write(at, sector)
            yield
        if end == self.header.size and self.header.kind == header.DELTA:
            self._patch.finish(self._take)
        if self._left:
            raise Refused("payload-frame", "long")
        if not stored:
            self._end(len(self._tail) + packed)

    def _clean(self):
        """The next frame starts afresh; its decompressor too, if a step failed."""
        if self._dirty:
            self._renew()
            self._dirty = False

    def _renew(self):
        """A decompressor that stands before a frame, with its window."""
        self._source = self._inflate = None
        gc.collect()
        self._tail = b""
        self._packed.seek(0)
        self._packed.write(_PRIMER)
        self._packed.seek(0)
        self._inflate = deflate.DeflateIO(self._packed, deflate.RAW, self._window)
        self._inflate.read(1)  # only now the window is allocated

    def _take(self, view):
        """Fills the view with the frame's next bytes, unpacked."""
        count = len(view)
        if count > self._left:
            raise Refused("payload-frame", "short")
        self._left -= count
        try:
            found = self._source.readinto(view)
        except (OSError, EOFError):
            raise Refused("payload-deflate")
        if found != count:
            raise Refused("payload-deflate")

    def _end(self, end):
        """The frame's stream ends where it ends. What is left of it is read with the next."""
        rest = end - self._packed.tell()
        if not len(_FLUSH) <= rest <= _TAIL:
            raise Refused("payload-deflate", "end")
        self._tail = self._packed.read(rest)
        if self._tail[-len(_FLUSH) :] != _FLUSH:
            raise Refused("payload-deflate", "end")
