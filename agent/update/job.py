# SPDX-License-Identifier: MIT
"""One assignment at work: from the repository onto flash, in attempts.

What fails for the network's or the flash's sake is tried again, less and less often, for so many
times; what is refused is not. `updater` makes of it the way of a usual life, `alone` that of a
life for nothing else: `_attempt(record)` is one attempt, `_was_last(record, error, attempt)` says
after one that failed whether it was the last, `_source()` is where the metadata is read from.
Loaded with them.
"""

import gc

from micropython import const

from agent import ondemand
from agent.errors import AgentError, LinkError, Refused
from agent.update import record as records

ATTEMPTS = const(8)
_FIRST_PAUSE_S = const(10)
_LONGEST_PAUSE_S = const(1800)
_STEP_S = const(5)
_BROKEN = const(5)  # connections in a row that brought nothing
_BREAKS = ("http-closed", "http-slow", "tcp-failed", "tls-closed")
_APP_FRAME = const(4096)
_TELL_S = const(5)  # between two reports of progress
_LOADED = (
    "update.site",
    "update.spare",
    "update.rules",
    "update.here",
    "chip",
    "update.install_app",
    "update.install_firmware",
    "update.order",
    "update.bundle",
    "update.manifest",
    "update.pack",
    "update.slotword",
    "update.firmware",
    "update.payload.reader",
    "update.payload.remote",
    "update.payload.header",
    "update.payload.patch",
    "update.payload.add",
    "update.payload.add_viper",
    "update.payload.add_plain",
    "update.payload",
    "link.http",
    "link.tls",
    "facts",
    "storage.nvsmap",
    "storage.records",
    "storage.files",
)
_DECIDED = (
    "update.rules",
    "update.here",
    "chip",
    "update.offer",
    "update.order",
    "update.firmware",
    "update.pack",
    "update.manifest",
    "update.slotword",
    "facts",
)
MEMORY = ("update-memory", "tls-memory")


class Changed(Exception):
    """The assignment that was worked on is no longer the one that counts."""


class Job:
    """`site` is the repository, `spare` a piece of the heap (`Spare`), while they are needed."""

    def __init__(self, wing, task, order):
        self.wing = wing
        self.runtime = wing.runtime
        self.log = wing.runtime.log
        self.order = order
        self.site = self.spare = None
        self._task = task
        self._told_s = 0

    # --- what those who work for it use

    async def pause(self):
        self._task.alive()
        if self.wing.order is not self.order:
            raise Changed()
        await self._task.sleep(0)

    def fetching(self, fetch):
        """The same `fetch`, which looks before each call whether it is still wanted, and goes on
        where a connection broke, as long as each brings something."""

        async def watched(offset, buffer):
            broken = 0
            while True:
                self._task.alive()
                if self.wing.order is not self.order:
                    raise Changed()
                try:
                    return await fetch(offset, buffer)
                except LinkError as e:
                    broken += 1
                    if broken == _BROKEN or e.code not in _BREAKS:
                        raise
                await self._task.sleep(1 << broken)

        return watched

    def _live(self, state, done=0, of=0, why="", error=None):
        self.wing.live = {
            "id": self.order["id"],
            "targets": self.order["targets"],
            "state": state,
            "done": done,
            "of": of,
            "why": why,
            "code": error.code if error else "",
            "detail": error.detail if error else "",
        }
        return self.wing.live

    async def show(self, state, done=0, of=0, why="", error=None):
        """What the report says from now on."""
        live = self.wing.live
        before = _stage(live) if live else None
        live = self._live(state, done, of, why, error)
        now = self.runtime.board.uptime_s()
        if before != _stage(live) or now - self._told_s >= _TELL_S:
            self._told_s = now
            await self.wing.tell()

    # --- the way of an assignment

    async def carry_out(self):
        """Ends with a reset, or with a state in the record that is final."""
        record = records.load()
        if record["id"] == self.order["id"] and record["state"] in records.OVER:
            return
        if not self.order["targets"]:
            self._give_up(record)
            return
        if self._lives(record) and "held" in record["alone"]:
            await self._hold(record["alone"]["held"])
            return
        attempt = 0
        while True:
            try:
                await self._attempt(record)
                return
            except Refused as e:
                if not e.code.startswith("tuf-"):
                    await self._finish(record, "refused", e)
                    return
                error = e
                self._count(e)
            except AgentError as e:
                error = e
            except MemoryError:
                error = AgentError("update-memory")
            finally:
                self._release()
            attempt += 1
            if await self._was_last(record, error, attempt):
                return
            self.log.warning("update", "{} {}".format(error.code, error.detail))
            pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S << attempt)
            byte = self.runtime.board.random(1)[0]
            await self._wait(pause_s * (256 + byte) // 512, "retry", error)

    async def _wait(self, seconds, why, error=None):
        live = self.wing.live
        await self.show(live["state"] if live else "assigned", 0, 0, why, error)
        while seconds > 0:
            await self._task.sleep(min(_STEP_S, seconds))
            seconds -= _STEP_S
            if self.wing.order is not self.order:
                raise Changed()

    async def _choose(self, record):
        """What is to be installed, as [part, offer, offer of the delta or None] each; None where
        nothing is, or not now."""
        await self.show("fetching")
        # Nothing of it may be in the way of the metadata, which needs the most memory of all.
        facts = await self._facts(record)
        found = await self._look(facts["firmware"][1])
        from agent.update import here, rules

        try:
            chosen = rules.choose([whole for whole, _ in found], facts)
        except rules.Held as e:
            await self._hold(e.args[0])
            return None
        if not chosen:
            record["parts"] = []
            await self._finish(record, "idle", Refused("same"))
            return None
        parts = [here.part(self.runtime, offer) for offer in chosen]
        here = rules = facts = None
        ondemand.release(*_DECIDED)
        if record["id"] != self.order["id"] or not _same(record["parts"], parts):
            records.begin(record, self.order["id"], parts)
        return [[parts[i], chosen[i], _delta(found, chosen[i])] for i in range(len(parts))]

    async def _bring(self, record, chosen):
        """All that was chosen, onto flash."""
        for part, whole, delta in chosen:
            await self._install(part, whole, delta)
        records.forget_progress()
        record["state"] = "verified"
        record["code"] = record["detail"] = ""
        records.save(record)

    async def _hold(self, what):
        await self.show("waiting", 0, 0, "requires", Refused("", what))
        self.log.warning("update", "held: it requires {}".format(what))

    def _lives(self, record):
        return records.lives(record, self.order["id"])

    async def _install(self, part, whole, delta):
        self._tidy()
        is_app = part["kind"] == "app"
        from agent.update.payload.reader import Reader

        # Before the rest, while memory lies in one piece.
        self.spare = None
        gc.collect()
        reader = Reader(frame=_APP_FRAME) if is_app else Reader()
        if is_app:
            from agent.update import install_app

            await install_app.install(self, part["place"], whole, reader)
        else:
            from agent.update import install_firmware

            await install_firmware.install(self, whole, delta, reader)

    def _open_site(self):
        from agent.update.site import Site

        self.site = Site(self.runtime, self.pause, self._task.alive)

    async def _facts(self, record):
        from agent.update import here

        try:
            return await here.facts(self.runtime, record, self.order["targets"], self.pause)
        finally:
            here = None
            ondemand.release(*_DECIDED)

    async def _look(self, base):
        from agent.update import catalogue

        source = self._source()
        try:
            return await catalogue.look(self.site, source, self.order["targets"], base)
        finally:
            loaded = catalogue.LOADED
            catalogue = None
            await source.close()
            self.spare = source = None
            ondemand.release(*loaded)

    # --- its ends

    def _give_up(self, record):
        """Nothing is assigned any more; what was fetched is left where it lies."""
        self.wing.live = None
        record.pop("alone", None)
        if record["state"] not in records.OVER:
            record["state"] = "idle"
            record["parts"] = []
        record["id"] = self.order["id"]
        if self._saved(record):
            records.forget_progress()

    async def _finish(self, record, state, error):
        record.pop("alone", None)
        record["id"] = self.order["id"]
        record["state"] = state
        record["code"], record["detail"] = error.code, error.detail
        if not self._saved(record):
            self._live(state, 0, 0, "", error)  # the report says it; the next life begins again
        await self.wing.over(record)

    def _saved(self, record):
        try:
            records.save(record)
            return True
        except AgentError as e:
            self.log.error("update", e.code)
            return False

    def _count(self, e):
        if not self.runtime.session:
            return
        failures = self.runtime.session.failures
        failures[e.code] = failures.get(e.code, 0) + 1

    def _release(self):
        self.site = None
        self._tidy()

    def _tidy(self):
        ondemand.release(*_LOADED)
        gc.collect()


def _stage(live):
    """What a report is worth of: the state, and each quarter of the way."""
    return live["state"], live["why"], live["of"] and live["done"] * 4 // live["of"]


def _delta(found, offer):
    for whole, delta in found:
        if whole is offer:
            return delta
    return None


def _same(old, new):
    contents = [[(part["sha256"], part["place"]) for part in parts] for parts in (old, new)]
    return contents[0] == contents[1]
