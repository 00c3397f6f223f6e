# SPDX-License-Identifier: MIT
"""The file of events that wait (`events`). Loaded at the start and with an event, released at
the session's next look."""

import json

from agent.errors import AgentError
from agent.storage import files


def read(path):
    """(the newest number, the events that wait, whether the last line has no end)."""
    last = 0
    waiting = []
    try:
        data = files.read(path)
    except AgentError:
        return last, waiting, True  # a board that is there without them can be helped
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


def append(path, event):
    files.append(path, json.dumps(event).encode() + b"\n")


def rewrite(path, last, waiting):
    """Writes it anew, with `last` as the newest number."""
    lines = [json.dumps({"seq": last - len(waiting)})]
    lines += [json.dumps(event) for event in waiting]
    files.replace(path, ("\n".join(lines) + "\n").encode())
