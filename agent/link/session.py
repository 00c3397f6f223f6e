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

from agent import ondemand
from agent.errors import AgentError, LinkError
from agent.link.mqtt import Mqtt

_DIALLING = (
    "facts",
    "link.dial",
    "link.join",
    "link.login",
    "link.sntp",
    "link.tls",
)
_PREFIX = "fleetling/v1/"
_FIRST_PAUSE_S = const(1)
_LOOK_S = const(1)  # at the keep-alive and the Wi-Fi
_NO_WIFI_S = const(10)  # the firmware joins again by itself, and connections often outlive that
_STEADY_S = const(60)  # a link that held this long was good: start again from the first pause
_INBOX = const(8)  # messages that may wait for their handlers,
_INBOX_BYTES = const(8192)  # and their bytes, whichever is reached first


def pause_s(attempt, random_byte, longest_s):
    """Seconds to wait before try `attempt` (0, 1, 2...): twice as long each time, and of that a
    random half (`random_byte`, 0 to 255), within a bound."""
    longest = min(longest_s, _FIRST_PAUSE_S << min(attempt, 9))
    return longest * (256 + random_byte) / 512


class Session:
    """`keyring` says who logs in: its `identity()`, told by `dialled()` and `accepted(identity)`.

    With a claim the board is not on the broker in any other sense than that it may ask for a
    certificate: `connected()` is False, and nothing but the enrolment topics is used.
    """

    def __init__(self, supervisor, keyring, wifi, clock, events, settings):
        self._supervisor = supervisor
        self._board = supervisor.board
        self._log = supervisor.log
        self._keyring = keyring
        self._settings = settings
        self._wifi = wifi
        self._clock = clock
        self._events = events
        events.on_add = self.wake
        self._handlers = {}
        self._births = []
        self._inbox = []
        self.identity = None  # who is logged in now
        self._base = ""
        self._connected = False
        self._woken = asyncio.Event()  # there is something to do before the next look
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
        if self.identity is None:
            raise LinkError("link-down")
        if not isinstance(document, str):
            document = json.dumps(document)
        await self._mqtt.publish(self._base + topic, document.encode(), qos, retain)

    def end(self, error):
        """Ends the connection that is served, for this reason; the session goes on."""
        self._broken = error
        self.wake()

    def wake(self):
        """Looks at once at what there is to send."""
        self._woken.set()

    async def disconnect(self):
        """Takes leave of the broker, which then sends no last will."""
        await self._mqtt.disconnect()

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
            await task.sleep(
                pause_s(attempt, self._board.random(1)[0], self._settings["reconnect_s"])
            )
            attempt += 1

    def _fail(self, e):
        if e.code in ("identity-changed", "settings-changed"):
            self._log.info("link", "again: " + e.code)
            return
        self.last_error = e.code
        self.failures[e.code] = self.failures.get(e.code, 0) + 1
        self._log.warning("link", "{} {}".format(e.code, e.detail))
        if e.code in ("tls-expired", "tls-future"):
            self._clock.distrust()

    async def _round(self, task):
        identity = self._keyring.identity()
        claim = self._keyring.is_claim(identity)
        self._base = _PREFIX + identity.name + "/"
        will = None if claim else (self._base + "online", b'{"online":false}', True)
        try:
            await self._connect(task, identity, will)
            await self._serve(task, identity, claim)
        finally:
            self.identity = None
            self._connected = False
            await self._mqtt.close()

    async def _connect(self, task, identity, will):
        # What it takes to get there is loaded for it, and released once there.
        from agent.link import dial, join, sntp

        try:
            await join.join(self._wifi, task)
            task.alive()
            sntp.sync(self._clock, self._log)
            self._keyring.dialled()
            await dial.open_line(self._mqtt, identity, task, will)
        finally:
            dial = join = sntp = None
            ondemand.release(*_DIALLING)

    async def _serve(self, task, identity, claim):
        self._broken = None
        reading = asyncio.create_task(self._read())
        try:
            topic = self._base + ("down/enrol" if claim else "down/#")
            await self._mqtt.subscribe([(topic, 1)])
            self._keyring.accepted(identity)
            self.identity = identity
            self.connects += 1
            self._log.info("link", "on the broker" if not claim else "on the broker, by claim")
            if not claim:
                self._connected = True
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
                if not claim:
                    await self._events.flush(self._publish_event)
                await self._pause()
            raise self._broken
        finally:
            reading.cancel()

    async def _pause(self):
        try:
            await asyncio.wait_for(self._woken.wait(), _LOOK_S)
        except asyncio.TimeoutError:
            pass  # time to look after the link
        self._woken.clear()

    async def _read(self):
        try:
            await self._mqtt.run()
        except LinkError as e:
            self.end(e)
        except OSError as e:
            self.end(LinkError("link-lost", str(e.args[0] if e.args else "")))

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
        self.wake()

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
