# SPDX-License-Identifier: MIT
"""The board's figures between two heartbeats: least, mean, greatest and last of each.

Bytes, milliseconds, dBm, degrees Celsius, as whole numbers. Applications add counters, which only
grow within a boot, and gauges, which say how something is. What only a heartbeat asks for, and how
it takes the figures, is `report`'s.
"""

import gc

from micropython import const

from agent.errors import Refused

_NAMES = const(16)  # of counters and gauges together


class Metrics:
    def __init__(self, supervisor, wifi):
        self._supervisor = supervisor
        self._wifi = wifi
        self.figures = {}  # name -> [least, sum, greatest, last, count]
        self.connects = 0  # of the session, at the last heartbeat
        self.storage_at = None  # uptime when the file system was last asked how full it is
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
        found = self.figures.get(name)
        if found is None:
            self.figures[name] = [value, value, value, value, 1]
            return
        found[0] = min(found[0], value)
        found[1] += value
        found[2] = max(found[2], value)
        found[3] = value
        found[4] += 1

    def sample(self):
        """Samples all that may change from one moment to the next."""
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
