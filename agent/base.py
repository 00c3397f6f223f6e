# SPDX-License-Identifier: MIT
"""What every life of the board begins with: chip, log, supervisor, clock.

`wiring` builds the usual life upon it, `update.alone` the one for an update. Loaded at the start,
then released.
"""

import sys

from agent import bootcause, facts, ondemand
from agent.board import Board
from agent.errors import AgentError
from agent.link.clock import Clock
from agent.log import Log
from agent.storage import files
from agent.storage.nvsmap import open_nvs
from agent.supervisor import BootRecord, Supervisor
from agent.update import record

_MOUNTED = "/slot-"


def build(runtime):
    """Fills `runtime`. Only a board whose chip fails raises."""
    _begin(runtime)
    runtime.alone = record.take_alone(runtime.log)
    if runtime.alone:
        try:
            from agent.update.spare import Spare

            spare = Spare()  # the first of all
            from agent import alone

            alone.build(runtime, spare)
            return
        except AgentError as e:  # the usual life says why
            runtime.log.error("update", e.code)
        except MemoryError:
            runtime.log.error("update", "update-memory")
        runtime.alone = alone = spare = None
        ondemand.release("alone", "update.alone", "update.job", "update.spare")
    from agent import wiring

    wiring.build(runtime)


def _begin(runtime):
    board = runtime.board = Board()
    log = runtime.log = Log(board.uptime_s)
    state = runtime.state = open_nvs(board, "fl_state")
    if state.get_int("reset") > 0:
        from agent import factory

        factory.carry_out(board, log, state)
        factory.release()
    kept = BootRecord(board.rtc_memory)
    boot = bootcause.read(facts.reset_cause(), log, state, kept)
    runtime.supervisor = Supervisor(board, log, state, boot, kept)
    try:
        files.make_folder("/fl")
    except AgentError as e:
        log.error("storage", e.code)
    runtime.clock = Clock(board, log, state)
    runtime.slot = _slot_folder()


def _slot_folder():
    """Where the application slot is mounted that this agent runs from, "" when from none."""
    for folder in sys.path:
        if folder.startswith(_MOUNTED):
            return folder
    return ""
