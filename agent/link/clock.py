# SPDX-License-Identifier: MIT
"""The board's clock: never below the floor, set by SNTP, and one "now" for each check.

SNTP is not authenticated, so it may move the clock but never the floor. The floor comes from what
is signed (the build, update metadata) and is persisted; what an SNTP server says below it is
ignored. A clock that was sent far ahead shows as expired certificates, and is asked for again.
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

    def sync(self):
        """Asks the server when it is time to; True when the clock is set. Blocks for a second."""
        uptime = self._board.uptime_s()
        if self._synced_at is not None and uptime - self._synced_at < _AGAIN_S:
            return True
        try:
            seconds = self._board.network_time(self._server)
        except (OSError, IndexError, ValueError) as e:
            # OSError: no answer; the others: an answer that ntptime could not read.
            self._log.warning("clock", "clock-no-answer {}".format(e.args))
            return False
        if not self.floor <= seconds <= _LATEST:
            self._log.warning("clock", "clock-below-floor")
            return False
        self._board.set_unix_time(seconds)
        self._synced_at = uptime
        return True
