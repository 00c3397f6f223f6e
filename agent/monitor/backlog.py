# SPDX-License-Identifier: MIT
"""What waits for the broker: a crash record, and the heartbeats of a board that was away: thinned,
in a bounded file, sent later in order.

Where the file has no room left, every second line goes, and from then on half as many are kept: so
the whole absence stays in sight, and a year of it costs some hundred writes. A line may be sent
twice: a receiver knows it by its boot and uptime. Loaded when it is needed.
"""

import json
import os

from micropython import const

from agent.errors import StorageError
from agent.storage import files

PATH = "/fl/health"
_CRASH = const("/fl/crash")
_TOPIC = const("up/health")
_CRASH_TOPIC = const("up/crash")
_LINES = const(48)
_LONGEST = const(1024)  # bytes of a line
_KEPT = const(("boot", "up", "at", "span_s", "m", "counts", "gauges"))


def keep(document, heart):
    """Keeps a heartbeat, or does not: `heart.away` counts those since one could be sent, of which
    one in `heart.stride` is kept."""
    if heart.away % heart.stride:
        return
    kept = {name: document[name] for name in _KEPT if name in document}
    kept["late"] = True
    line = json.dumps(kept).encode()
    if len(line) > _LONGEST:
        return
    if _lines() >= _LINES:
        _thin()
        heart.stride *= 2
    files.append(PATH, line + b"\n")
    heart.owes = True


def _lines():
    count = 0
    try:
        with open(PATH, "rb") as file:
            for _ in file:
                count += 1
    except OSError:
        return 0  # there is none yet
    return count


def _thin():
    try:
        with open(PATH, "rb") as old, open(PATH + ".new", "wb") as new:
            odd = True
            for line in old:
                if odd:
                    new.write(line)
                odd = not odd
        os.rename(PATH + ".new", PATH)
    except OSError:
        raise StorageError("fs-write", PATH)


async def send(session):
    """Sends what was kept, oldest first; it is forgotten once all of it has arrived."""
    try:
        record = json.loads(files.read(_CRASH) or b"null")
    except ValueError:
        record = None  # spoilt; the next crash takes its place
    if record:
        await session.publish(_CRASH_TOPIC, record, 1, True)
        files.remove(_CRASH)
    try:
        file = open(PATH, "rb")
    except OSError:
        return  # there is none
    with file:
        for line in file:
            if line.endswith(b"\n"):  # else the power went while it was written
                await session.publish(_TOPIC, line[:-1].decode(), 1)
    files.remove(PATH)
