# SPDX-License-Identifier: MIT
"""The running agent: what `wiring` put together, and the loop that keeps it going.

What a board lacks (an identity, a file system that can be written) is logged with its code, and
the rest runs: a board that stays up can be helped.
"""

from agent import ondemand
from agent.config.settings import OfApplication
from agent.supervisor import WATCHDOG_S


class Runtime:
    """Attributes: board, log, state, supervisor, clock, events, settings; keyring, wifi and
    session are None where the board has no identity, and `identity_error` says why."""

    def __init__(self):
        from agent import wiring

        self.keyring = self.wifi = self.session = self.settings = None
        self.identity_error = ""
        wiring.build(self)
        self.config = OfApplication(self.settings)
        self.development = self.state.get_int("dev") == 1
        wiring = None
        ondemand.release(
            "wiring",
            "birth",
            "bootcause",
            "facts",
            "identity.stored",
            "link.eventlog",
            "link.join",
            "storage.nvsmap",
        )

    def birth(self):
        """The board's self-description, a dict."""
        from agent import birth

        name = self.keyring.own.name if self.keyring else ""
        made = birth.document(self.supervisor, name)
        birth = None
        ondemand.release("birth", "facts")
        return made

    async def info(self, args):
        return self.birth()

    async def run(self):
        """Runs for ever."""
        from agent.announce import announce

        announce(self)
        announce = None
        ondemand.release("announce")
        if not self.development:
            self.board.start_watchdog(WATCHDOG_S)
        await self.supervisor.run()
