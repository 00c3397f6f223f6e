# SPDX-License-Identifier: MIT
"""What is written before a reset: why, for the next life to tell. Loaded for it."""

import json

from agent.monitor import bootrecord
from agent.storage.records import Record

_UNWANTED = ("starved", "crash")


def record(supervisor, state, why, detail):
    """Stores the intent; StorageError when flash does not take it."""
    intent = {"why": why, "detail": detail, "boot": supervisor.boot["count"]}
    Record(state, "intent").save(json.dumps(intent).encode())
    if why not in _UNWANTED:
        good(supervisor, state)


def good(supervisor, state):
    """From now on the end of this boot speaks against nobody; safe mode stays what it is."""
    supervisor.record.flags |= bootrecord.GOOD
    supervisor.record.write()
    if not supervisor.safe and state.get_int("guard"):
        state.set_int("guard", 0)
