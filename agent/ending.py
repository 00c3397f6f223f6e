# SPDX-License-Identifier: MIT
"""What is written before a reset: why, for the next life to tell. Loaded for it."""

import json

from micropython import const

from agent.storage.records import Record

_UNWANTED = const(("starved", "crash"))


def record(supervisor, why, detail):
    """Stores the intent; StorageError when flash does not take it."""
    supervisor.log.warning("supervisor", "reset: {} {}".format(why, detail))
    if why not in _UNWANTED:
        supervisor.good()
    intent = {"why": why, "detail": detail, "boot": supervisor.boot["count"]}
    Record(supervisor.state, "intent").save(json.dumps(intent).encode())
