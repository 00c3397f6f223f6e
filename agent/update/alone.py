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
_WANTED = const(12)  # files of the metadata that nobody could guess: a life each
_BROUGHT = ("kind", "url", "length", "size", "sha256", "base", "bytes")
_FETCHING = ("update.ahead", "update.tuf.store", "update.tuf", "link.http", "link.tls")
_JOINING = ("link.join", "link.sntp", "link.floor", "facts")


class Alone:
    """Stands for `wing.Update`: what a job asks of it, and when the time is over."""

    def __init__(self, runtime, spare):
        self.runtime = runtime
        self.live = None
        self._spare = spare
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
        work = Job(self, task, runtime.alone)
        work.spare, self._spare = self._spare, None
        try:
            await work.carry_out()
        except job.Changed:
            runtime.log.warning("update", "no time is left for it in this life")
        if self.live and self.live["why"] == "requires":
            kept = records.load()
            kept["alone"]["held"] = self.live["detail"]
            records.save(kept)
        why = "update-alone" if work.again else "update-over"
        runtime.supervisor.reset(why, runtime.alone["id"])


class Job(job.Job):
    """First a life for the metadata, then one for what was chosen by it: the heap of each is new.

    `again`: the next life is for this update too.
    """

    again = False
    _looked = False  # once all that verifies was loaded, the heap is not what it was

    async def _attempt(self, record):
        from agent.update.spare import Spare

        kept = record["alone"]
        self.spare = self.spare or Spare()
        Spare = None
        await self._join()
        self._open_site()
        if kept["chosen"]:
            await self._bring(record, kept["chosen"])
            return
        await self._ahead(kept["wanted"])
        self._looked = True
        chosen = await self._choose(record)
        if chosen:
            kept["chosen"] = [
                [part, _short(whole), _short(delta)] for part, whole, delta in chosen
            ]
            self._go_on(record)

    def _go_on(self, record):
        records.next_alone(record)
        self.again = True

    async def _join(self):
        from agent.link import join, sntp

        try:
            await join.join(self.runtime.wifi, self._task)
            sntp.sync(self.runtime.clock, self.log)
        finally:
            join = sntp = None
            ondemand.release(*_JOINING)

    async def _ahead(self, wanted):
        from agent.update import ahead

        await self.show("fetching")
        try:
            await ahead.bring(self.site, self.order["targets"], wanted)
        finally:
            ahead = None
            ondemand.release(*_FETCHING)

    def _source(self):
        from agent.update.ahead import Fetched

        return Fetched(self.spare)

    async def _was_last(self, record, error, attempt):
        kept = record["alone"]
        if error.code == "update-ahead" and len(kept["wanted"]) < _WANTED:
            kept["wanted"].append(error.detail)
            self._go_on(record)
            return True
        if error.code in job.MEMORY and kept["lives"] >= _TWICE:
            await self._finish(record, "failed", error)
            return True
        if kept["code"] != error.code:
            kept["code"], kept["detail"] = error.code, error.detail
            records.save(record)
        return self._looked or error.code in job.MEMORY or attempt == job.ATTEMPTS


def _short(offer):
    """What it takes to bring it."""
    return offer and {key: offer[key] for key in _BROUGHT}
