# SPDX-License-Identifier: MIT
"""The running agent: what `wiring` put together, and the loop that keeps it going.

What a board lacks (an identity, a file system that can be written) is logged with its code, and
the rest runs: a board that stays up can be helped.
"""

from micropython import const

from agent import ondemand
from agent.config.settings import OfApplication

_WATCHDOG_S = const(60)


class Runtime:
    """Attributes: board, log, state, supervisor, clock, events, settings; slot, the folder that
    runs, "" for none; alone, the order that this life is for (`update.alone`), or None. keyring,
    wifi, session and update are None where the board has no identity, and
    `identity_error` says why; events, session, heartbeat and update also in a life for an update.
    """

    def __init__(self):
        from agent import base

        self.keyring = self.wifi = self.session = self.settings = self.heartbeat = None
        self.update = self.events = None
        self.identity_error = ""
        base.build(self)
        self.config = OfApplication(self.settings)
        self.supervisor.on_failure = self.crashed
        self.development = self.state.get_int("dev") == 1
        base = None
        ondemand.release(
            "wiring",
            "base",
            "alone",
            "birth",
            "running",
            "bootcause",
            "follow",
            "chip",
            "dispatch",
            "leave",
            "link.document",
            "facts",
            "update.record",
            "config.stored",
            "identity.stored",
            "link.eventlog",
            "link.join",
            "storage.nvsmap",
            "storage.records",
        )

    def birth(self):
        """The board's self-description, a dict."""
        from agent import birth

        made = birth.document(self)
        birth = None
        ondemand.release(
            "birth", "running", "dispatch", "leave", "facts", "link.document", "update.record"
        )
        return made

    def introduction(self):
        return "up/birth", self.birth()

    def follower(self, name):
        """A listener to settings: `name` of `follow`, which is loaded for the call."""

        def call():
            from agent import follow

            try:
                getattr(follow, name)(self)
            finally:
                follow = None
                ondemand.release("follow", "chip")

        return call

    def crashed(self, name, e):
        """Notes that a task has raised."""
        if name == "app" and self.settings:
            self.settings.forget()  # before its next start, which listens anew
        from agent.monitor import crash

        try:
            crash.note(self, name, e)
            if self.heartbeat:
                self.heartbeat.owes = True
        finally:
            crash = None
            ondemand.release("monitor.crash", "running", "storage.files")

    def failed(self, e):
        """Ends the life because of an exception that no task has caught."""
        try:
            self.crashed("agent", e)
        finally:
            self.supervisor.reset("crash", "agent")

    async def run(self):
        """Runs for ever."""
        if not self.alone:
            from agent.announce import announce

            announce(self)
            announce = None
        ondemand.release(
            "announce",
            "application",
            "birth",
            "running",
            "dispatch",
            "leave",
            "facts",
            "update.record",
        )
        if not self.development:
            self.board.start_watchdog(_WATCHDOG_S)
        await self.supervisor.run()
