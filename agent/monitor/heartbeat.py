# SPDX-License-Identifier: MIT
"""Samples the board's figures, and has them reported at a steady interval.

What a heartbeat says, whether that is as it should be, and where it goes while the board is away,
is `report`'s: loaded for each heartbeat, then released. Here is what lasts between two.
"""

from micropython import const

from agent import ondemand
from agent.errors import AgentError
from agent.monitor.metrics import Metrics

_FIRST_S = const(5)
_LEAST_S = const(1)
_MOST_S = const(60)


class Heartbeat:
    """Attributes for `report`: metrics; since_s, uptime of the last heartbeat; owes, whether there
    may be something to be sent before the next; away and stride, of `backlog`; told, alarms;
    baselines and counts, of `nominal`."""

    def __init__(self, runtime):
        self._runtime = runtime
        self._settings = runtime.settings
        self.metrics = Metrics(runtime.supervisor, runtime.wifi)
        self.since_s = 0
        self.owes = True
        self.away = 0
        self.stride = 1
        self.told = {}
        self.baselines = {}
        self.counts = {}

    async def run(self, task):
        self.since_s = self._runtime.board.uptime_s()
        longest = _FIRST_S
        while True:
            await self._wait(task, longest)
            await self._report()
            longest = None

    async def _wait(self, task, longest):
        """For one interval, as it is set: a shorter one counts at once."""
        waited = 0
        while True:
            interval = self._settings["heartbeat_s"]
            rest = min(longest or interval, interval) - waited
            if rest <= 0:
                return
            step = min(max(interval / 6, _LEAST_S), _MOST_S, rest)
            await task.sleep(step)
            self.metrics.sample()
            waited += step

    async def _report(self):
        from agent.monitor import report

        try:
            await report.beat(self._runtime, self)
        except AgentError as e:
            self._runtime.log.error("health", e.code)
        finally:
            report = None
            ondemand.release(
                "monitor.report",
                "monitor.nominal",
                "monitor.backlog",
                "monitor.crash",
                "running",
                "storage.room",
                "facts",
            )
