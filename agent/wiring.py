# SPDX-License-Identifier: MIT
"""The one place that knows all wings: makes them, and wires them to a running agent.

Loaded at the start, and released when its work is done: nothing that stays may hold one of its
functions, for a function holds its module, and this one holds all.
"""

import json

from micropython import const

from agent import follow
from agent.commands import Commands
from agent.config import application, change, schema
from agent.config.wing import Config, release
from agent.errors import AgentError
from agent.identity import stored
from agent.identity.keyring import Keyring
from agent.link import clock
from agent.link.events import Events
from agent.link.join import parse
from agent.link.session import Session
from agent.link.wifi import Wifi
from agent.monitor import Heartbeat
from agent.storage.nvsmap import open_nvs
from agent.update.wing import Update

_LINK_DEADLINE_S = const(45)


def build(runtime):
    """Fills `runtime`, which has what `base` gave it."""
    log = runtime.log
    factory = stored.source(open_nvs(runtime.board, "fl_factory"), log)
    runtime.events = Events(log, runtime.clock)
    runtime.heartbeat = Heartbeat(runtime)  # an application counts in it, with an identity or not
    slot = runtime.slot
    try:
        runtime.settings = _settings(runtime, factory, slot)
        release()
        runtime.keyring = _keyring(runtime, factory)
        if runtime.keyring:
            _wire_link(runtime, slot)
            return
    except AgentError as e:
        runtime.keyring = None
        runtime.identity_error = e.code
        log.error("identity", "{} {}".format(e.code, e.detail))
        return
    runtime.identity_error = "identity-none"
    log.warning("identity", "this board was never provisioned: fleetling provision")


def _keyring(runtime, factory):
    own, claim = stored.load(factory)
    if own is None:
        return None
    made = Keyring(runtime.board, runtime.log, runtime.clock, own, claim)
    return made if made.identity() else None


def _settings(runtime, factory, slot):
    """The settings. What the flashing tool gave is their lowest layer."""
    log = runtime.log
    try:
        given = json.loads(factory.get("conf") or b"{}")
    except ValueError:
        given = None
    if not isinstance(given, dict):
        log.error("config", "factory-conf")
        given = {}
    given["wifi"] = [list(network) for network in parse(factory.get("wifi") or b"[]")]
    given["broker"] = (factory.get("broker") or b"").decode()
    given["ntp"] = (factory.get("ntp") or b"").decode() or clock.SERVER
    table, refused = schema.table(application.read(slot, log))
    for name in refused:
        log.error("config", "settings-file " + name)
    return change.load(open_nvs(runtime.board, "fl_conf"), log, table, given)


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
    supervisor.task("link", session.run, _LINK_DEADLINE_S)
    supervisor.task("health", runtime.heartbeat.run)
    supervisor.task("identity", keyring.run)
    runtime.update.wire(session)
