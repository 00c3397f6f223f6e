# SPDX-License-Identifier: MIT
"""MQTT 3.1.1 client on a pair of asyncio streams: QoS 0 and 1, retained, last will, keep-alive.

Invariants:
- one receive buffer, made once and used over all connections; what does not fit it is read past
  and reported, never stored;
- every wait has a bound; every failure is a LinkError with a code, or, before the log-in is
  answered, whatever TLS raised;
- a message with QoS 1 is acknowledged after its handler has taken it, so that what was not taken
  comes again; `publish` with QoS 1 returns once the broker has it.

Reconnecting is the caller's matter. Section numbers are those of the OASIS standard.
"""

import asyncio

from micropython import const

from agent.errors import LinkError
from agent.link import packets

_PIECE = const(512)  # bytes asked for at a time, so that a flood leaves the loop its turns
_PINGS = const(2)  # pings within one keep-alive period
_TURN = const(4)  # packets after which the reader lets others run, even if more are there


class Mqtt:
    """`on_message(topic, memoryview)` is called for each message, `on_oversize(topic, size)` for
    each that was too large; both must return soon, and copy what they keep."""

    def __init__(self, ticks_ms, ticks_diff, on_message, on_oversize):
        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self._on_message = on_message
        self._on_oversize = on_oversize
        self._buffer = memoryview(bytearray(packets.LONGEST_TOPIC + 4 + packets.LONGEST_PAYLOAD))
        self._lock = asyncio.Lock()
        self._news = asyncio.Event()
        self._waiting = {}  # packet id -> kind of the answer that is due
        self._last_id = 0
        self._error = None
        self.bytes_in = 0
        self.bytes_out = 0

    async def connect(self, reader, writer, client_id, keepalive_s=60, will=None, timeout_s=20):
        """Logs in (3.1, 3.2); LinkError("mqtt-refused", CONNACK code) when the server declines."""
        self._reader = reader
        self._writer = writer
        self._timeout_ms = timeout_s * 1000
        self._ping_ms = keepalive_s * 1000 // _PINGS
        self._waiting.clear()
        self._error = None
        self._pinged = None
        await self._send(packets.connect(client_id, keepalive_s, will))
        try:
            kind, _ = await asyncio.wait_for(self._next(), timeout_s)
        except asyncio.TimeoutError:
            raise LinkError("mqtt-timeout", "log-in")
        if kind != packets.CONNACK:
            raise packets.malformed("no CONNACK")
        if self._buffer[0] & 0xFE:
            raise packets.malformed("CONNACK flags")
        if self._buffer[1]:
            raise LinkError("mqtt-refused", str(self._buffer[1]))

    async def disconnect(self):
        """Takes leave (3.14): the last will is not sent."""
        await self._send(packets.DISCONNECT)

    async def publish(self, topic, payload, qos=0, retain=False):
        """Sends a message; with QoS 1 returns when the broker has acknowledged it."""
        number = self._number(packets.PUBACK) if qos else 0
        try:
            await self._send(packets.publish(topic, payload, qos, retain, number))
            if qos:
                await self._answer(number)
        finally:
            self._waiting.pop(number, None)

    async def subscribe(self, topics):
        """Subscribes to [(topic, qos), ...]; needs `run` to be running."""
        number = self._number(packets.SUBACK)
        try:
            await self._send(packets.subscribe(topics, number))
            await self._answer(number)
        finally:
            self._waiting.pop(number, None)

    async def run(self):
        """Reads what comes until the link fails, which it raises."""
        try:
            count = 0
            while True:
                kind, size = await self._next()
                await self._take(kind, size)
                count += 1
                if count % _TURN == 0:
                    await asyncio.sleep(0)
        except LinkError as e:
            self._fail(e)
        except (OSError, EOFError, ValueError) as e:
            self._fail(LinkError("mqtt-closed", str(e.args[0] if e.args else "")))

    def _fail(self, error):
        self._error = error
        self._news.set()
        raise error

    async def keep_alive(self):
        """To be called every now and then while `run` runs: pings, and misses the answer
        (3.1.2.10).

        A silent link is noticed within one keep-alive period and the answer's time-out.
        """
        now = self._ticks_ms()
        if self._pinged is not None:
            if self._ticks_diff(now, self._pinged) > self._timeout_ms:
                raise LinkError("mqtt-timeout", "ping")
        elif self._ticks_diff(now, self._sent) >= self._ping_ms:
            self._pinged = now
            await self._send(packets.PINGREQ)

    # --- sending

    def _number(self, kind):
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._waiting:
                self._waiting[self._last_id] = kind
                return self._last_id

    async def _send(self, data):
        async with self._lock:
            self._writer.write(data)
            try:
                await asyncio.wait_for(self._writer.drain(), self._timeout_ms / 1000)
            except asyncio.TimeoutError:
                raise LinkError("mqtt-timeout", "write")
        self.bytes_out += len(data)
        self._sent = self._ticks_ms()

    async def _answer(self, number):
        """Waits for the answer to packet `number`."""
        started = self._ticks_ms()
        while number in self._waiting:
            if self._error:
                raise self._error
            left_ms = self._timeout_ms - self._ticks_diff(self._ticks_ms(), started)
            try:
                self._news.clear()
                await asyncio.wait_for(self._news.wait(), max(left_ms, 0) / 1000)
            except asyncio.TimeoutError:
                raise LinkError("mqtt-timeout", "answer")

    # --- receiving

    async def _byte(self):
        data = await self._reader.readexactly(1)
        self.bytes_in += 1
        return data[0]

    async def _next(self):
        """Reads one packet; its body is in the buffer. (type, size)"""
        while True:
            head = await self._byte()
            size = shift = 0
            while True:
                byte = await self._byte()
                size |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
                if shift > 21:
                    raise packets.malformed("length")
            kind = packets.check_head(head, size)
            self._head = head
            if size <= len(self._buffer):
                await self._fill(0, size)
                return kind, size
            await self._pass_over(size)

    async def _fill(self, start, end):
        while start < end:
            data = await self._reader.read(min(_PIECE, end - start))
            if not data:
                raise EOFError()
            self._buffer[start : start + len(data)] = data
            start += len(data)
            self.bytes_in += len(data)

    async def _pass_over(self, size):
        """Reads a message that does not fit, keeping its topic and identifier only."""
        kept = len(self._buffer)
        await self._fill(0, kept)
        topic, number, start = self._parse(size)
        left = size - kept
        while left:
            data = await self._reader.read(min(_PIECE, left))
            if not data:
                raise EOFError()
            left -= len(data)
            self.bytes_in += len(data)
        await self._oversize(topic, size - start, number)

    async def _oversize(self, topic, size, number):
        self._on_oversize(topic, size)
        if number:
            await self._send(packets.puback(number))

    def _parse(self, size):
        """(topic or None when it is too long, packet id or 0, where the payload starts)."""
        data = self._buffer
        if size < 2:
            raise packets.malformed("publish")
        end = 2 + (data[0] << 8 | data[1])
        start = end + 2 if self._head & 0x06 else end
        if start > size:
            raise packets.malformed("publish")
        if start > packets.LONGEST_TOPIC + 4:
            # A topic that long is none of ours. Its identifier is out of reach only when the whole
            # does not fit the buffer; then the broker sends it again, once, to the next session.
            number = packets.packet_id(data[end:start]) if start > end and start < len(data) else 0
            return None, number, start
        number = packets.packet_id(data[end:start]) if start > end else 0
        return packets.check_topic(data[2:end]), number, start

    async def _take(self, kind, size):
        if kind == packets.PUBLISH:
            topic, number, start = self._parse(size)
            if topic is None or size - start > packets.LONGEST_PAYLOAD:
                await self._oversize(topic, size - start, number)
                return
            self._on_message(topic, self._buffer[start:size])
            if number:
                await self._send(packets.puback(number))
        elif kind == packets.PINGRESP:
            self._pinged = None
        elif kind == packets.CONNACK:
            raise packets.malformed("second CONNACK")
        else:
            number = packets.packet_id(self._buffer)
            expected = self._waiting.get(number)
            if expected is None:
                return  # whoever waited for it has given up
            if expected != kind:
                raise packets.malformed("wrong answer")
            if kind == packets.SUBACK:
                for index in range(2, size):
                    if self._buffer[index] > 1:  # 0x80: the server refuses (3.9.3)
                        raise LinkError("mqtt-refused", "subscribe")
            del self._waiting[number]
            self._news.set()
