# SPDX-License-Identifier: MIT
"""What every life of the board begins with: chip, log, supervisor, clock, settings, who it is.

`wiring` builds the usual life upon it, `update.alone` the one for an update. Loaded at the start,
then released.
"""

import json

from agent import birth, bootcause, facts
from agent.board import Board
from agent.config import application, change, schema
from agent.config.wing import release
from agent.errors import AgentError
from agent.identity import stored
from agent.link.clock import Clock
from agent.link.join import parse
from agent.log import Log
from agent.monitor.bootrecord import BootRecord
from agent.storage import files
from agent.storage.nvsmap import open_nvs
from agent.supervisor import Supervisor

_NTP = b"pool.ntp.org"


def begin(runtime):
    """Fills `runtime`; what the flashing tool gave. Only a board whose chip fails raises."""
    board = runtime.board = Board()
    log = runtime.log = Log(board.uptime_s)
    state = runtime.state = open_nvs(board, "fl_state")
    if state.get_int("reset") > 0:
        from agent import factory

        factory.carry_out(board, log, state)
        factory.release()
    record = BootRecord(board.rtc_memory)
    boot = bootcause.read(facts.reset_cause(), log, state, record)
    runtime.supervisor = Supervisor(board, log, state, boot, record)
    try:
        files.make_folder("/fl")
    except AgentError as e:
        log.error("storage", e.code)
    given = stored.source(open_nvs(board, "fl_factory"), log)
    runtime.clock = Clock(board, log, state, _NTP.decode())
    runtime.slot = birth.slot_folder()
    return given


def identify(runtime, given):
    """(the board's identity, its claim), or None; reads the settings. AgentError where what is
    stored is of no use."""
    try:
        runtime.settings = _settings(runtime, given)
        return stored.load(given)
    finally:
        release()


def _settings(runtime, factory):
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
    given["ntp"] = (factory.get("ntp") or _NTP).decode()
    table, refused = schema.table(application.read(runtime.slot, log))
    for name in refused:
        log.error("config", "settings-file " + name)
    return change.load(open_nvs(runtime.board, "fl_conf"), log, table, given)
