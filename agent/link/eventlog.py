# SPDX-License-Identifier: MIT
"""Reads the file of events that wait (`events`). Loaded at the start, then released."""

import json

from agent.storage import files


def read(path):
    """(the newest number, the events that wait, whether the last line has no end)."""
    last = 0
    waiting = []
    data = files.read(path)
    if data is None:
        return last, waiting, False
    for line in data.split(b"\n"):
        try:
            event = json.loads(line)
            last = max(last, event["seq"])
        except (ValueError, KeyError, TypeError):
            continue  # a line that another hand spoilt; the others still count
        if "code" in event:
            waiting.append(event)
    return last, waiting, bool(data) and data[-1] != 10
