# SPDX-License-Identifier: MIT
"""Makes payloads, good and bad, for the reader's tests. Written apart from the host's writer."""

import hashlib
import struct
from binascii import crc32

from agent.errors import Refused

FRAME = 8192
FLUSH = b"\0\0\xff\xff"


class Random:
    """The same numbers on every runtime (xorshift32)."""

    def __init__(self, seed):
        self.now = seed * 2654435761 & 0xFFFFFFFF or 1

    def below(self, limit):
        x = self.now
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self.now = x
        return x % limit

    def bytes(self, count, alphabet=256):
        return bytes(self.below(alphabet) for _ in range(count))


class Bits:
    """Bits into bytes, the lowest first (RFC 1951, 3.1.1)."""

    def __init__(self):
        self.out = bytearray()
        self.held = 0
        self.count = 0

    def put(self, value, count):
        self.held |= value << self.count
        self.count += count
        while self.count >= 8:
            self.out.append(self.held & 0xFF)
            self.held >>= 8
            self.count -= 8

    def code(self, value, count):
        """A Huffman code: its highest bit first."""
        turned = 0
        for i in range(count):
            turned |= (value >> i & 1) << (count - 1 - i)
        self.put(turned, count)

    def symbol(self, value):
        """A literal or length in the fixed code (RFC 1951, 3.2.6)."""
        if value < 144:
            self.code(0x30 + value, 8)
        elif value < 256:
            self.code(0x190 + value - 144, 9)
        elif value < 280:
            self.code(value - 256, 7)
        else:
            self.code(0xC0 + value - 280, 8)


def steps(first, extras):
    """(lowest value, extra bits) of each code."""
    out = []
    for extra in extras:
        out.append((first, extra))
        first += 1 << extra
    return out


LENGTHS = steps(3, [0] * 8 + [e for e in (1, 2, 3, 4, 5) for _ in range(4)])
DISTANCES = steps(1, [0, 0] + [e for e in range(14) for _ in range(2)])


def squeeze(data, window=11):
    """Raw DEFLATE: one block in the fixed code, with the nearest match of three bytes or more,
    and an empty one after it, neither of them the last."""
    bits = Bits()
    bits.put(2, 3)
    seen = {}
    at = 0
    while at < len(data):
        key = bytes(data[at : at + 3])
        back = at - seen.get(key, -99999)
        seen[key] = at
        length = 3
        if back > 1 << window or len(key) < 3:
            bits.symbol(data[at])
            at += 1
            continue
        while (
            length < 257
            and at + length < len(data)
            and data[at + length] == data[at + length - back]
        ):
            length += 1
        for first, codes in ((257, LENGTHS), (None, DISTANCES)):
            value = length if first else back
            i = max(i for i in range(len(codes)) if codes[i][0] <= value)
            if first:
                bits.symbol(first + i)
            else:
                bits.code(i, 5)
            bits.put(value - codes[i][0], codes[i][1])
        at += length
    bits.symbol(256)
    bits.put(0, 3)
    bits.put(0, 7)
    return bytes(bits.out) + FLUSH


def sha256(data):
    return hashlib.sha256(data).digest()


def header(image, payload_length, base=b"", **other):
    """The 88 bytes; `other` replaces single fields."""
    fields = {
        "magic": b"FLPL",
        "version": 1,
        "kind": 1 if base else 0,
        "window": 11,
        "sectors": FRAME // 4096,
        "size": len(image),
        "length": payload_length,
        "sha256": sha256(image),
        "base_size": len(base),
        "base_sha256": sha256(base) if base else bytes(32),
    }
    fields.update(other)
    names = ("magic", "version", "kind", "window", "sectors", "size", "length", "sha256")
    data = struct.pack(
        "<4sBBBBII32sI32s", *[fields[name] for name in names + ("base_size", "base_sha256")]
    )
    return data + struct.pack("<I", other.get("crc", crc32(data)))


def frame(raw, packed=None, size=None):
    """One frame; `packed` and `size` override what would be true."""
    if packed is None:
        packed = squeeze(raw)
        if len(packed) >= len(raw):
            packed = raw
    lengths = struct.pack("<HH", len(packed), len(raw) if size is None else size)
    return lengths + struct.pack("<I", crc32(packed, crc32(lengths))) + packed


def join(frames, image, base=b"", **other):
    body = b"".join(frames)
    return header(image, 88 + len(body), base, **other) + body


def whole(image, **other):
    return join(
        [frame(image[at : at + FRAME]) for at in range(0, len(image), FRAME)], image, **other
    )


def number(value):
    out = bytes([value & 0x7F])
    while value >> 7:
        value >>= 7
        out = bytes([value & 0x7F | 0x80]) + out
    return out


def cover(literals, place, length, added, last):
    """One cover's bytes; `last` is where the cover before ended in the base."""
    distance = place - last
    tag = (0x40 if distance < 0 else 0) | (0 if added else 0x80)
    distance = abs(distance)
    if distance < 32:
        middle = bytes([tag | distance])
    else:
        # Five bits stand in the tag byte; more than those, and all of it follows it.
        middle = bytes([tag | 0x20]) + number(distance)
    return number(length) + middle + number(len(literals)) + literals + added


class Stream:
    """Draws up an HPatchLite stream cover by cover, with the cuts between frames."""

    def __init__(self, base):
        self.base = base
        self.image = b""
        self.covers = []
        self.last = 0

    def add(self, literals, place, length, added=b""):
        self.covers.append((literals, place, length, added))
        old = self.base[place : place + length]
        if added:
            old = bytes((old[i] + added[i]) & 0xFF for i in range(length))
        self.image += literals + old

    def pieces(self, count=None):
        """The raw bytes of each frame."""
        size = len(self.image).to_bytes(3, "little")
        out = b"hI\0\x43" + size + number(len(self.covers) if count is None else count)
        cuts = []
        made = last = 0
        for literals, place, length, added in self.covers:
            head = cover(literals, place, length, added, last)
            start = len(out) + len(head) - len(literals) - len(added)
            for i in range(1, len(literals) + length + 1):
                if (made + i) % FRAME == 0:
                    at = i
                    if i > len(literals):
                        at = len(literals) + (i - len(literals) if added else 0)
                    cuts.append(start + at)
            out += head
            made += len(literals) + length
            last = place + length
        if not cuts or made % FRAME:
            cuts.append(len(out))
        cuts[-1] = len(out)
        return [out[cuts[i - 1] if i else 0 : cuts[i]] for i in range(len(cuts))]


def sample_delta(seed=7, size=40000):
    """(base, image, payload): literals, plain copies and sums across all borders."""
    random = Random(seed)
    base = random.bytes(30000)
    stream = Stream(base)
    while len(stream.image) < size:
        length = 1 + random.below(9000)
        place = random.below(len(base) - length)
        added = random.bytes(length, 3) if random.below(2) else b""
        stream.add(random.bytes(random.below(2) * random.below(600), 20), place, length, added)
    return base, stream.image, join([frame(p) for p in stream.pieces()], stream.image, base)


class World:
    """The flash, the base and the server of a reader, all in memory."""

    def __init__(self, payload, image, base=b""):
        self.payload = payload
        self.image = image
        self.base = base
        self.flash = bytearray((len(image) + 4095) // 4096 * 4096)
        self.writes = []
        self.most = 1 << 20
        self.fetched = 0

    async def fetch(self, offset, buffer):
        count = min(len(buffer), len(self.payload) - offset, self.most)
        if count <= 0:
            return 0
        buffer[:count] = self.payload[offset : offset + count]
        self.fetched += count
        return count

    def write(self, offset, sector):
        assert len(sector) == 4096 and offset % 4096 == 0 and offset < len(self.flash)
        self.writes.append(offset)
        self.flash[offset : offset + 4096] = sector

    def read_base(self, offset, buffer):
        assert 0 <= offset <= len(self.base) - len(buffer)
        buffer[:] = self.base[offset : offset + len(buffer)]

    async def open(self, reader):
        await reader.open(
            self.fetch, len(self.payload), len(self.image), sha256(self.image), sha256(self.base)
        )

    async def read(self, reader):
        """Reads it all; returns None, or the code of the refusal."""
        try:
            await self.open(reader)
            while await reader.step(self.fetch):
                pass
        except Refused as e:
            return e.code
        assert reader.done()
        return None

    def same(self):
        rest = len(self.flash) - len(self.image)
        return self.flash == self.image + b"\xff" * rest
