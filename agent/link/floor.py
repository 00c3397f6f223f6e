# SPDX-License-Identifier: MIT
"""Where the clock's floor is kept. Loaded to read it and to raise it."""

import struct

from micropython import const

from agent.storage.records import Record
from agent.version import BUILT

LATEST = const(0xFFFFFFFF)  # 2106: what the record and X.509 UTCTime on 32 bits can still say


def load(state):
    """Unix seconds; the time of the build where nothing later was stored."""
    stored = Record(state, "floor").load()
    if stored and len(stored) == 4:
        return max(BUILT, struct.unpack("<I", stored)[0])
    return BUILT


def save(state, seconds):
    Record(state, "floor").save(struct.pack("<I", seconds))
