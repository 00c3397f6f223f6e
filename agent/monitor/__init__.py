# SPDX-License-Identifier: MIT
"""How the board is doing: samples its figures, and has them reported at a steady interval.

What a heartbeat says, whether that is as it should be, and where it goes while the board is away,
is `report`'s: loaded for each heartbeat, then released. Here is what lasts between two, in as few
objects as can be (decision 0016).
"""

import gc

from micropython import const

from agent import ondemand

_FIRST_S = const(5)
_LEAST_S = const(1)
_MOST_S = const(60)


class Heartbeat:
    """Attributes for `report`: figures, samples since the last heartbeat, a count, least, sum,
    greatest and last of each; metrics, the application's own once it has any; since_s, uptime of
    the last heartbeat, 0 before the first; owes, whether there may be something to be sent before
    the next; away and stride, of `backlog`; told, alarms; learned and counts, of `report.Nominal`;
    connects, of the session."""

    metrics = None
    since_s = 0
    connects = 0
    away = 0
    stride = 1
    owes = True

    def __init__(self, runtime):
        self._runtime = runtime
        self.figures = [0] * 30
        self.told = {}
        self.learned = self.counts = None

    async def run(self, task):
        settings = self._runtime.settings
        left = _FIRST_S
        while True:
            interval = settings["heartbeat_s"]
            left = min(left, interval)  # a shorter one counts at once
            step = min(max(interval // 6, _LEAST_S), _MOST_S, left)
            await task.sleep(step)
            self.sample()
            left -= step
            if left <= 0:
                await self._report()
                left = interval

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
                count, least, total, greatest, _ = figures[at : at + 5]
                if not count:
                    least = greatest = value
                figures[at : at + 5] = (
                    count + 1,
                    min(least, value),
                    total + value,
                    max(greatest, value),
                    value,
                )
            at += 5
        supervisor.lag_ms = 0

    async def _report(self):
        from agent.monitor import report

        loaded = report.LOADED
        try:
            await report.beat(self._runtime, self)
        finally:
            report = None
            ondemand.release(*loaded)
