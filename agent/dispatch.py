# SPDX-License-Identifier: MIT
"""Carries out one command message, and has the commands that every board knows. Loaded when one
comes."""

import json

from micropython import const

from agent.errors import AgentError, Refused
from agent.leave import leave
from agent.link import document

_REMEMBERED = const(16)
_LONGEST_ID = const(48)  # bytes


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
    # As JSON it is remembered across a reset.
    size = len(json.dumps(command_id).encode()) - 2
    if not (isinstance(command_id, str) and 0 < size <= _LONGEST_ID):
        raise Refused("command-malformed", "id")
    if not (isinstance(name, str) and isinstance(args, dict)):
        raise Refused("command-malformed", "name or args")
    if expires is not None and not isinstance(expires, int):
        raise Refused("command-malformed", "expires")
    if expires is not None and now > expires:
        raise Refused("command-expired", command_id)
    return command_id, name, args


async def run(payload, runtime, done):
    """(id, reply, what must come after the reply or None) of a message; None for a repetition.

    `done` are the ids seen, oldest first, which this one joins.
    """
    command_id, name, args = parse(payload, runtime.clock.now())
    if command_id in done:
        return None
    done[:] = done[-(_REMEMBERED - 1) :] + [command_id]
    runtime.log.info("command", name)
    after = None
    try:
        if name in BUILT_IN:
            result = await BUILT_IN[name](runtime, args)
        elif name in runtime.supervisor.commands:
            result = await runtime.supervisor.commands[name](args)
        else:
            raise Refused("command-unknown", name)
        if callable(result):
            result, after = None, result
        reply = {"id": command_id, "status": "ok", "result": result}
    except AgentError as e:
        failures = runtime.session.failures
        failures["command-refused"] = failures.get("command-refused", 0) + 1
        reply = {"id": command_id, "status": "error", "code": e.code, "detail": e.detail}
    return command_id, reply, after


async def _ping(runtime, args):
    return {"uptime_s": runtime.board.uptime_s(), "at": runtime.clock.now()}


async def _info(runtime, args):
    return runtime.birth()


async def _reboot(runtime, args):
    async def after(command_id):
        await leave(runtime.session, runtime.supervisor, "command", command_id)

    return after


async def _reset(runtime, args):
    from agent import factory

    try:
        factory.check(args.get("level"))
    finally:
        factory.release()

    async def after(command_id):
        factory.order(runtime.board, args["level"])
        await leave(runtime.session, runtime.supervisor, "command", command_id)

    return after


async def _previous(runtime, args):
    return await runtime.update.previous(args.get("kind"))


BUILT_IN = {
    "ping": _ping,
    "info": _info,
    "previous": _previous,
    "reboot": _reboot,
    "reset": _reset,
}
