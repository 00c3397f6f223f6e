# SPDX-License-Identifier: MIT
"""The board's clock: never below the floor, set by SNTP, and one "now" for each check.

The floor comes from what is signed (the build, update metadata) and is persisted. A clock that was
sent far ahead shows as expired certificates, and the time is asked for again.
"""

import struct

from micropython import const

from agent.storage.records import Record
from agent.version import BUILT

_AGAIN_S = const(6 * 3600)  # a crystal that drifts 50 ppm is a second off after that time
_LATEST = const(0xFFFFFFFF)  # 2106: what the record and X.509 UTCTime on 32 bits can still say


class Clock:
    def __init__(self, board, log, state, server):
        self._board = board
        self._log = log
        self._server = server
        self._record = Record(state, "floor")
        self._synced_at = None
        stored = self._record.load()
        self.floor = BUILT
        if stored and len(stored) == 4:
            self.floor = max(BUILT, struct.unpack("<I", stored)[0])
        self._hold()

    def _hold(self):
        if self._board.unix_time() < self.floor:
            self._board.set_unix_time(self.floor)

    def now(self):
        """Unix seconds, never below the floor."""
        return max(self._board.unix_time(), self.floor)

    def use(self, server):
        self._server = server

    def uptime_s(self):
        return self._board.uptime_s()

    def raise_floor(self, seconds):
        """Persists a new floor, from a signed source only; a lower one is ignored."""
        if self.floor < seconds <= _LATEST:
            self._record.save(struct.pack("<I", seconds))
            self.floor = seconds
            self._hold()

    def synced(self):
        """Whether a server has told the time in this life."""
        return self._synced_at is not None

    def distrust(self):
        """The time is in doubt (a certificate looked expired, or not valid yet): ask again."""
        self._synced_at = None

    def due(self):
        """Whether it is time to ask the server."""
        if self._synced_at is None:
            return True
        return self._board.uptime_s() - self._synced_at >= _AGAIN_S

    def ask(self):
        """What the server says, Unix seconds; blocks."""
        return self._board.network_time(self._server)

    def accept(self, seconds):
        """Sets the clock to what a server said; False when that is below the floor."""
        if not self.floor <= seconds <= _LATEST:
            return False
        self._board.set_unix_time(seconds)
        self._synced_at = self._board.uptime_s()
        return True
