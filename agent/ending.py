# SPDX-License-Identifier: MIT
"""What is written before a reset: why, for the next life to tell. Loaded for it."""

import json

from micropython import const

from agent.storage.records import OVERHEAD, Record

_ROOM = const(128)  # nvsmap
_UNWANTED = const(("starved", "crash"))


def record(supervisor, why, detail):
    """Stores the intent; StorageError when flash does not take it."""
    supervisor.log.warning("supervisor", "reset: {} {}".format(why, detail))
    if why not in _UNWANTED:
        supervisor.good()
    while True:
        intent = {"why": why, "detail": detail, "boot": supervisor.boot["count"]}
        data = json.dumps(intent).encode()
        if len(data) + OVERHEAD <= _ROOM or not detail:
            break
        detail = detail[:-1]  # an application's task may have any name
    Record(supervisor.state, "intent").save(data)
