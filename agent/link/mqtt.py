# SPDX-License-Identifier: MIT
"""MQTT 3.1.1 client on a pair of asyncio streams: QoS 0 and 1, retained, last will, keep-alive.

Invariants:
- one receive buffer, made once and used over all connections; what does not fit it is read past
  and reported, never stored;
- every wait has a bound; every failure is a LinkError with a code, or, before the log-in is
  answered, whatever TLS raised;
- a packet goes out whole, or nothing goes out after it;
- a message with QoS 1 is acknowledged once `on_message` has seen it, taken or not: over a clean
  session none comes again; `publish` with QoS 1 returns once the broker has it.

Here is what a quiet connection needs. `login` gets one and ends it, `arrivals` reads what is not
the answer to a ping; both use the names without an underscore. Reconnecting is the caller's
matter. Section numbers are those of the OASIS standard.
"""

import asyncio

from micropython import const

from agent.errors import LinkError
from agent.link import packets

_PIECE = const(512)  # bytes asked for at a time, so that a flood leaves the loop its turns
_PING_MS = const(450)  # for each second of the keep-alive: twice a period, early rather than late
_PINGRESP = const(0xD0)
_TURN = const(4)  # packets after which the reader lets others run, even if more are there


class Mqtt:
    """`on_message(topic, memoryview)` is called for each message, `on_oversize(topic, size)` for
    each that was too large (topic None: that was); both must return soon, and copy what they
    keep."""

    def __init__(self, ticks_ms, ticks_diff, on_message, on_oversize=None):
        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self.on_message = on_message
        self.on_oversize = on_oversize
        self.buffer = memoryview(bytearray(packets.LONGEST_PAYLOAD))
        self.waiting = {}  # packet id -> [size of the answer, event, error], one per answer due
        self.last_id = self.issued = 0
        self.writer = None
        self._timeout_s = 1
        self._lock = asyncio.Lock()
        self._error = LinkError("mqtt-closed")  # why there is no connection
        self.bytes_in = self.bytes_out = 0

    def use(self, reader, writer, keepalive_s, timeout_s):
        """Begins a connection; the log-in is still to come."""
        self.fail(LinkError("mqtt-closed"))  # whoever waits on an earlier connection
        self._lock = asyncio.Lock()  # a new one, so that who waited for the old one can tell
        self._reader = reader
        self.writer = writer
        self._timeout_s = timeout_s
        self._ping_ms = keepalive_s * _PING_MS
        self._pinged = None
        self.in_log_in = True
        self._error = None

    async def publish(self, topic, payload, qos=0, retain=False):
        """Sends a message; with QoS 1 returns when the broker has acknowledged it.

        Refused("mqtt-too-long") before anything is sent; needs `run` to be running for QoS 1.
        """
        number = self.number() if qos else 0
        data = packets.publish(topic, payload, qos, retain, number)
        if qos:
            await self.ask(data, number, 2)
        else:
            await self.bound(self.send(data), "write")

    async def run(self):
        """Reads what comes until the link fails, which it raises."""
        error = LinkError("mqtt-closed")  # also when this task is cancelled
        try:
            while True:
                for _ in range(_TURN):
                    head, size = await self.head()
                    if head == _PINGRESP and not size:
                        self._pinged = None
                    else:
                        await self._take(head, size)
                await asyncio.sleep(0)
        except LinkError as e:
            error = e
            raise
        finally:
            self.fail(error)

    async def _take(self, head, size):
        from agent.link import arrivals  # stays until the session's next look

        await arrivals.take(self, head, size)

    def keep_alive(self):
        """To be called every now and then while `run` runs: pings, and misses the answer
        (3.1.2.10).

        A silent link is noticed within half a keep-alive period and the answer's time-out, even
        if this end has much to say.
        """
        self._check()
        now = self._ticks_ms()
        if self._pinged is not None:
            if self._ticks_diff(now, self._pinged) > self._timeout_s * 1000:
                raise LinkError("mqtt-timeout", "ping")
        elif self._ping_ms and (
            self._ticks_diff(now, self._sent) >= self._ping_ms
            or self._ticks_diff(now, self._heard) >= self._ping_ms
        ):
            if not self._lock.locked():  # else one is writing, and within a bound
                self._ping(now)

    def _ping(self, now):
        """Two bytes, for which nobody waits: if they do not get through, no answer comes."""
        self._pinged = self._sent = now
        self.bytes_out += len(packets.PINGREQ)
        try:
            self.writer.write(packets.PINGREQ)
        except (OSError, ValueError) as e:
            self.fail(self._broken(e))
            self._check()

    # --- failing

    def fail(self, error):
        """Ends the connection: nothing more is sent, and whoever waits for an answer is told."""
        self._error = self._error or error
        for entry in self.waiting.values():
            entry[2] = self._error
            entry[1].set()

    def _check(self):
        if self._error:
            raise LinkError(self._error.code, self._error.detail)

    def _broken(self, e):
        """What a stream's exception means: TLS's own until the log-in is answered."""
        return e if self.in_log_in else LinkError("mqtt-closed", str(e.args[0] if e.args else ""))

    async def bound(self, work, what):
        try:
            await asyncio.wait_for(work, self._timeout_s)
        except asyncio.TimeoutError:
            raise LinkError("mqtt-timeout", what)

    # --- sending

    def number(self):
        """A packet identifier that is not in use (2.3.1)."""
        self.issued += 1
        while True:
            self.last_id = self.last_id % 0xFFFF + 1
            if self.last_id not in self.waiting:
                return self.last_id

    async def send(self, data):
        """Writes one packet. The caller bounds it; the reader need not, as the ping does."""
        lock = self._lock
        async with lock:
            if lock is not self._lock:  # the connection that this was meant for is gone
                raise LinkError("mqtt-closed")
            self._check()
            whole = False
            try:
                self.writer.write(data)
                await self.writer.drain()
                whole = True
            except (OSError, ValueError) as e:
                raise self._broken(e)
            finally:
                if not whole and lock is self._lock:
                    self.fail(LinkError("mqtt-closed", "write"))
            self.bytes_out += len(data)
            self._sent = self._ticks_ms()

    async def ask(self, data, number, size):
        """Sends packet `number` and waits for its answer of `size` bytes."""
        self.waiting[number] = entry = [size, asyncio.Event(), None]
        try:
            await self.bound(self._send_and_wait(data, entry[1]), "answer")
        finally:
            self.waiting.pop(number, None)
        if entry[2]:
            raise LinkError(entry[2].code, entry[2].detail)

    async def _send_and_wait(self, data, event):
        await self.send(data)
        await event.wait()

    # --- receiving

    async def piece(self, count):
        """At least one of the next `count` bytes."""
        try:
            data = await self._reader.read(min(_PIECE, count))
            if not data:
                raise EOFError()
        except (OSError, EOFError, ValueError) as e:
            raise self._broken(e)
        self.bytes_in += len(data)
        return data

    async def fill(self, count):
        """Reads the next `count` bytes to the start of the buffer."""
        start = 0
        while start < count:
            data = await self.piece(count - start)
            self.buffer[start : start + len(data)] = data
            start += len(data)

    async def head(self):
        """Reads a fixed header (2.2): (its first byte, remaining length)."""
        await self.fill(2)
        head = self.buffer[0]
        byte = self.buffer[1]
        size = byte & 0x7F
        shift = 7
        while byte > 0x7F:
            if shift > 21:  # four bytes at most (2.2.3)
                raise packets.malformed("length")
            await self.fill(1)
            byte = self.buffer[0]
            size |= (byte & 0x7F) << shift
            shift += 7
        self._heard = self._ticks_ms()
        return head, size
