# SPDX-License-Identifier: MIT
"""The birth document: what a board says of itself each time it comes to the broker."""

import sys

from agent.version import VERSION


def slot():
    """The name of the application slot that this agent runs from, "" when from none."""
    for folder in sys.path:
        if folder.startswith("/slots/"):
            return folder[len("/slots/") :]
    return ""


def document(supervisor, identity):
    """The document as a dict; about 600 bytes of JSON."""
    board = supervisor.board
    running = board.running_partition().info()
    made = board.describe()
    made.update(
        {
            "id": identity.id if identity else "",
            "agent": VERSION,
            "slot": slot(),
            "partition": running[4],
            "mac": board.mac(),
            "boot": supervisor.boot["count"],
            "cause": supervisor.boot["cause"],
            "why": supervisor.boot["why"],
            "storage": board.storage(),
            "commands": sorted(supervisor.commands),
        }
    )
    return made
