# SPDX-License-Identifier: MIT
"""The application's own figures: counters, which only grow within a boot, and gauges, which say
how something is. What is no number, or none that JSON knows, is not shown: a sensor that fails may
well give NaN. Loaded when it has the first."""

from micropython import const

from agent.errors import Refused

_NAMES = const(16)  # of counters and gauges together; also the longest


class Metrics:
    def __init__(self):
        self.counts = {}
        self.gauges = {}

    def count(self, name, more=1):
        self._admit(name)
        if _finite(more):
            self.counts[name] = self.counts.get(name, 0) + more

    def gauge(self, name, value):
        self._admit(name)
        if _finite(value):
            self.gauges[name] = value
        else:
            self.gauges.pop(name, None)

    def _admit(self, name):
        if name not in self.counts and name not in self.gauges:
            if len(self.counts) + len(self.gauges) >= _NAMES or len(name) > _NAMES:
                raise Refused("metric-names", name)


def _finite(value):
    return isinstance(value, (int, float)) and value - value == 0
