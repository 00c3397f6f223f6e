# SPDX-License-Identifier: MIT
"""The one place that knows all wings: makes them, and wires them to a running agent.

Loaded at the start, and released when its work is done: nothing that stays may hold one of its
functions, for a function holds its module, and this one holds all.
"""

from micropython import const

from agent import base, follow
from agent.commands import Commands
from agent.config.wing import Config
from agent.errors import AgentError
from agent.identity.keyring import Keyring
from agent.link.events import Events
from agent.link.session import Session
from agent.link.wifi import Wifi
from agent.monitor.heartbeat import Heartbeat
from agent.storage.nvsmap import open_nvs
from agent.update.wing import Update

_LINK_DEADLINE_S = const(45)


def build(runtime, given):
    """Fills `runtime` with the wings; `given` is what `base` has found."""
    log = runtime.log
    runtime.events = Events(log, runtime.clock)
    try:
        runtime.keyring = _keyring(runtime, *base.identify(runtime, given))
        if runtime.keyring:
            _wire_link(runtime, runtime.slot)
            return
    except AgentError as e:
        runtime.keyring = None
        runtime.identity_error = e.code
        log.error("identity", "{} {}".format(e.code, e.detail))
        return
    runtime.identity_error = "identity-none"
    log.warning("identity", "this board was never provisioned: fleetling provision")


def _keyring(runtime, own, claim):
    if own is None:
        return None
    made = Keyring(runtime.board, runtime.log, runtime.clock, own, claim)
    return made if made.identity() else None


def _wire_link(runtime, slot):
    log, supervisor, keyring = runtime.log, runtime.supervisor, runtime.keyring
    settings = runtime.settings
    runtime.wifi = Wifi(runtime.board, log, settings)
    session = runtime.session = Session(
        supervisor, keyring, runtime.wifi, runtime.clock, runtime.events, settings
    )
    keyring.wire(session)
    Commands(runtime)
    session.on_connect(runtime.introduction)
    config = Config(supervisor, log, open_nvs(runtime.board, "fl_conf"), settings, slot)
    config.wire(session)
    follow.begin(runtime)
    runtime.update = Update(runtime)
    heartbeat = runtime.heartbeat = Heartbeat(runtime)
    supervisor.task("link", session.run, _LINK_DEADLINE_S)
    supervisor.task("health", heartbeat.run)
    supervisor.task("identity", keyring.run)
    runtime.update.wire(session)
