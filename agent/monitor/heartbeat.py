# SPDX-License-Identifier: MIT
"""Samples the board's figures, and has them reported at a steady interval.

What a heartbeat says, whether that is as it should be, and where it goes while the board is away,
is `report`'s: loaded for each heartbeat, then released. Here is what lasts between two, in as few
objects as can be (decision 0016).
"""

import gc

from micropython import const

from agent import ondemand
from agent.errors import AgentError

_FIRST_S = const(5)
_LEAST_S = const(1)
_MOST_S = const(60)


class Heartbeat:
    """Attributes for `report`: figures, samples since the last heartbeat, a count, least, sum,
    greatest and last of each; metrics, the application's own once it has any; since_s, uptime of
    the last heartbeat; owes, whether there may be something to be sent before the next; away and
    stride, of `backlog`; told, alarms; learned, of `nominal`; connects, of the session, and
    storage_at, uptime when the file system was last asked how full it is."""

    def __init__(self, runtime):
        self._runtime = runtime
        self.figures = [0] * 30
        self.metrics = None
        self.since_s = 0
        self.owes = True
        self.away = 0
        self.stride = 1
        self.told = {}
        self.learned = []
        self.connects = 0
        self.storage_at = None

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
            interval = self._runtime.settings["heartbeat_s"]
            rest = min(longest or interval, interval) - waited
            if rest <= 0:
                return
            step = min(max(interval / 6, _LEAST_S), _MOST_S, rest)
            await task.sleep(step)
            self.sample()
            waited += step

    def sample(self):
        """Samples all that may change from one moment to the next; `report` has the names."""
        board = self._runtime.board
        supervisor = self._runtime.supervisor
        gc.collect()  # else what is free says when it was last collected
        heap = board.heap()
        figures = self.figures
        at = 0
        for value in (
            heap["free"],
            heap["largest"],
            heap["least"],
            supervisor.lag_ms,
            self._runtime.wifi.rssi(),
            board.temperature_c(),
        ):
            if value is not None:
                value = int(value)
                if not figures[at]:
                    figures[at + 1] = figures[at + 3] = value
                figures[at] += 1
                figures[at + 1] = min(figures[at + 1], value)
                figures[at + 2] += value
                figures[at + 3] = max(figures[at + 3], value)
                figures[at + 4] = value
            at += 5
        supervisor.lag_ms = 0

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
                "storage.files",
                "facts",
            )
