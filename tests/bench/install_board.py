# SPDX-License-Identifier: MIT
# MicroPython has no pathlib:
# ruff: noqa: PTH107, PTH123, SIM115
"""Installs one firmware as the updater does, or writes the same data barely. Runs on MicroPython;
see install.py.

    micropython install_board.py MODE AGENT FOLDER URL OFFER

AGENT is the folder that holds the package, compiled; FOLDER has the running image in "base" and
takes flash and records. OFFER is the offer as JSON, URL the payload's. MODE: bare (a loop of
writeblocks of the image), install (fetch by HTTP, read, write, note progress, hash what flash
holds), work (the same with files in the place of flash: what the board's code itself takes of the
processor, without those files, the sockets and the hash), heap (with the heap in use taken at
each sector). Flash takes the time that a real one does, by sleeping. Answers with a line of JSON.
"""

import asyncio
import gc
import json
import os
import socket
import sys
import time
from hashlib import sha256

MODE, AGENT, FOLDER, URL, OFFER = sys.argv[1:6]
SIMBOARD = __file__.rpartition("/")[0] + "/../../tools/fleetling/simboard"
sys.path[:0] = [AGENT, SIMBOARD]

from chip import chip as chips  # noqa: E402 - the path comes first
from chip import flash as flashes  # noqa: E402
from chip import stock  # noqa: E402
from process.inside import tls_layer  # noqa: E402

tls_layer.provide()

_SECTOR = 4096
_TIMES = 5  # that the work is done: the processor's clock has steps of a millisecond


class Spent:
    """Sleeps for what flash takes, in pieces long enough to be kept to."""

    def __init__(self):
        self.us = self.owed = 0

    def __call__(self, us):
        self.us += us
        self.owed += us
        if self.owed >= 10000:
            start = time.ticks_us()
            time.sleep_us(self.owed)
            self.owed -= time.ticks_diff(time.ticks_us(), start)


def make():
    """(flash, its two app partitions)"""
    rom = flashes.Flash(flashes.FileStore(FOLDER + "/flash", 0x400000))
    stock.furnish(rom)
    clock = stock.Clock()
    chip = chips.Chip(rom, clock.ticks_ms, clock.true_unix)
    chip.power_on()
    for name, module in chip.modules().items():
        sys.modules[name] = module
    partition = chip.modules()["esp32"].Partition
    running, other = partition("ota_0"), partition("ota_1")
    sector = bytearray(_SECTOR)
    number = 0
    with open(FOLDER + "/base", "rb") as file:
        while file.readinto(sector):
            running.writeblocks(number, sector)
            number += 1
    return rom, running, other


class Plain:
    """A partition in a plain file. Counts what is done."""

    def __init__(self, partition, path):
        self.info = partition.info
        self.reads = self.bytes = self.writes = 0
        self._file = open(path, "r+b")

    def writeblocks(self, number, data):
        self.writes += 1
        self._file.seek(number * _SECTOR)
        self._file.write(data)

    def readblocks(self, number, data, offset=0):
        self.reads += 1
        self.bytes += len(data)
        self._file.seek(number * _SECTOR + offset)
        self._file.readinto(data)

    def took(self):
        """Seconds of the processor for as many calls of each kind."""
        reads, writes = self.reads, self.writes
        sector = bytearray(_SECTOR)
        start = time.clock()
        for number in range(writes):
            self.writeblocks(number, sector)
        piece = memoryview(sector)[: self.bytes // (reads or 1)]
        for number in range(reads):
            self.readblocks(number, piece)
        return time.clock() - start


def hashed(size):
    """Seconds of the processor for SHA-256 over so much."""
    found = sha256()
    sector = bytes(_SECTOR)
    start = time.clock()
    for _ in range(size // _SECTOR):
        found.update(sector)
    return time.clock() - start


def received(url, length):
    """Seconds of the processor for sockets: the same file, read by a plain loop."""
    host, path = url.split("/", 3)[2:]
    name, _, port = host.partition(":")
    plain = socket.socket()
    plain.connect(socket.getaddrinfo(name, int(port))[0][-1])
    buffer = memoryview(bytearray(_SECTOR))
    start = time.clock()
    plain.write(f"GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    while length > 0:
        length -= plain.readinto(buffer)
    took = time.clock() - start
    plain.close()
    return took


class Log:
    def warning(self, *words):
        raise ValueError(words)


class Board:
    ticks_ms = staticmethod(time.ticks_ms)
    ticks_diff = staticmethod(time.ticks_diff)

    @staticmethod
    def uptime_s():
        return time.ticks_ms() // 1000


class Site:
    def http(self, deadline_s):
        from agent.link.http import Http, dialer

        return Http(Board, dialer(None), (), deadline_s)


class Wing:
    """What a job is part of; its reports go nowhere."""

    live = None

    class runtime:
        log = Log()
        board = Board

    def __init__(self, order):
        self.order = order

    async def tell(self):
        pass


class Task:
    def alive(self):
        pass

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)


def make_job():
    """The updater's own, as far as those who install use it."""
    from agent.update.job import Job

    order = {"id": "bench", "targets": []}
    job = Job(Wing(order), Task(), order)
    job.site = Site()
    return job


def bare(other, image):
    """Microseconds of a plain loop that writes the image."""
    sector = bytearray(_SECTOR)
    took = 0
    number = 0
    with open(image, "rb") as file:
        while True:
            count = file.readinto(sector)
            if not count:
                break
            for i in range(count, _SECTOR):
                sector[i] = 0xFF
            start = time.ticks_us()
            other.writeblocks(number, sector)
            took += time.ticks_diff(time.ticks_us(), start)
            number += 1
    return took


def used():
    gc.collect()
    return gc.mem_alloc()


def main():
    rom, running, other = make()
    offer = json.loads(OFFER)
    offer["url"] = URL
    spent = rom.spend = Spent()
    if MODE == "bare":
        took = bare(other, FOLDER + "/image")
        return {"us": took, "flash_us": spent.us}
    from agent import facts
    from agent.storage import files
    from agent.update import record

    facts.app_partitions = lambda: (running, other)
    # The records go beside, where littlefs has them on a board.
    record._PROGRESS = FOLDER + "/progress"
    files.remove(record._PROGRESS)
    job = make_job()
    idle = used()
    from agent.update import install_firmware
    from agent.update.payload.reader import Reader

    code = used()
    most = [code]
    if MODE == "heap":
        plain = other.writeblocks
        rom.spend = None

        class Weighed:
            info = other.info
            readblocks = other.readblocks

            def writeblocks(self, number, data):
                most[0] = max(most[0], used())
                plain(number, data)

        weighed = Weighed()
        facts.app_partitions = lambda: (running, weighed)
    read = running, other
    if MODE == "work":
        rom.spend = None
        with open(FOLDER + "/other", "wb") as file:
            file.write(bytes(_SECTOR))  # no image yet
        read = Plain(running, FOLDER + "/base"), Plain(other, FOLDER + "/other")
        facts.app_partitions = lambda: read
    delta = offer if offer["base"] else None
    whole = dict(offer, base=None)
    gc.collect()
    start, cpu = time.ticks_us(), time.clock()
    times = _TIMES if MODE == "work" else 1
    for _ in range(times):
        asyncio.run(install_firmware.install(job, whole, delta, Reader()))
        if MODE == "work":
            record.forget_progress()
            read[1].writeblocks(0, bytes(_SECTOR))  # no image again
    cpu = time.clock() - cpu
    found = {"us": time.ticks_diff(time.ticks_us(), start), "flash_us": spent.us}
    if MODE == "work":
        found["calls"] = (read[0].reads + read[1].reads) / times
        found["bytes"] = (read[0].bytes + read[1].bytes) / times
        found["hashed"] = read[1].bytes / times
        cpu -= read[0].took() + read[1].took()
        for _ in range(times):
            cpu -= hashed(int(found["hashed"])) + received(URL, offer["length"])
        found["cpu_us"] = 1e6 * cpu / times
    found.update({"code": code - idle, "buffers": most[0] - code})
    return found


result = main()
os.remove(FOLDER + "/flash")
print(json.dumps(result))
