# SPDX-License-Identifier: MIT
"""The board's figures between two heartbeats: least, mean, greatest and last of each.

Bytes, milliseconds, dBm, degrees Celsius, as whole numbers. Applications add counters, which only
grow within a boot, and gauges, which say how something is.
"""

import gc

from micropython import const

from agent import ondemand
from agent.errors import AgentError, Refused

_NAMES = const(16)  # of counters and gauges together
_STORAGE_S = const(3600)  # littlefs looks at all of itself to say how full it is


class Metrics:
    def __init__(self, supervisor, session, wifi):
        self._supervisor = supervisor
        self._session = session
        self._wifi = wifi
        self._connects = 0
        self._figures = {}  # name -> [least, sum, greatest, last, count]
        self._storage_at = None
        self.counts = {}
        self.gauges = {}

    def count(self, name, more=1):
        self._admit(name)
        self.counts[name] = self.counts.get(name, 0) + more

    def gauge(self, name, value):
        self._admit(name)
        self.gauges[name] = value

    def _admit(self, name):
        if name not in self.counts and name not in self.gauges:
            if len(self.counts) + len(self.gauges) >= _NAMES or len(name) > _NAMES:
                raise Refused("metric-names", name)

    def put(self, name, value):
        """Takes a sample; None is none."""
        if value is None:
            return
        value = int(value)
        found = self._figures.get(name)
        if found is None:
            self._figures[name] = [value, value, value, value, 1]
            return
        found[0] = min(found[0], value)
        found[1] += value
        found[2] = max(found[2], value)
        found[3] = value
        found[4] += 1

    def sample(self):
        """Samples all that the board itself tells."""
        supervisor = self._supervisor
        board = supervisor.board
        gc.collect()  # else what is free says when it was last collected
        heap = board.heap()
        self.put("heap", heap["free"])
        self.put("block", heap["largest"])
        self.put("least", heap["least"])
        self.put("lag_ms", supervisor.lag_ms)
        supervisor.lag_ms = 0
        self.put("rssi", self._wifi.rssi())
        self.put("temperature_c", board.temperature_c())
        now = board.uptime_s()
        if self._storage_at is None or now - self._storage_at >= _STORAGE_S:
            self._storage_at = now
            self._room(board)

    def _room(self, board):
        from agent.storage import room

        self.put("storage", board.storage()["free"])
        try:
            self.put("nvs", room.nvs_free())
        except (AgentError, OSError):
            pass  # a table of another layout has none
        room = None
        ondemand.release("storage.room", "facts")

    def take(self):
        """{name: [least, mean, greatest, last]} since it was last called."""
        connects = self._session.connects
        self.put("connects", connects - self._connects)
        self._connects = connects
        taken, self._figures = self._figures, {}
        return {n: [f[0], f[1] // f[4], f[2], f[3]] for n, f in taken.items()}
