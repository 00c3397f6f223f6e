# SPDX-License-Identifier: MIT
"""The session: keeps the board on its broker, for ever, and never waits without a bound.

It serves a connection until something breaks, then `reach` gets it another. Topics are those of
docs/wire.md.
"""

import asyncio
import gc
import json

from micropython import const

from agent import ondemand
from agent.errors import AgentError, LinkError
from agent.link.mqtt import Mqtt

_REACHING = ("link.reach", "link.login")
_BUSY = ("link.arrivals", "link.eventlog", "storage.files")  # needed while something happens
_LOOK_S = 7.5  # at the Wi-Fi and the keep-alive, twice a ping; whatever happens wakes it before
_NO_WIFI_S = const(10)  # the firmware joins again by itself, and connections often outlive that
_STEADY_S = const(60)  # a link that held this long was good: start again from the first pause
_CLOCK_S = const(3600)  # from one look at the clock to the next; without an answer twice as
_RARELY_S = const(86400)  # long each time, up to this: each may hold up the loop for seconds
_AGAIN_S = const(10)  # from one time to the next that the broker is asked for what was dropped
_INBOX = const(8)  # messages that may wait for their handlers,
_INBOX_BYTES = const(8192)  # and their bytes, whichever is reached first


class Session:
    """`keyring` says who logs in: its `identity()`, told by `dialled()` and `accepted(identity)`.

    With a claim the board is not on the broker in any other sense than that it may ask for a
    certificate: `connected()` is False, and nothing but the enrolment topics is used.

    Attributes without an underscore are for `reach` and for those who show them.
    """

    def __init__(self, supervisor, keyring, wifi, clock, events, settings):
        self.supervisor = supervisor
        self.board = supervisor.board
        self.log = supervisor.log
        self.keyring = keyring
        self.settings = settings
        self.wifi = wifi
        self.clock = clock
        self.births = []
        self.base = ""  # of the topics
        self.topics = ()  # what is subscribed to, for `login`
        self.identity = None  # who is logged in now
        self.attempt = 0  # tries since a connection held
        self.ended = None  # why the last connection ended
        self.reading = None  # the task that does
        self.mqtt = Mqtt(self.board.ticks_ms, self.board.ticks_diff, self._take, self._oversize)
        self.connects = 0
        self.dropped = 0  # messages that came faster than they could be handled, or too large
        self.failures = {}  # by code
        self.last_error = ""
        self._events = events
        events.on_add = self.wake
        self._handlers = {}
        self._inbox = []
        self._missed = False  # something was dropped, which may be retained
        self._woken = asyncio.Event()  # there is something to do before the next look

    # --- what wings use

    def on(self, topic, handler):
        """Announces a handler, `await handler(payload)`, for `topic` below the board's own."""
        self._handlers[topic] = handler

    def on_connect(self, make):
        """Announces a document that every new connection publishes: `make()` gives (topic,
        dict)."""
        self.births.append(make)

    def connected(self):
        return self.identity is not None and not self.keyring.is_claim(self.identity)

    def figures(self):
        return {
            "connects": self.connects,
            "dropped": self.dropped,
            "failures": self.failures,
            "in": self.mqtt.bytes_in,
            "out": self.mqtt.bytes_out,
        }

    async def publish(self, topic, document, qos=0, retain=False):
        """Sends a document (a dict, or text); LinkError when it did not get through.

        The task that asks for it checks in: many in a row, each within its bound, are no hang.
        """
        if self.identity is None:
            raise LinkError("link-down")
        self.supervisor.running.alive()
        if not isinstance(document, str):
            document = json.dumps(document)
        await self.mqtt.publish(self.base + topic, document.encode(), qos, retain)

    def end(self, error):
        """Ends the connection that is served, for this reason; the session goes on."""
        self.ended = error
        self.wake()

    def wake(self):
        """Looks at once at what there is to send."""
        self._woken.set()

    async def disconnect(self):
        """Takes leave of the broker, which then sends no last will."""
        from agent.link import login

        await login.leave(self.mqtt)

    # --- the round

    async def run(self, task):
        while True:
            from agent.link import reach

            try:
                await reach.reach(self, task)
            finally:
                reach = None
                ondemand.release(*_REACHING)
            await self._serve(task)

    async def _serve(self, task):
        began = joined = asked = missed = self.board.uptime_s()
        again_s = _CLOCK_S
        looking = asyncio.create_task(self._look())
        try:
            while not self.ended:
                task.alive()
                if self.wifi.connected():
                    joined = self.board.uptime_s()
                elif self.board.uptime_s() - joined > _NO_WIFI_S:
                    raise LinkError("wifi-lost")
                if self.board.uptime_s() - asked > again_s:
                    asked = self.board.uptime_s()
                    again_s = _CLOCK_S if self._ask_time() else min(2 * again_s, _RARELY_S)
                self.mqtt.keep_alive()
                await self._deliver()
                if self._missed and self.board.uptime_s() - missed > _AGAIN_S:
                    missed = self.board.uptime_s()
                    await self._ask_again()
                if self.connected():
                    await self._events.flush(self._publish_event)
                await self._woken.wait()
                self._woken.clear()
        except AgentError as e:
            self.ended = e
        finally:
            looking.cancel()
            self.leave()
        if self.board.uptime_s() - began > _STEADY_S:
            self.attempt = 0

    async def _ask_again(self):
        """Who subscribes again gets what is retained once more (3.8.4): an assignment that came
        in a flood would else be lost for as long as the connection lasts."""
        from agent.link import login

        self._missed = False
        await login.subscribe(self.mqtt, self.topics)
        login = None
        ondemand.release("link.login")

    def _ask_time(self):
        """A connection may last for months, and the clock not have been told the time at all."""
        from agent.link import sntp

        known = sntp.sync(self.clock, self.log)
        sntp = None
        ondemand.release("link.sntp", "link.floor")
        return known

    def leave(self):
        """Nothing more goes out over this connection."""
        self.identity = None
        if self.reading:
            self.reading.cancel()

    async def _look(self):
        """Wakes the session now and then; if it stopped, the session would miss its deadline.
        Costs less than a time-out of each wait, which takes a task of its own."""
        while True:
            await asyncio.sleep(_LOOK_S)
            ondemand.release(*_BUSY)
            self.wake()

    async def read(self):
        """Takes in what comes, until the connection ends."""
        try:
            await self.mqtt.run()
        except LinkError as e:
            self.end(e)
        except OSError as e:
            self.end(LinkError("link-lost", str(e.args[0] if e.args else "")))

    async def _publish_event(self, payload):
        await self.publish("up/event", payload, 1)

    # --- messages

    def _take(self, topic, payload):
        """Called by the client for each message; the handlers run later, in the session's task."""
        name = topic[len(self.base) :]
        if not topic.startswith(self.base) or name not in self._handlers:
            return
        held = sum([len(message[1]) for message in self._inbox])
        if len(self._inbox) >= _INBOX or held + len(payload) > _INBOX_BYTES:
            self.dropped += 1
            self._missed = True
            return
        self._inbox.append((name, bytes(payload)))
        self.wake()

    def _oversize(self, topic, size):
        self.dropped += 1
        self.log.warning("link", "mqtt-too-long {}".format(size))

    async def _deliver(self):
        while self._inbox:
            name, payload = self._inbox.pop(0)
            try:
                await self._handlers[name](payload)
            except LinkError:
                raise
            except AgentError as e:
                self.log.warning("link", "{}: {} {}".format(name, e.code, e.detail))
            except MemoryError:
                payload = None
                gc.collect()
                self.log.warning("link", name + ": memory")
