# SPDX-License-Identifier: MIT
"""Commands from the operator: each id once, with a reply that says what came of it.

A command is `{"id", "name", "args", "expires"}`, `expires` in Unix seconds; its reply is `{"id",
"status", "result"}` with status "ok" or "error". The last ids are remembered, and the one that
reset the board is remembered across the reset, so a second copy of a message does nothing twice.
"""

from agent import ondemand


class Commands:
    """A handler that returns a function has it called with the id once the reply is out."""

    def __init__(self, supervisor, session, clock):
        self._supervisor = supervisor
        self._session = session
        self._clock = clock
        last = supervisor.boot["intent"]
        self._done = [last["detail"]] if last.get("why") == "command" else []
        session.on("down/command", self._receive)
        supervisor.command("ping", self._ping)
        supervisor.command("reboot", self._reboot)
        supervisor.command("reset", self._factory_reset)

    async def _receive(self, payload):
        from agent import dispatch

        supervisor = self._supervisor
        try:
            outcome = await dispatch.run(
                payload, supervisor.commands, self._clock.now(), self._done, supervisor.log
            )
        finally:
            dispatch = None
            ondemand.release("dispatch", "link.document")
        if outcome:
            command_id, reply, after = outcome
            await self._session.publish("up/reply", reply, 1)
            if after:
                await after(command_id)

    async def _ping(self, args):
        return {"uptime_s": self._supervisor.board.uptime_s(), "at": self._clock.now()}

    async def _reboot(self, args):
        return self._reset

    async def _factory_reset(self, args):
        from agent import factory

        try:
            factory.check(args.get("level"))
        finally:
            factory.release()

        async def after(command_id):
            factory.order(self._supervisor.board, args["level"])
            await self._reset(command_id)

        return after

    async def _reset(self, command_id):
        from agent.leave import leave

        await leave(self._session, self._supervisor, "command", command_id)
