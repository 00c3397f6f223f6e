# SPDX-License-Identifier: MIT
"""Settings and the broker: what is desired comes in, what is in force goes out.

A change that may cut the board off is on trial: every such change ends the connection, and only
one that was made with the new settings confirms them. Otherwise they are undone at the deadline,
or by any reset.
"""

from micropython import const

from agent import ondemand
from agent.errors import LinkError

_LOOK_S = const(5)  # at the trial's deadline


class Config:
    """`store` is the NVS namespace fl_conf, `slot` the folder that the application runs from."""

    def __init__(self, supervisor, log, store, settings, slot):
        self._supervisor = supervisor
        self.board = supervisor.board
        self.log = log
        self.store = store
        self.settings = settings
        self.slot = slot

    def wire(self, session):
        self._session = session
        session.on("down/desired", self._desired)
        session.on_connect(lambda: ("up/schema", self._do("published")))
        session.on_connect(lambda: ("up/reported", self._do("reached")))

    def _do(self, name, *args):
        from agent.config import desk

        try:
            return getattr(desk, name)(self, *args)
        finally:
            desk = None
            release()

    async def _desired(self, payload):
        before = self.settings.trial
        report = self._do("desired", payload)
        if self.settings.trial and "trial" not in self._supervisor.tasks:
            self._supervisor.task("trial", self._watch)
        if report is not None:
            await self._session.publish("up/reported", report, 1, True)
        if self.settings.trial not in (None, before):
            self._end()

    def _end(self):
        self._session.end(LinkError("settings-changed"))

    async def _watch(self, task):
        """Undoes a trial at its deadline."""
        while self.settings.trial:
            if self.settings.overdue(self.board.uptime_s()):
                self._do("undo")
                self._end()  # whatever is in force is said on the next connection
            await task.sleep(_LOOK_S)


def release():
    ondemand.release(
        "config.application",
        "config.desk",
        "config.change",
        "config.schema",
        "config.stored",
        "config.trial",
        "link.document",
        "storage.records",
    )
