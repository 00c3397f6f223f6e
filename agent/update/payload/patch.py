# SPDX-License-Identifier: MIT
"""Applies an HPatchLite stream piece by piece, with all that it remembers in six integers.

The stream (HDiffPatch's "lite" format, version 1, not compressed by itself) is: "hI", the
compression type 0, a byte with the version and two length lengths, the new size; then the number
of covers, and for each cover its length, its place in the base, the count of literal bytes that
come before it, those literals, and, unless it is a plain copy, one byte for each of its bytes to
add to the base's.

Invariants: every place and length is checked against what is left of base and image before it is
used; integers stay below 2**28; a piece of output never takes more of the stream than the frame
holds, because `take` refuses that.
"""

from micropython import const

from agent.errors import Refused
from agent.update.payload.add import add

_ADD = const(1024)  # bytes of the base held at a time
_UNREAD = const(-1)


class Patch:
    def __init__(self, read_base):
        """`read_base(offset, buffer)` fills the buffer from the base."""
        self._read_base = read_base
        self._old = memoryview(bytearray(_ADD))
        self._one = bytearray(1)

    def start(self, size, base_size):
        self._size = size
        self._base_size = base_size
        self.covers = _UNREAD  # covers whose head has not been read
        self.literal = 0  # bytes left to take from the stream as they are
        self.cover = 0  # bytes left of the cover
        self.place = 0  # in the base: the cover's next byte, or the end of the one before
        self.plain = 0  # 1 when the cover has no bytes to add

    def fits(self, position):
        """Whether the six integers, which came from storage, can be true at this position."""
        rest = self._size - position
        return (
            _UNREAD <= self.covers <= self._size
            and 0 <= self.literal <= rest
            and 0 <= self.cover <= rest - self.literal
            and 0 <= self.place <= self._base_size - self.cover
        )

    def fill(self, take, out, position):
        """Makes the next len(out) bytes of the image, of which `position` exist already."""
        if self.covers == _UNREAD:
            self._head(take)
        done = 0
        count = len(out)
        while done < count:
            if self.literal:
                step = min(self.literal, count - done)
                take(out[done : done + step])
                self.literal -= step
            elif self.cover:
                step = self._copy(take, out[done:])
                self.cover -= step
                self.place += step
            else:
                self._next(take, self._size - position - done)
                continue
            done += step

    def finish(self, take):
        """The image is complete: nothing may be left but a last, empty cover."""
        if self.covers > 0:
            self._next(take, 0)
        if self.covers or self.literal or self.cover:
            raise Refused("payload-patch", "left over")

    def _copy(self, take, out):
        if self.plain:
            step = min(self.cover, len(out))
            self._read_base(self.place, out[:step])
        else:
            step = min(self.cover, len(out), _ADD)
            take(out[:step])
            self._read_base(self.place, self._old[:step])
            add(out, self._old, step)
        return step

    def _head(self, take):
        head = bytearray(4)
        take(head)
        sizes = head[3]
        if head[:3] != b"hI\0" or sizes >> 3 != 8 or sizes & 7 > 4:
            raise Refused("payload-patch", "head")
        size = bytearray(sizes & 7)
        take(size)
        if int.from_bytes(size, "little") != self._size:
            raise Refused("payload-patch", "size")
        self.covers = self._number(take, 0, 1)

    def _next(self, take, room):
        """Reads a cover's head; `room` bytes of the image are still missing."""
        if self.covers <= 0:
            raise Refused("payload-patch", "short")
        self.covers -= 1
        length = self._number(take, 0, 1)
        take(self._one)
        tag = self._one[0]
        distance = self._number(take, tag & 0x1F, tag & 0x20)
        place = self.place - distance if tag & 0x40 else self.place + distance
        literal = self._number(take, 0, 1)
        if literal + length > room or place < 0 or place + length > self._base_size:
            raise Refused("payload-patch", "range")
        if not length and self.covers:
            raise Refused("payload-patch", "empty")
        self.plain = tag >> 7
        self.literal = literal
        self.cover = length
        self.place = place

    def _number(self, take, value, more):
        """Seven bits a byte, the highest first; the top bit says that another byte follows."""
        while more:
            if value >> 21:
                raise Refused("payload-patch", "number")
            take(self._one)
            value = value << 7 | self._one[0] & 0x7F
            more = self._one[0] & 0x80
        return value
