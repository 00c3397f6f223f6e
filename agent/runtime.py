# SPDX-License-Identifier: MIT
"""The running agent: what `wiring` put together, and the loop that keeps it going.

What a board lacks (an identity, a file system that can be written) is logged with its code, and
the rest runs: a board that stays up can be helped.
"""

from agent import ondemand
from agent.supervisor import WATCHDOG_S
from agent.version import VERSION


class Runtime:
    """Attributes: board, log, state, supervisor, clock, events; keyring, wifi and session are None
    where the board has no identity, and `identity_error` says why."""

    def __init__(self):
        from agent import wiring

        self.keyring = self.wifi = self.session = None
        self.identity_error = ""
        wiring.build(self)
        self.development = self.state.get_int("dev") == 1
        wiring = None
        ondemand.release(
            "agent.wiring",
            "agent.bootcause",
            "agent.identity.stored",
            "agent.link.eventlog",
            "agent.link.join",
            "agent.storage.nvsmap",
        )

    def birth(self):
        """The board's self-description, a dict."""
        from agent import birth

        name = self.keyring.own.name if self.keyring else ""
        made = birth.document(self.supervisor, name)
        birth = None
        ondemand.release("agent.birth")
        return made

    async def info(self, args):
        return self.birth()

    async def run(self):
        """Runs for ever."""
        boot = self.supervisor.boot
        self.log.info(
            "boot",
            "fleetling {} boot {} after {} {}".format(
                VERSION, boot["count"], boot["cause"], boot["why"]
            ),
        )
        if self.development:
            self.log.warning("boot", "development mode: no watchdog")
        else:
            self.board.start_watchdog(WATCHDOG_S)
        self.events.add("boot", boot=boot["count"], cause=boot["cause"], why=boot["why"])
        await self.supervisor.run()

    def set_development(self, on):
        self.state.set_int("dev", 1 if on else 0)
