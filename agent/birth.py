# SPDX-License-Identifier: MIT
"""The birth document: what a board says of itself each time it comes to the broker."""

import os
import sys

from agent import dispatch, facts, running
from agent.update import record
from agent.version import VERSION

_MOUNTED = "/slot-"


def slot(runtime):
    """The name of the slot that runs, "" for none."""
    return runtime.slot[len(_MOUNTED) :]


def document(runtime):
    """The document as a dict; about 700 bytes of JSON."""
    board = runtime.board
    boot = runtime.supervisor.boot
    name = os.uname()
    mode = "safe" if runtime.supervisor.safe else "normal"
    partition = facts.partition()
    return {
        "id": runtime.keyring.own.name if runtime.keyring else "",
        "chip": name[0],
        "board": name[4],
        "build": getattr(sys.implementation, "_build", ""),
        "firmware": name[2],
        "uid": facts.unique_id(),
        "mac": facts.mac(board.wlan),
        "agent": VERSION,
        "app": running.application(slot(runtime))[0],
        "slot": slot(runtime),
        "partition": partition,
        "release": record.firmware().get(partition, [""])[0],
        "mode": "development" if runtime.development else mode,
        "boot": boot["count"],
        "cause": boot["cause"],
        "why": boot["why"],
        "storage": board.storage(),
        "commands": sorted(list(dispatch.BUILT_IN) + list(runtime.supervisor.commands)),
    }
