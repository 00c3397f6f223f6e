# SPDX-License-Identifier: MIT
"""The command `previous`: what ran before comes back, on trial, without a download.

What is left by it is condemned once that is confirmed, for the assignment that brought it may
still stand. The security floor holds here too. Loaded for the command.
"""

from agent.errors import Refused
from agent.update import firmware, here, pack, record, slotword

_ID = record.PREVIOUS


async def order(runtime, kind):
    """Prepares the record and returns the order that carries it out; Refused when there is
    nothing to go back to."""
    kept = record.load()
    if kept["state"] not in record.OVER:
        raise Refused("update-busy", kept["state"])
    if kind == "app":
        part, left = _application(runtime)
    elif kind == "firmware":
        part, left = await _firmware()
    else:
        raise Refused("update-kind", str(kind))
    floor = runtime.state.get_int(dict(here.FLOORS)[kind])
    if part["security"] < floor:
        raise Refused("update-security", "{} < {}".format(part["security"], floor))
    part["left"] = left
    kept["bad"] = [content for content in kept["bad"] if content != part["sha256"]]
    record.begin(kept, _ID, [part], "verified")
    return again()


def again():
    """The order that carries out what is prepared in the record: nobody repeats the command."""
    return {
        "id": _ID,
        "targets": [_ID],
        "not_before": None,
        "deadline": 0,
        "jitter_s": None,
    }


def _application(runtime):
    running = slotword.running(runtime.slot)
    for number in (3 - running if running else 1, 3 - running if running else 2, 0):
        version, content, security = pack.known(slotword.pack_path(number))
        if content and number != running:
            left = "" if running is None else pack.known(slotword.pack_path(running))[1]
            return _part("app", version, security, content, number), left
    raise Refused("update-none", "app")


async def _firmware():
    running, other = firmware.slots()
    length = other.length()
    content = firmware.text(await other.digest(length, firmware.pause))
    version, security = "", 0
    found = record.firmware().get(other.label)
    if found and found[2] == content:
        version, security = found[0], found[1]
    left = firmware.text(await running.digest(running.length(), firmware.pause))
    part = _part("firmware", version, security, content, other.number)
    part["size"] = length
    return part, left


def _part(kind, version, security, content, place):
    return {
        "kind": kind,
        "path": _ID,
        "version": version,
        "security": security,
        "sha256": content,
        "size": 0,
        "place": place,
    }
