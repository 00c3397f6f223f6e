# SPDX-License-Identifier: MIT
"""A server made of scripts: each connection is a list of what it sends, with a clock to turn."""

import asyncio

from agent.errors import LinkError


class Ticks:
    """The board's clock, moved by the script."""

    def __init__(self):
        self.now = 1 << 29

    def ticks_ms(self):
        return self.now

    def ticks_diff(self, a, b):
        return a - b


class Connection:
    """One connection: reader and writer in one. Steps are bytes, milliseconds to let go by, an
    exception to raise, or None for a wait that nobody should last out; after the last one it is
    closed."""

    def __init__(self, ticks, steps):
        self.ticks = ticks
        self.steps = list(steps)
        self.sent = b""
        self.closed = False

    async def readinto(self, buffer):
        while self.steps:
            step = self.steps[0]
            if isinstance(step, bytes):
                if not step:
                    self.steps.pop(0)
                    continue
                count = min(len(step), len(buffer))
                buffer[:count] = step[:count]
                self.steps[0] = step[count:]
                return count
            if step is None:
                for _ in range(500):
                    await asyncio.sleep(0.01)
                    self.ticks.now += 10
                raise AssertionError("still waited for")
            self.steps.pop(0)
            if isinstance(step, int):
                self.ticks.now += step
            else:
                raise step
        return 0

    def write(self, data):
        assert not self.closed
        self.sent += data

    async def drain(self):
        pass

    def close(self):
        self.closed = True

    async def wait_closed(self):
        pass


class Server:
    """`scripts`: the steps of each connection, in their order. It notes who dialled where."""

    def __init__(self, *scripts):
        self.ticks = Ticks()
        self.scripts = list(scripts)
        self.dialled = []
        self.connections = []

    async def dial(self, host, port, secure):
        self.dialled.append((host, port, secure))
        connection = Connection(self.ticks, self.scripts.pop(0))
        self.connections.append(connection)
        return connection, connection

    def requests(self):
        return b"".join(c.sent for c in self.connections)


def answer(body=b"", *headers, status=b"200 OK", length=None):
    lines = [b"HTTP/1.1 " + status]
    if length is None:
        length = len(body)
    if length >= 0:
        lines.append(b"Content-Length: " + str(length).encode())
    return b"\r\n".join(lines + list(headers)) + b"\r\n\r\n" + body


async def refused(call):
    """The code of the LinkError that the call must end with."""
    try:
        await call
    except LinkError as e:
        return e.code
    raise AssertionError("no LinkError")
