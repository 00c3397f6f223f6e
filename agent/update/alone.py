# SPDX-License-Identifier: MIT
"""A life of its own for an update: neither application nor MQTT nor figures are loaded, so that
memory does. It fetches and verifies, or finds that it must not, and resets (decision 0022).

Invariants:
- whatever ends it, the next life is a usual one: the order was taken from the record before
  anything else, and each such life was counted there before it began;
- it lasts for half an hour, longer only while bytes come in, and never longer than two hours;
- it writes what the usual life would: the same record, slots and partitions; it never switches.

Nobody is heard in it. What it came to is told by the next life.
"""

import gc

from micropython import const

from agent import ondemand
from agent.update import job
from agent.update import record as records

_ATTEMPTS_S = const(1800)
_QUIET_S = const(300)  # after the last bytes, beyond that
_LONGEST_S = const(7200)
_COLLECT = const(4096)
_TWICE = const(2)
_JOINING = ("link.join", "link.sntp", "link.floor", "facts")


class Alone:
    """Stands for `wing.Update`: what a job asks of it, and when the time is over."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.live = None
        self._done = 0
        self._begun = runtime.board.uptime_s()
        self._until = self._begun + _ATTEMPTS_S

    @property
    def order(self):
        """None once the time is over, which ends the job at its next step."""
        return self.runtime.alone if self.runtime.board.uptime_s() < self._until else None

    async def tell(self):
        done = self.live["done"]
        if done > self._done:
            longest = self._begun + _LONGEST_S
            until = max(self._until, self.runtime.board.uptime_s() + _QUIET_S)
            self._until = min(longest, until)
        self._done = done

    async def over(self, kept):
        """The next life tells it."""
        kept["untold"] = True
        records.save(kept)

    async def run(self, task):
        runtime = self.runtime
        gc.threshold(_COLLECT)
        try:
            await Job(self, task, runtime.alone).carry_out()
        except job.Changed:
            runtime.log.warning("update", "no time is left for it in this life")
        if self.live and self.live["why"] == "requires":
            kept = records.load()
            kept["alone"]["held"] = self.live["detail"]
            records.save(kept)
        runtime.supervisor.reset("update-over", runtime.alone["id"])


class Job(job.Job):
    async def _attempt(self, record):
        await self._join()
        if await self._fetch(record):
            self._is_verified(record)

    async def _join(self):
        from agent.link import join, sntp

        try:
            await join.join(self.runtime.wifi, self._task)
            sntp.sync(self.runtime.clock, self.log)
        finally:
            join = sntp = None
            ondemand.release(*_JOINING)

    async def _was_last(self, record, error, attempt):
        if error.code in job.MEMORY and attempt >= _TWICE:
            await self._finish(record, "failed", error)
            return True
        kept = record["alone"]
        if kept["code"] != error.code:
            kept["code"], kept["detail"] = error.code, error.detail
            records.save(record)
        return attempt == job.ATTEMPTS
