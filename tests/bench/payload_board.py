# SPDX-License-Identifier: MIT
# MicroPython has no pathlib, and the files stay open to the end:
# ruff: noqa: PTH107, PTH116, PTH123, SIM115
"""Reads one payload with the board's code. Runs on MicroPython; see tests/bench/payload.py.

    micropython payload_board.py MODE AGENT PAYLOAD BASE

AGENT is the folder that holds the package, compiled or not.
MODE: idle (only what any program has), discard (into a hash), live (the same, taking the heap in
use at each sector), native (what DEFLATE and CRC, in machine code, take of the processor), chip
(into the fake chip's slot, and then the same data by a bare loop of writeblocks). BASE is "-" for
a whole image. Answers with one line of JSON.
"""

import asyncio
import gc
import hashlib
import io
import json
import os
import struct
import sys
import time
from binascii import crc32

import deflate

SIMBOARD = __file__.rpartition("/")[0] + "/../../tools/fleetling/simboard"
sys.path[:0] = [sys.argv[2], SIMBOARD]


class Files:
    """The server, the running image and the flash."""

    def __init__(self, payload, base):
        self.path = payload
        self.payload = open(payload, "rb")
        self.length = os.stat(payload)[6]
        self.base = None if base == "-" else open(base, "rb")
        head = self.payload.read(88)
        self.size, _, self.sha256, _, self.base_sha256 = struct.unpack("<II32sI32s", head[8:84])
        self.hash = hashlib.sha256()
        self.most = 0
        self.image = None  # when kept: the slot's content

    async def fetch(self, offset, buffer):
        self.payload.seek(offset)
        return self.payload.readinto(buffer)

    def read_base(self, offset, buffer):
        self.base.seek(offset)
        self.base.readinto(buffer)

    def discard(self, offset, sector):
        rest = self.size - offset
        self.hash.update(sector if rest >= 4096 else sector[:rest])

    def live(self, offset, sector):
        gc.collect()
        self.most = max(self.most, gc.mem_alloc())
        self.discard(offset, sector)


async def read(files, write):
    from agent.update.payload.reader import Reader

    reader = Reader(write, files.read_base if files.base else None)
    await reader.open(files.fetch, files.length, files.size, files.sha256, files.base_sha256)
    start = time.ticks_us()
    while await reader.step(files.fetch):
        pass
    return time.ticks_diff(time.ticks_us(), start)


def discard(files):
    took = asyncio.run(read(files, files.discard))
    return {"ok": files.hash.digest() == files.sha256, "us": took}


def live(files):
    gc.collect()
    idle = gc.mem_alloc()
    import agent.update.payload.reader  # noqa: F401 - to weigh it

    gc.collect()
    code = gc.mem_alloc() - idle
    asyncio.run(read(files, files.live))
    ok = files.hash.digest() == files.sha256
    return {"ok": ok, "code": code, "buffers": files.most - idle - code}


def native(files):
    source = io.BytesIO(bytes(8192))
    source.write(b"\0")
    out = memoryview(bytearray(4096))
    took = 0
    at = 88
    while at < files.length:
        files.payload.seek(at)
        packed, left, _ = struct.unpack("<HHI", files.payload.read(8))
        data = files.payload.read(packed)
        at += 8 + packed
        source.seek(0)
        source.write(data)
        source.seek(0)
        start = time.clock()
        crc32(data)
        if packed < left:
            stream = deflate.DeflateIO(source, deflate.RAW, 11)
            while left:
                left -= stream.readinto(out[: min(left, 4096)])
        took += time.clock() - start
    return {"ok": True, "us": 1e6 * took}


def on_chip(files):
    from chip import flash, stock
    from chip.chip import Chip

    rom = flash.Flash(flash.FileStore(files.path + ".flash", 0x400000))
    stock.furnish(rom)
    clock = stock.Clock()
    chip = Chip(rom, clock.ticks_ms, clock.true_unix)
    chip.power_on()
    slot = chip.modules()["esp32"].Partition("ota_1")
    gc.collect()
    took = asyncio.run(read(files, lambda offset, data: slot.writeblocks(offset // 4096, data)))
    # The same data once more; only the writes are timed.
    sector = bytearray(4096)
    bare = 0
    for number in range((files.size + 4095) // 4096):
        slot.readblocks(number, sector)
        files.discard(number * 4096, sector)
        start = time.ticks_us()
        slot.writeblocks(number, sector)
        bare += time.ticks_diff(time.ticks_us(), start)
    os.remove(files.path + ".flash")
    return {"ok": files.hash.digest() == files.sha256, "us": took, "bare_us": bare}


def main(mode, _agent, payload, base):
    if mode == "idle":
        return {"ok": True}
    return {"discard": discard, "live": live, "native": native, "chip": on_chip}[mode](
        Files(payload, base)
    )


print(json.dumps(main(*sys.argv[1:])))
