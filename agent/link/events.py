# SPDX-License-Identifier: MIT
"""Events: numbered, kept on flash until the broker has them, sent in order.

Invariants:
- an event is on flash before it is sent, and its number is never used again, resets included;
- it is forgotten only after the broker's acknowledgement, so a receiver may see it twice, never
  not;
- at most `LIMIT` wait; past that the oldest go, and the gap in the numbers shows that they did.

The file is a line of JSON for each event. Its first line is the newest number that is known to
have arrived; it is rewritten once all has arrived, so a reset may send the last few again.
"""

import json

from micropython import const

from agent.errors import AgentError

LIMIT = const(64)
_PATH = "/fl/events"


class Events:
    def __init__(self, log, clock, path=_PATH):
        self._log = log
        self._clock = clock
        self._path = path
        self.on_add = None  # called after each event
        self._stale = 0  # how many events that the file holds have arrived
        from agent.link import eventlog

        self._last, self._waiting, self._torn = eventlog.read(path)
        self._trim()

    def _trim(self):
        if len(self._waiting) > LIMIT:
            self._waiting = self._waiting[-LIMIT:]
            self._stale += 1

    def add(self, code, **detail):
        """Takes an event. `detail` holds figures and codes, never secrets."""
        self._last += 1
        event = {"seq": self._last, "up": self._clock.uptime_s(), "code": code}
        if self._clock.synced():
            event["at"] = self._clock.now()
        event.update(detail)
        self._waiting.append(event)
        full = len(self._waiting) > LIMIT or self._stale > LIMIT
        self._trim()
        self._write(None if full or self._torn else event)
        if self.on_add:
            self.on_add()

    def _write(self, event):
        """Appends an event to the file; None: writes all of it anew."""
        from agent.link import eventlog  # stays until the session's next look

        try:
            if event:
                eventlog.append(self._path, event)
            else:
                eventlog.rewrite(self._path, self._last, self._waiting)
                self._stale = 0
                self._torn = False
        except AgentError as e:
            # Without a file system the event can still go out in this life.
            self._log.error("events", e.code)

    def waiting(self):
        return len(self._waiting)

    async def flush(self, publish):
        """Sends what waits, oldest first, through `await publish(payload)`."""
        while self._waiting:
            event = self._waiting[0]
            await publish(json.dumps(event))
            # More may have come, and the oldest may have gone, while this one was under way.
            if self._waiting and self._waiting[0] is event:
                self._waiting.pop(0)
            self._stale += 1
        if self._stale:
            self._stale = 0  # once: where flash does not take it, the next event tries again
            self._write(None)
