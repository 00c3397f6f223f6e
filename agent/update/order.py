# SPDX-License-Identifier: MIT
"""What a board is told to run, on `down/update`, and when. No I/O, no clock of its own.

{"id", "targets": [path, ...], "not_before", "deadline", "jitter_s"}: one target, or one of each
kind that then move together; none at all takes back what was assigned before. Times are Unix
seconds. Loaded to read an assignment.
"""

from hashlib import sha256

from micropython import const

from agent.errors import Refused
from agent.link import document

_LONGEST_ID = const(24)
_LONGEST_PATH = const(96)
_MOST = const(2)
_DAY_S = const(86400)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"


def parse(payload):
    """The assignment as a dict with all its keys; an empty message assigns nothing. Or Refused."""
    if not payload:
        return {"id": "", "targets": [], "not_before": None, "deadline": None, "jitter_s": None}
    found = document.parse(payload, "update-assignment")
    name = found.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID:
        raise Refused("update-assignment", "id")
    if any([c not in _LETTERS for c in name]):
        raise Refused("update-assignment", "id")
    targets = found.get("targets")
    if not isinstance(targets, list) or len(targets) > _MOST:
        raise Refused("update-assignment", "targets")
    for path in targets:
        if not isinstance(path, str) or not 0 < len(path) <= _LONGEST_PATH:
            raise Refused("update-assignment", "targets")
    order = {"id": name, "targets": targets}
    for key in ("not_before", "deadline", "jitter_s"):
        value = found.get(key)
        if value is not None and (type(value) is not int or value < 0):
            raise Refused("update-assignment", key)
        order[key] = value
    return order


def delay_s(order, device_id):
    """How long this board waits before it fetches: even over a fleet, the same after a reset."""
    spread = min(order["jitter_s"] or 0, _DAY_S)
    digest = sha256((order["id"] + "/" + device_id).encode()).digest()
    return int.from_bytes(digest[:4], "big") % (spread + 1)


def in_window(window, now):
    """Whether `now` (Unix seconds) lies in "HH:MM-HH:MM" (UTC, perhaps over midnight)."""
    if not window:
        return True
    minute = now % _DAY_S // 60
    first = int(window[:2]) * 60 + int(window[3:5])
    last = int(window[6:8]) * 60 + int(window[9:])
    if first <= last:
        return first <= minute < last
    return minute >= first or minute < last


def must_wait(order, window, now, busy):
    """Why the board must not be reset now, or "". From the deadline on nothing holds it up."""
    if order["deadline"] is not None and now >= order["deadline"]:
        return ""
    if not in_window(window, now):
        return "window"
    return "busy" if busy else ""
