# SPDX-License-Identifier: MIT
"""The update's record: what is under way or was the last, in a file that changes as a whole.

{"state", "id", "n", "code", "detail", "parts", "faults", "bad"}. `state` is one of the persisted
states (docs/updates.md), `n` counts how often the same parts were switched to, `boot` is the boot
that did so last, `faults` counts those of the trial, `parts` says of each kind what is to be
installed and where, `bad` has the last contents that were condemned.
"alone": {"order", "lives", "next", "code", "detail", "wanted", "chosen"} is the order that a life
of its own was begun for, how many there were, whether the next start is one, and how the last has
failed; which files of the metadata the next has to fetch, and what was chosen by it.
"untold" stands where such a life has ended the update.
Beside it: how far a fetch has come, metadata that was fetched ahead, and what the app partitions
hold. Loaded to read and change them.
"""

import json
import os

from micropython import const

from agent.errors import AgentError
from agent.storage import files, records

_PATH = "/fl/update"
_PROGRESS = "/fl/update.at"
_FIRMWARE = "/fl/firmware"
_REMEMBERED = const(4)

# What each has to have, by its type: an agent of another version may have written them.
_PART = {"kind": "", "path": "", "version": "", "security": 0, "sha256": "", "size": 0, "place": 0}
_ALONE = {"order": {}, "lives": 0, "code": "", "detail": "", "wanted": []}
_ORDER = {"id": "", "targets": []}
_PLACES = {"app": 3, "firmware": 16}

AHEAD = "/fl/ahead"

PREVIOUS = "previous"  # the id of what the command of that name does
OVER = ("idle", "confirmed", "reverted", "failed", "refused")


def load():
    """The record; that of an idle board where there is none, or none that we can read."""
    found = _idle()
    found.update(_read(_PATH) or {})
    if not _fits(found, _idle()) or not all([_is_part(one) for one in found["parts"]]):
        found = _idle()
    alone = found.get("alone")
    if alone and not (_fits(alone, _ALONE) and _fits(alone["order"], _ORDER)):
        found.pop("alone")
    return found


def _idle():
    made = {"state": "idle", "id": "", "parts": [], "bad": []}
    made.update({"n": 0, "boot": 0, "faults": 0, "code": "", "detail": ""})
    return made


def _fits(found, form):
    """Whether it is a dict that has all that `form` has, of the same types."""
    if not isinstance(found, dict):
        return False
    return all([type(found.get(key)) is type(form[key]) for key in form])


def _is_part(one):
    return _fits(one, _PART) and 0 <= one["place"] < _PLACES.get(one["kind"], 0)


def save(record):
    files.replace(_PATH, json.dumps(record).encode())


def order_alone(record, order):
    """The next start is a life for this order alone (`alone`)."""
    kept = record.get("alone")
    if lives(record, order["id"]) == 0:
        kept = record["alone"] = {"order": order, "lives": 0, "code": "", "detail": ""}
    kept["lives"] += 1
    kept["wanted"] = []
    kept["chosen"] = None
    next_alone(record)


def next_alone(record):
    record["alone"]["next"] = True
    save(record)


def lives(record, order_id):
    """How many lives of their own this order has had."""
    kept = record.get("alone")
    return kept["lives"] if kept and kept["order"]["id"] == order_id else 0


def take_alone(log):
    """The order of this life, or None. Whatever ends it, the next life is a usual one."""
    record = load()
    kept = record.get("alone")
    if not isinstance(kept, dict):
        return None
    try:
        if not kept.pop("next", False):
            forget_ahead()  # the life before was cut
            return None
        save(record)
    except AgentError as e:
        log.error("update", e.code)
        return None  # it might begin such lives for ever
    return kept["order"]


def part(record, kind):
    """The part of that kind ("app" or "firmware"), or None."""
    for one in record["parts"]:
        if one["kind"] == kind:
            return one
    return None


def begin(record, order_id, parts, state="fetching"):
    """Another assignment; what is remembered of others stays."""
    record["state"] = state
    record["id"] = order_id
    record["parts"] = parts
    record["n"] = 0
    record["code"] = record["detail"] = ""
    save(record)


def condemn(record, key="sha256"):
    """These contents are not tried again; by the key "left", what the command `previous` left."""
    for one in record["parts"]:
        if one.get(key) and one[key] not in record["bad"]:
            record["bad"] = record["bad"][1 - _REMEMBERED :] + [one[key]]


def keep_progress(content, state, validator):
    """How far the payload of the image with this SHA-256 (hex) was read."""
    body = content.encode() + bytes((len(state),)) + state + (validator or b"")
    files.replace(_PROGRESS, records.pack(0, body))


def progress(content):
    """(state, validator or None) of that image, or None."""
    found = records.unpack(files.read(_PROGRESS))
    if not found:
        return None
    name = content.encode()
    body = found[1]
    if body[: len(name)] != name or len(body) == len(name):
        return None
    length = body[len(name)]
    start = len(name) + 1
    return body[start : start + length], body[start + length :] or None


def forget_progress():
    files.remove(_PROGRESS)


def forget_ahead():
    """Nothing lies there any more that was fetched ahead."""
    try:
        names = os.listdir(AHEAD)
    except OSError:
        return  # there is no such folder
    for name in names:
        files.remove(AHEAD + "/" + name)


def firmware():
    """{partition: [version, security, SHA-256 in hex]} of releases that were confirmed there."""
    known = _read(_FIRMWARE) or {}
    form = [str, int, str]
    for label in list(known):
        if not isinstance(known[label], list) or [type(one) for one in known[label]] != form:
            known.pop(label)
    return known


def keep_firmware(known):
    files.replace(_FIRMWARE, json.dumps(known).encode())


def forget():
    """A factory reset: nothing is under way any more."""
    files.remove(_PATH)
    forget_progress()
    forget_ahead()


def _read(path):
    try:
        data = files.read(path)
        found = json.loads(data) if data else None
    except (ValueError, AgentError):
        return None
    return found if isinstance(found, dict) else None
