# SPDX-License-Identifier: MIT
"""Where the clock's floor is kept. Loaded to read it and to raise it."""

import struct

from micropython import const

from agent.storage.records import Record
from agent.version import BUILT

# 2068: the last second that `time.gmtime` takes on a board, 2**31 after the year 2000. Up to 1.26
# it raises OverflowError beyond, and an SNTP server, which nobody vouches for, may well say so.
LATEST = const(946684800 + 0x7FFFFFFF)


def load(state):
    """Unix seconds; the time of the build where nothing later was stored."""
    stored = Record(state, "floor").load()
    if stored and len(stored) == 4:
        return max(BUILT, struct.unpack("<I", stored)[0])
    return BUILT


def save(state, seconds):
    Record(state, "floor").save(struct.pack("<I", seconds))
