# SPDX-License-Identifier: MIT
"""The board's clock: never below the floor, set by SNTP, and one "now" for each check.

The floor comes from what is signed (the build, update metadata) and is persisted. A clock that was
sent far ahead shows as expired certificates, and the time is asked for again.
"""

from agent import ondemand

SERVER = "pool.ntp.org"


class Clock:
    """`server` is asked by `sntp`, `synced_at` is the uptime of its last answer, or None."""

    def __init__(self, board, log, state, server=SERVER):
        self.board = board
        self.server = server
        self.synced_at = None
        self._state = state
        from agent.link import floor  # not needed again

        self.floor = floor.load(state)
        floor = None
        ondemand.release("link.floor")
        self._hold()

    def _hold(self):
        if self.board.unix_time() < self.floor:
            self.board.set_unix_time(self.floor)

    def now(self):
        """Unix seconds, never below the floor."""
        return max(self.board.unix_time(), self.floor)

    def use(self, server):
        self.server = server

    def uptime_s(self):
        return self.board.uptime_s()

    def raise_floor(self, seconds):
        """Persists a new floor, from a signed source only; a lower one is ignored."""
        from agent.link import floor

        if self.floor < seconds <= floor.LATEST:
            floor.save(self._state, seconds)
            self.floor = seconds
            self._hold()
        floor = None
        ondemand.release("link.floor")

    def synced(self):
        """Whether a server has told the time in this life."""
        return self.synced_at is not None

    def distrust(self):
        """The time is in doubt (a certificate looked expired, or not valid yet): ask again."""
        self.synced_at = None
