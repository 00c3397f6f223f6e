# SPDX-License-Identifier: MIT
"""Carries out an assignment, from the repository to the reset that switches (docs/updates.md).

What a cut of power means in each state stands there. A newer assignment ends the older one at its
next step; where memory does not do, the board starts once more, for the update alone (`alone`).
Loaded while there is one.
"""

import gc

from micropython import const

from agent.errors import AgentError, Refused
from agent.update import job
from agent.update import record as records

_STEP_S = const(5)
_FIRST_PAUSE_S = const(10)
_LEAST_HEAP = const(80000)  # bytes free before anything is loaded for it (docs/updates.md),
_TLS = const(33000)  # and where the repository has TLS
_COLLECT = const(8192)  # bytes allocated between two collections
_LIVES = const(3)  # of its own, for one assignment


class Job(job.Job):
    async def _attempt(self, record):
        waiting = record["id"] == self.order["id"] and record["state"] in ("verified", "switching")
        if not waiting:
            if self.order["id"] == records.PREVIOUS:
                raise Refused("update-flash")  # no repository has it
            begun = record["id"] == self.order["id"] and record["state"] == "fetching"
            if not begun and not self._lives(record):
                await self._until_due()
            if not self._has_room():
                raise AgentError("update-memory")
            from agent.update.spare import Spare

            self.spare = Spare()
            Spare = None
            self._open_site()
            chosen = await self._choose(record)
            if chosen is None:
                return
            await self._bring(record, chosen)
        await self._until_allowed()
        await self._switch(record)

    def _source(self):
        from agent.update.online import Online

        return Online(self.site, self.spare)

    def _has_room(self):
        from agent.storage.nvsmap import open_nvs

        repository = open_nvs(self.runtime.board, "fl_factory").get("repo") or b""
        open_nvs = None
        self._release()
        least = _LEAST_HEAP + (_TLS if repository.startswith(b"https") else 0)
        return self.runtime.board.heap()["free"] >= least

    async def _was_last(self, record, error, attempt):
        """After an attempt that has failed. Where it was memory the board resets into a life that
        is for the update alone, for so many times."""
        if error.code in job.MEMORY:
            if self._lives(record) < _LIVES:
                try:
                    await self._go_alone(record)
                except AgentError as e:
                    error = e
            elif record["alone"]["code"]:
                error = AgentError(record["alone"]["code"], record["alone"]["detail"])
            attempt = job.ATTEMPTS
        if attempt < job.ATTEMPTS:
            return False
        await self._finish(record, "failed", error)
        return True

    async def _go_alone(self, record):
        from agent.leave import leave

        lives = self._lives(record)
        if lives:
            await self._wait(_FIRST_PAUSE_S << 3 * lives, "retry")
        await self._until_allowed()
        while self.runtime.settings.trial:  # a reset would undo it
            await self._wait(_STEP_S, "settings")
        records.order_alone(record, self.order)
        await self.show("fetching", 0, 0, "alone")
        await leave(
            self.runtime.session, self.runtime.supervisor, "update-alone", self.order["id"]
        )

    async def _until_due(self):
        """Until it may begin: not before it is told to, and not with all the others."""
        from agent.update import order as orders

        clock = self.runtime.clock
        await self.show("assigned")
        first = self.order["not_before"]
        while first is not None and clock.now() < first:
            await self._wait(min(first - clock.now(), 60), "not-before")
        delay = orders.delay_s(self.order, self.runtime.keyring.own.name)
        delay -= self.runtime.board.uptime_s() - self.wing.since_s
        if delay > 0:
            await self._wait(delay, "jitter")

    async def _until_allowed(self):
        """Until the board may be reset."""
        from agent.update import order as orders

        runtime = self.runtime
        while True:
            busy = runtime.supervisor.busy
            why = orders.must_wait(
                self.order,
                runtime.settings["window"],
                runtime.clock.now(),
                busy is not None and busy.count > 0,
            )
            if not why:
                return
            await self.show("waiting", 0, 0, why)
            await self._wait(_STEP_S, why)

    async def _switch(self, record):
        from agent.update import switch

        await self.show("switching")
        await switch.switch(self, record)


async def run(wing, task):
    """Until nothing is to be done."""
    while wing.order:
        order = wing.order
        # Garbage that is left until the heap is full scatters what is loaded and kept in between:
        # a document then finds no place in one piece, and an update needs 13 KB more.
        gc.threshold(_COLLECT)
        try:
            await Job(wing, task, order).carry_out()
        except job.Changed:
            wing.live = None
            continue
        finally:
            gc.threshold(-1)
        if wing.order is order:
            wing.order = order.get("after")
            live = wing.live
            if live and live["why"] != "requires" and live["state"] not in records.OVER:
                wing.live = None
            await wing.tell()
