# SPDX-License-Identifier: MIT
"""Commands from the operator: each id once, with a reply that says what came of it.

A command is `{"id", "name", "args", "expires"}`, `expires` in Unix seconds; its reply is `{"id",
"status", "result"}` with status "ok" or "error". The last ids are remembered, and the one that
reset the board is remembered across the reset, so a second copy of a message does nothing twice.
"""

import asyncio

from micropython import const

from agent.errors import AgentError, Refused
from agent.link import document

_REMEMBERED = const(16)
_LONGEST_ID = const(48)
_SETTLE_S = 0.3  # for the broker's last acknowledgements to leave the socket


def parse(payload, now):
    """(id, name, args) of a command message; Refused when it is not one, or is too late."""
    try:
        message = document.parse(payload, "command-malformed")
        command_id = message["id"]
        name = message["name"]
        args = message.get("args") or {}
        expires = message.get("expires")
    except KeyError:
        raise Refused("command-malformed")
    if not (isinstance(command_id, str) and 0 < len(command_id) <= _LONGEST_ID):
        raise Refused("command-malformed", "id")
    if not (isinstance(name, str) and isinstance(args, dict)):
        raise Refused("command-malformed", "name or args")
    if expires is not None and not isinstance(expires, int):
        raise Refused("command-malformed", "expires")
    if expires is not None and now > expires:
        raise Refused("command-expired", command_id)
    return command_id, name, args


class Commands:
    def __init__(self, supervisor, session, clock):
        self._supervisor = supervisor
        self._session = session
        self._clock = clock
        last = supervisor.boot["intent"]
        self._done = [last["detail"]] if last.get("why") == "command" else []
        session.on("down/command", self._receive)
        supervisor.command("ping", self._ping)
        supervisor.command("reboot", self._reboot)

    async def _receive(self, payload):
        command_id, name, args = parse(payload, self._clock.now())
        if command_id in self._done:
            return
        self._done = self._done[-(_REMEMBERED - 1) :] + [command_id]
        self._supervisor.log.info("command", name)
        handler = self._supervisor.commands.get(name)
        after = None
        try:
            if handler is None:
                raise Refused("command-unknown", name)
            result = await handler(args)
            if callable(result):  # what must come after the reply
                result, after = None, result
            reply = {"id": command_id, "status": "ok", "result": result}
        except AgentError as e:
            reply = {"id": command_id, "status": "error", "code": e.code, "detail": e.detail}
        await self._session.publish("up/reply", reply, 1)
        if after:
            await after(command_id)

    async def _ping(self, args):
        return {"uptime_s": self._supervisor.board.uptime_s(), "at": self._clock.now()}

    async def _reboot(self, args):
        return self._reset

    async def _reset(self, command_id):
        await self._session.close()
        await asyncio.sleep(_SETTLE_S)
        self._supervisor.reset("command", command_id)
