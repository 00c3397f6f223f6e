# SPDX-License-Identifier: MIT
"""Updates, as far as they stay in the heap: what is assigned, and how far that is.

What reads an assignment, carries it out, watches a trial or reports is `desk`'s, and loaded for it
(docs/updates.md).
"""

from agent import ondemand
from agent.errors import LinkError


class Update:
    """`order`: the assignment that is to be carried out, or None; `since_s`: the uptime when it
    came; `live`: how far it is, for the report; `trial`: what `settle` said."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.order = self.live = None
        self.since_s = 0
        self.trial = self._do("settled")

    def wire(self, session):
        session.on("down/update", self._receive)
        session.on_connect(lambda: ("up/update", self._do("document")))
        if self.trial or self.order:
            self._start()

    def _do(self, name, *args):
        from agent.update import desk

        try:
            return getattr(desk, name)(self, *args)
        finally:
            names = desk.LOADED
            desk = None
            if "update" not in self.runtime.supervisor.tasks:
                ondemand.release(*names)

    async def _receive(self, payload):
        if self._do("receive", payload):
            self._start()

    def _start(self):
        if "update" not in self.runtime.supervisor.tasks:
            self.runtime.supervisor.task("update", self._run, 60)

    async def _run(self, task):
        from agent.update import desk

        try:
            await desk.run(self, task)
        finally:
            names = desk.LOADED
            desk = None
            ondemand.release(*names)

    async def previous(self, kind):
        """Back to what ran before; Refused when there is nothing."""
        await self._do("previous", kind)
        self._start()

    async def over(self, kept):
        """Tells of an end."""
        self._do("over", kept)
        await self.tell()
        if kept["state"] == "confirmed":
            await self._say("up/birth", self.runtime.birth)

    async def tell(self):
        """Publishes the report."""
        await self._say("up/update", lambda: self._do("document"))

    async def _say(self, topic, make):
        """Publishes a document, if there is a connection; the next one does it anyway."""
        session = self.runtime.session
        if session.connected():
            try:
                await session.publish(topic, make(), 1, True)
            except LinkError:
                pass  # the connection has ended
