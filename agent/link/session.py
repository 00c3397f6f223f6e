# SPDX-License-Identifier: MIT
"""The session: keeps the board on its broker, for ever, and never waits without a bound.

One round is: join Wi-Fi, set the clock, open TLS, log in, subscribe, say that we are here, then
serve until something breaks; then wait, longer each time and at random, so that a thousand boards
do not come back in the same second. Topics are those of docs/wire.md.
"""

import asyncio
import gc
import json

from micropython import const

from agent.errors import AgentError, LinkError
from agent.link import dial, tls
from agent.link.mqtt import Mqtt

_PREFIX = "fleetling/v1/"
_FIRST_PAUSE_S = const(1)
_LONGEST_PAUSE_S = const(300)
_NO_WIFI_S = const(10)  # the firmware joins again by itself, and connections often outlive that
_STEADY_S = const(60)  # a link that held this long was good: start again from the first pause
_INBOX = const(8)  # messages that may wait for their handlers,
_INBOX_BYTES = const(8192)  # and their bytes, whichever is reached first


def pause_s(attempt, random_byte):
    """Seconds to wait before try `attempt` (0, 1, 2...): twice as long each time, and of that a
    random half (`random_byte`, 0 to 255), within a bound."""
    longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S << min(attempt, 9))
    return longest * (256 + random_byte) / 512


class Session:
    def __init__(self, supervisor, identity, wifi, clock, events):
        self._supervisor = supervisor
        self._board = supervisor.board
        self._log = supervisor.log
        self._identity = identity
        self._wifi = wifi
        self._clock = clock
        self._events = events
        self._tls = tls.context(identity)
        self._base = _PREFIX + identity.id + "/"
        self._handlers = {}
        self._births = []
        self._inbox = []
        self._connected = False
        self._broken = None  # why the connection that is served cannot go on
        self._mqtt = Mqtt(self._board.ticks_ms, self._board.ticks_diff, self._take, self._oversize)
        self.connects = 0
        self.dropped = 0  # messages that came faster than they could be handled, or too large
        self.failures = {}  # by code
        self.last_error = ""

    # --- what wings use

    def on(self, topic, handler):
        """Announces a handler, `await handler(payload)`, for `topic` below the board's own."""
        self._handlers[topic] = handler

    def on_connect(self, make):
        """Announces a document that every new connection publishes: `make()` gives (topic,
        dict)."""
        self._births.append(make)

    def connected(self):
        return self._connected

    def figures(self):
        return {
            "connects": self.connects,
            "dropped": self.dropped,
            "failures": self.failures,
            "in": self._mqtt.bytes_in,
            "out": self._mqtt.bytes_out,
        }

    async def publish(self, topic, document, qos=0, retain=False):
        """Sends a document (a dict, or text); LinkError when it did not get through."""
        if not self._connected:
            raise LinkError("link-down")
        if not isinstance(document, str):
            document = json.dumps(document)
        await self._mqtt.publish(self._base + topic, document.encode(), qos, retain)

    async def close(self):
        """Says good-bye, so that a wanted reset is not taken for a loss."""
        if self._connected:
            try:
                await self.publish("online", {"online": False}, 1, True)
                await self._mqtt.disconnect()
            except (LinkError, OSError) as e:
                self._log.warning("link", "good-bye lost: {}".format(e.args[0]))

    # --- the round

    async def run(self, task):
        attempt = 0
        while True:
            started = self._board.uptime_s()
            try:
                await self._round(task)
            except AgentError as e:
                self._fail(e)
            if self._board.uptime_s() - started > _STEADY_S:
                attempt = 0
            await task.sleep(pause_s(attempt, self._board.random(1)[0]))
            attempt += 1

    def _fail(self, e):
        self.last_error = e.code
        self.failures[e.code] = self.failures.get(e.code, 0) + 1
        self._log.warning("link", "{} {}".format(e.code, e.detail))
        if e.code in ("tls-expired", "tls-future"):
            self._clock.distrust()

    async def _round(self, task):
        await self._wifi.join(task)
        task.alive()
        self._clock.sync()
        will = (self._base + "online", b'{"online":false}', True)
        line = dial.Line(self._mqtt, self._identity, self._tls)
        try:
            await line.open(task, will)
            await self._serve(task)
        finally:
            self._connected = False
            await line.close()

    async def _serve(self, task):
        self._broken = None
        reading = asyncio.create_task(self._read())
        try:
            await self._mqtt.subscribe([(self._base + "down/#", 1)])
            self._connected = True
            self.connects += 1
            self._log.info("link", "on the broker")
            await self._announce()
            self.last_error = ""
            joined = self._board.uptime_s()
            while not self._broken:
                task.alive()
                if self._wifi.connected():
                    joined = self._board.uptime_s()
                elif self._board.uptime_s() - joined > _NO_WIFI_S:
                    raise LinkError("wifi-lost")
                await self._mqtt.keep_alive()
                await self._deliver()
                await self._events.flush(self._publish_event)
                await asyncio.sleep(0.1)
            raise self._broken
        finally:
            reading.cancel()

    async def _read(self):
        try:
            await self._mqtt.run()
        except LinkError as e:
            self._broken = e
        except OSError as e:
            self._broken = LinkError("link-lost", str(e.args[0] if e.args else ""))

    async def _announce(self):
        await self.publish(
            "online", {"online": True, "boot": self._supervisor.boot["count"]}, 1, True
        )
        for make in self._births:
            topic, document = make()
            await self.publish(topic, document, 1, True)

    async def _publish_event(self, payload):
        await self.publish("up/event", payload, 1)

    # --- messages

    def _take(self, topic, payload):
        """Called by the client for each message; the handlers run later, in the session's task."""
        name = topic[len(self._base) :]
        if not topic.startswith(self._base) or name not in self._handlers:
            return
        held = sum([len(message[1]) for message in self._inbox])
        if len(self._inbox) >= _INBOX or held + len(payload) > _INBOX_BYTES:
            self.dropped += 1
            return
        self._inbox.append((name, bytes(payload)))

    def _oversize(self, topic, size):
        self.dropped += 1
        self._log.warning("link", "mqtt-too-long {}".format(size))

    async def _deliver(self):
        while self._inbox:
            name, payload = self._inbox.pop(0)
            try:
                await self._handlers[name](payload)
            except LinkError:
                raise
            except AgentError as e:
                self._log.warning("link", "{}: {} {}".format(name, e.code, e.detail))
            except MemoryError:
                payload = None
                gc.collect()
                self._log.warning("link", name + ": memory")
