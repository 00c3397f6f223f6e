# SPDX-License-Identifier: MIT
"""MQTT 3.1.1 client on a pair of asyncio streams: QoS 0 and 1, retained, last will, keep-alive.

Invariants:
- one receive buffer, made once and used over all connections; what does not fit it is read past
  and reported, never stored;
- every wait has a bound; every failure is a LinkError with a code, or, before the log-in is
  answered, whatever TLS raised;
- a packet goes out whole, or nothing goes out after it;
- a message with QoS 1 is acknowledged after its handler has taken it, so that what was not taken
  comes again; `publish` with QoS 1 returns once the broker has it.

Reconnecting is the caller's matter. Section numbers are those of the OASIS standard.
"""

import asyncio

from micropython import const

from agent.errors import LinkError
from agent.link import packets

_PIECE = const(512)  # bytes asked for at a time, so that a flood leaves the loop its turns
_CLOSE_S = const(5)
_PINGS = const(2)  # pings within one keep-alive period
_TURN = const(4)  # packets after which the reader lets others run, even if more are there


class Mqtt:
    """`on_message(topic, memoryview)` is called for each message, `on_oversize(topic, size)` for
    each that was too large (topic None: that was); both must return soon, and copy what they
    keep."""

    def __init__(self, ticks_ms, ticks_diff, on_message, on_oversize=None):
        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self._on_message = on_message
        self._on_oversize = on_oversize
        self._buffer = memoryview(bytearray(packets.LONGEST_PAYLOAD))
        self._waiting = {}  # packet id -> [size of the answer, event, error], one per answer due
        self._last_id = self._issued = 0
        self._timeout_s = 1
        self._lock = asyncio.Lock()
        self._error = LinkError("mqtt-closed")  # why there is no connection
        self._writer = None
        self.bytes_in = self.bytes_out = 0

    async def connect(
        self, reader, writer, client_id, keepalive_s=60, will=None, timeout_s=20, login=None
    ):
        """Logs in (3.1, 3.2); LinkError("mqtt-refused", CONNACK code) when the server declines.

        `will` is (topic, payload, retain), `login` (user, password or None). OSError, EOFError and
        ValueError of the TLS handshake, which runs in here, are let through.
        """
        self._fail(LinkError("mqtt-closed"))  # whoever waits on an earlier connection
        self._lock = asyncio.Lock()  # a new one, so that who waited for the old one can tell
        self._reader = reader
        self._writer = writer
        self._timeout_s = timeout_s
        self._ping_ms = keepalive_s * 1000 // _PINGS
        self._pinged = None
        self._in_log_in = True
        self._error = None
        from agent.link.login import connect

        data = connect(client_id, keepalive_s, will, login)
        await self._bound(self._log_in(data), "log-in")
        self._in_log_in = False

    async def _log_in(self, data):
        await self._send(data)
        kind, _ = await self._head()
        if kind != packets.CONNACK:
            raise packets.malformed("no CONNACK")
        await self._fill(2)
        if self._buffer[0] & 0xFE:
            raise packets.malformed("CONNACK flags")
        if self._buffer[1]:
            raise LinkError("mqtt-refused", str(self._buffer[1]))

    async def close(self):
        """Closes the connection, if there is one."""
        self._fail(LinkError("mqtt-closed"))
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
            await asyncio.wait_for(writer.wait_closed(), _CLOSE_S)
        except (OSError, asyncio.TimeoutError):
            pass  # the socket is gone either way

    async def disconnect(self):
        """Takes leave (3.14): the last will is not sent."""
        await self._bound(self._send(packets.DISCONNECT), "write")

    async def publish(self, topic, payload, qos=0, retain=False):
        """Sends a message; with QoS 1 returns when the broker has acknowledged it.

        Refused("mqtt-too-long") before anything is sent; needs `run` to be running for QoS 1.
        """
        number = self._number() if qos else 0
        data = packets.publish(topic, payload, qos, retain, number)
        if qos:
            await self._ask(data, number, 2)
        else:
            await self._bound(self._send(data), "write")

    async def subscribe(self, topics):
        """Subscribes to [(topic, qos), ...]; needs `run` to be running."""
        number = self._number()
        await self._ask(packets.subscribe(topics, number), number, 2 + len(topics))

    async def run(self):
        """Reads what comes until the link fails, which it raises."""
        error = LinkError("mqtt-closed")  # also when this task is cancelled
        try:
            while True:
                for _ in range(_TURN):
                    kind, size = await self._head()
                    await self._take(kind, size)
                await asyncio.sleep(0)
        except LinkError as e:
            error = e
            raise
        finally:
            self._fail(error)

    async def keep_alive(self):
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
            self._pinged = now
            await self._bound(self._send(packets.PINGREQ), "write")

    # --- failing

    def _fail(self, error):
        """Ends the connection: nothing more is sent, and whoever waits for an answer is told."""
        self._error = self._error or error
        for entry in self._waiting.values():
            entry[2] = self._error
            entry[1].set()

    def _check(self):
        if self._error:
            raise LinkError(self._error.code, self._error.detail)

    def _broken(self, e):
        """What a stream's exception means: TLS's own until the log-in is answered."""
        return e if self._in_log_in else LinkError("mqtt-closed", str(e.args[0] if e.args else ""))

    async def _bound(self, work, what):
        try:
            await asyncio.wait_for(work, self._timeout_s)
        except asyncio.TimeoutError:
            raise LinkError("mqtt-timeout", what)

    # --- sending

    def _number(self):
        """A packet identifier that is not in use (2.3.1)."""
        self._issued += 1
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._waiting:
                return self._last_id

    async def _send(self, data):
        """Writes one packet. The caller bounds it; the reader need not, as the ping does."""
        lock = self._lock
        async with lock:
            if lock is not self._lock:  # the connection that this was meant for is gone
                raise LinkError("mqtt-closed")
            self._check()
            whole = False
            try:
                self._writer.write(data)
                await self._writer.drain()
                whole = True
            except (OSError, ValueError) as e:
                raise self._broken(e)
            finally:
                if not whole and lock is self._lock:
                    self._fail(LinkError("mqtt-closed", "write"))
            self.bytes_out += len(data)
            self._sent = self._ticks_ms()

    async def _ask(self, data, number, size):
        """Sends packet `number` and waits for its answer of `size` bytes."""
        self._waiting[number] = entry = [size, asyncio.Event(), None]
        try:
            await self._bound(self._send_and_wait(data, entry[1]), "answer")
        finally:
            self._waiting.pop(number, None)
        if entry[2]:
            raise LinkError(entry[2].code, entry[2].detail)

    async def _send_and_wait(self, data, event):
        await self._send(data)
        await event.wait()

    # --- receiving

    async def _piece(self, count):
        """At least one of the next `count` bytes."""
        try:
            data = await self._reader.read(min(_PIECE, count))
            if not data:
                raise EOFError()
        except (OSError, EOFError, ValueError) as e:
            raise self._broken(e)
        self.bytes_in += len(data)
        return data

    async def _fill(self, count):
        """Reads the next `count` bytes to the start of the buffer."""
        start = 0
        while start < count:
            data = await self._piece(count - start)
            self._buffer[start : start + len(data)] = data
            start += len(data)

    async def _pass_over(self, count):
        while count:
            count -= len(await self._piece(count))

    async def _head(self):
        """Reads a fixed header (2.2): (type, remaining length)."""
        await self._fill(2)
        head = self._buffer[0]
        byte = self._buffer[1]
        size = byte & 0x7F
        shift = 7
        while byte > 0x7F:
            if shift > 21:  # four bytes at most (2.2.3)
                raise packets.malformed("length")
            await self._fill(1)
            byte = self._buffer[0]
            size |= (byte & 0x7F) << shift
            shift += 7
        self._qos = head & 0x06
        self._heard = self._ticks_ms()
        return packets.check_head(head, size), size

    async def _take(self, kind, size):
        if kind == packets.PUBLISH:
            await self._take_message(size)
        elif kind == packets.PINGRESP:
            self._pinged = None
        elif kind == packets.CONNACK:
            raise packets.malformed("second CONNACK")
        else:
            await self._fill(size)
            self._take_answer(size)

    async def _take_message(self, size):
        """PUBLISH (3.3). Each part is read to the start of the buffer, over the one before."""
        data = self._buffer
        await self._fill(2)
        topic_size = data[0] << 8 | data[1]
        size -= 2 + topic_size + (2 if self._qos else 0)
        if size < 0:
            raise packets.malformed("publish")
        topic = None
        if topic_size <= packets.LONGEST_TOPIC:
            await self._fill(topic_size)
            topic = packets.check_topic(data[:topic_size])
        else:
            await self._pass_over(topic_size)
        number = 0
        if self._qos:
            await self._fill(2)
            number = packets.packet_id(data)
        if topic and size <= len(data):
            await self._fill(size)
            self._on_message(topic, data[:size])
        else:
            await self._pass_over(size)
            if self._on_oversize:
                self._on_oversize(topic, size)
        if number:
            await self._send(packets.puback(number))

    def _take_answer(self, size):
        """PUBACK (3.4) or SUBACK (3.9), which differ in size."""
        number = packets.packet_id(self._buffer)
        if (self._last_id - number) % 0xFFFF >= self._issued:
            raise packets.malformed("unknown packet id")
        entry = self._waiting.get(number)
        if entry is None:
            return  # whoever waited for it has given up
        if entry[0] != size:
            raise packets.malformed("wrong answer")
        for index in range(2, size):
            if self._buffer[index] > 1:  # 0x80: the server refuses (3.9.3)
                raise LinkError("mqtt-refused", "subscribe")
        del self._waiting[number]
        entry[1].set()
