# SPDX-License-Identifier: MIT
"""Commands from the operator: each id once, with a reply that says what came of it.

A command is `{"id", "name", "args", "expires"}`, `expires` in Unix seconds; its reply is `{"id",
"status", "result"}` with status "ok" or "error". The last ids are remembered, and the one that
reset the board is remembered across the reset, so a second copy of a message does nothing twice.
"""

from agent import ondemand


class Commands:
    """A handler that returns a function has it called with the id once the reply is out. What
    every board can do is in `dispatch`."""

    def __init__(self, runtime):
        self._runtime = runtime
        last = runtime.supervisor.boot["intent"]
        self._done = [last["detail"]] if last.get("why") == "command" else []
        runtime.session.on("down/command", self._receive)

    async def _receive(self, payload):
        from agent import dispatch

        runtime = self._runtime
        try:
            outcome = await dispatch.run(payload, runtime, self._done)
        finally:
            dispatch = None
            ondemand.release("dispatch", "leave", "link.document")
        if outcome:
            command_id, reply, after = outcome
            await runtime.session.publish("up/reply", reply, 1)
            if after:
                await after(command_id)
