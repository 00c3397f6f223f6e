# SPDX-License-Identifier: MIT
"""The other end of an MQTT connection, in memory: what a test scripts, and what the client
said."""

import asyncio

from agent.link import login
from agent.link.mqtt import Mqtt

CONNACK = b"\x20\x02\x00\x00"


class Reader:
    """An asyncio stream that a test feeds. `piece` is the most that one read gives."""

    def __init__(self):
        self.piece = 65536
        self.error = None  # what a read raises
        self._data = b""
        self._ended = False
        self._news = asyncio.Event()

    def feed(self, data):
        self._data += data
        self._news.set()

    def end(self):
        self._ended = True
        self._news.set()

    async def read(self, count):
        while not self._data and not self._ended:
            self._news.clear()
            await self._news.wait()
        if self.error:
            raise self.error
        count = min(count, self.piece)
        data = self._data[:count]
        self._data = self._data[count:]
        return data


class Writer:
    def __init__(self):
        self.data = b""
        self.error = None  # what drain raises
        self.stalled = False  # drain does not end
        self.answer = None  # called with each write
        self.closed = False

    def write(self, data):
        self.data += bytes(data)
        if self.answer:
            self.answer(bytes(data))

    async def drain(self):
        if self.error:
            raise self.error
        await asyncio.sleep(0)
        while self.stalled:
            await asyncio.sleep(0.01)

    def close(self):
        self.closed = True

    async def wait_closed(self):
        if self.error:
            raise self.error


class Peer:
    """A client, connected to a test. `messages` and `oversize` are what its callbacks got."""

    def __init__(self):
        self.ms = 0
        self.messages = []
        self.oversize = []
        self.client = Mqtt(lambda: self.ms, lambda a, b: a - b, self._message, self._oversize)
        self.reader = Reader()
        self.writer = Writer()
        self.running = None

    def _message(self, topic, payload):
        self.messages.append((topic, bytes(payload)))

    def _oversize(self, topic, size):
        self.oversize.append((topic, size))

    async def connect(self, answer=CONNACK, **options):
        self.reader.feed(answer)
        await login.log_in(self.client, self.reader, self.writer, "dev-1", **options)
        self.writer.data = b""

    def run(self):
        self.running = asyncio.create_task(self.client.run())

    async def settle(self):
        for _ in range(30):
            await asyncio.sleep(0)

    async def until(self, condition):
        for _ in range(2000):
            if condition():
                return await self.settle()
            await asyncio.sleep(0)
        raise AssertionError("did not happen")

    def forget(self):
        self.messages.clear()
        self.oversize.clear()
        self.writer.data = b""

    async def stop(self):
        self.running.cancel()
        try:
            await self.running
        except asyncio.CancelledError:
            pass


def publish(topic, payload, qos=0, packet_id=1, flags=0):
    """A PUBLISH as a broker sends it."""
    body = len(topic).to_bytes(2, "big") + topic
    if qos:
        body += packet_id.to_bytes(2, "big")
    body += payload
    return bytes((0x30 | qos << 1 | flags,)) + length(len(body)) + body


def length(size):
    data = b""
    while True:
        byte = size & 0x7F
        size >>= 7
        data += bytes((byte | (0x80 if size else 0),))
        if not size:
            return data
