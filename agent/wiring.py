# SPDX-License-Identifier: MIT
"""The one place that knows all wings: makes them, and wires them to a running agent.

Loaded at the start, and released when its work is done.
"""

import json

from micropython import const

from agent import bootcause
from agent.board import Board
from agent.commands import Commands
from agent.errors import AgentError
from agent.identity import stored
from agent.identity.keyring import Keyring
from agent.link.clock import Clock
from agent.link.events import Events
from agent.link.join import parse
from agent.link.session import LONGEST_PAUSE_S, Session
from agent.link.wifi import Wifi
from agent.log import Log
from agent.monitor.heartbeat import Heartbeat
from agent.storage import files
from agent.storage.nvsmap import open_nvs
from agent.supervisor import Supervisor

_LINK_DEADLINE_S = const(45)
_HEARTBEAT_S = const(60)
_NTP = b"pool.ntp.org"


def build(runtime):
    """Fills `runtime`. Only a board whose chip fails raises."""
    board = runtime.board = Board()
    log = runtime.log = Log(board.uptime_s)
    runtime.state = open_nvs(board, "fl_state")
    runtime.supervisor = Supervisor(
        board, log, runtime.state, bootcause.read(board, log, runtime.state)
    )
    try:
        files.make_folder("/fl")
    except AgentError as e:
        log.error("storage", e.code)
    factory = stored.source(open_nvs(board, "fl_factory"), log)
    server = (factory.get("ntp") or _NTP).decode()
    runtime.clock = Clock(board, log, runtime.state, server)
    runtime.events = Events(log, runtime.clock)
    try:
        runtime.keyring = _keyring(runtime, factory)
        if runtime.keyring:
            _wire_link(runtime, factory)
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


def _settings(factory, log):
    try:
        settings = json.loads(factory.get("conf") or b"{}")
    except ValueError:
        settings = None
    if isinstance(settings, dict):
        return settings
    log.error("config", "factory-conf")
    return {}


def _wire_link(runtime, factory):
    log, supervisor, keyring = runtime.log, runtime.supervisor, runtime.keyring
    settings = _settings(factory, log)
    networks = parse(factory.get("wifi") or b"[]")
    runtime.wifi = Wifi(runtime.board, log, networks)
    session = runtime.session = Session(
        supervisor,
        keyring,
        runtime.wifi,
        runtime.clock,
        runtime.events,
        settings.get("reconnect_s", LONGEST_PAUSE_S),
    )
    keyring.wire(session)
    Commands(supervisor, session, runtime.clock)
    supervisor.command("info", runtime.info)
    session.on_connect(lambda: ("up/birth", runtime.birth()))
    interval_s = settings.get("heartbeat_s", _HEARTBEAT_S)
    heartbeat = Heartbeat(supervisor, session, runtime.wifi, interval_s)
    supervisor.task("link", session.run, _LINK_DEADLINE_S)
    supervisor.task("health", heartbeat.run)
    supervisor.task("identity", keyring.run)
