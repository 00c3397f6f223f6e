# SPDX-License-Identifier: MIT
"""The birth document: what a board says of itself each time it comes to the broker."""

import os
import sys

from agent import facts
from agent.version import VERSION


def slot_folder():
    """The folder of the application slot that this agent runs from, "" when from none."""
    for folder in sys.path:
        if folder.startswith("/slots/"):
            return folder
    return ""


def slot():
    return slot_folder()[len("/slots/") :]


def document(supervisor, device_id):
    """The document as a dict; about 600 bytes of JSON."""
    board = supervisor.board
    boot = supervisor.boot
    name = os.uname()
    return {
        "id": device_id,
        "chip": name[0],
        "board": name[4],
        "build": getattr(sys.implementation, "_build", ""),
        "firmware": name[2],
        "uid": facts.unique_id(),
        "mac": facts.mac(board.wlan),
        "agent": VERSION,
        "slot": slot(),
        "partition": facts.partition(),
        "boot": boot["count"],
        "cause": boot["cause"],
        "why": boot["why"],
        "storage": board.storage(),
        "commands": sorted(supervisor.commands),
    }
