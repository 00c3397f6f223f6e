# SPDX-License-Identifier: MIT
"""Carries out one command message. Loaded when one comes."""

from micropython import const

from agent.errors import AgentError, Refused
from agent.link import document

_REMEMBERED = const(16)
_LONGEST_ID = const(48)


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


async def run(payload, commands, now, done, log):
    """(id, reply, what must come after the reply or None) of a message; None for a repetition.

    `commands` is name -> handler, `done` the ids seen, oldest first, which this one joins.
    """
    command_id, name, args = parse(payload, now)
    if command_id in done:
        return None
    done[:] = done[-(_REMEMBERED - 1) :] + [command_id]
    log.info("command", name)
    after = None
    try:
        if name not in commands:
            raise Refused("command-unknown", name)
        result = await commands[name](args)
        if callable(result):
            result, after = None, result
        reply = {"id": command_id, "status": "ok", "result": result}
    except AgentError as e:
        reply = {"id": command_id, "status": "error", "code": e.code, "detail": e.detail}
    return command_id, reply, after
