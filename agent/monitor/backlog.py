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

from agent.errors import LinkError, Refused, StorageError
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


async def send(session, heart):
    """Sends what was kept, oldest first; it is forgotten once all of it has arrived, or where
    flash does not give it back."""
    heart.owes = False  # a crash that is noted meanwhile owes anew
    try:
        await _send_crash(session)
        await _send_beats(session)
    except StorageError as e:
        session.log.error("health", e.code)
    except LinkError:
        heart.owes = True
        raise


async def _send_crash(session):
    data = files.read(_CRASH)
    try:
        record = json.loads(data or b"null")
    except ValueError:
        record = None  # spoilt; the next crash takes its place
    if record:
        try:
            await session.publish(_CRASH_TOPIC, record, 1, True)
        except Refused:
            pass  # longer than a message: no record of ours
        if files.read(_CRASH) == data:  # else it was counted in it meanwhile
            files.remove(_CRASH)


async def _send_beats(session):
    try:
        with open(PATH, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):  # else the power went while it was written
                    await _send_beat(session, line[:-1])
    except OSError as e:
        if e.args[0] == 2:  # ENOENT
            return
    files.remove(PATH)


async def _send_beat(session, line):
    try:
        await session.publish(_TOPIC, line.decode(), 1)
    except (ValueError, Refused):
        pass  # not written by us: no UTF-8, or longer than a message
