# SPDX-License-Identifier: MIT
"""Whether what is offered may be installed here: decided before anything is fetched or erased.

No I/O: offers and facts come in, what is to be done or Refused goes out. Loaded for that.
"""

from agent.errors import Refused
from agent.update.offer import version


class Held(Exception):
    """Not now: what it needs is not there yet. `args[0]` says what."""


def choose(offers, here):
    """The offers that are to be installed; none where all of it runs already.

    `here`: "chip", "build" or "", "machine", "mpy", "micropython", "agent"; "app" and "firmware":
    each (version or "", SHA-256 in hex of what runs); "floors": {kind: counter}; "bad": SHA-256 of
    what was condemned.
    """
    kinds = [offer["kind"] for offer in offers]
    if len(set(kinds)) != len(kinds):
        raise Refused("update-assignment", "kinds")
    chosen = []
    for offer in offers:
        _fits_board(offer, here)
        if not _runs(offer, here[offer["kind"]]):
            _is_newer(offer, here)
            chosen.append(offer)
    for offer in chosen:
        _is_met(offer, chosen, here)
    return chosen


def _fits_board(offer, here):
    if offer["kind"] == "app":
        if offer["mpy"] is not None and offer["mpy"] != here["mpy"]:
            raise Refused("update-board", "mpy {}".format(offer["mpy"]))
        return
    if offer["chip"] != here["chip"]:
        raise Refused("update-board", offer["chip"])
    if not offer["boards"]:
        return
    if not here["build"]:
        # Two builds may share a machine's name: it counts where the release has it, word for word.
        if here["machine"] not in offer["machines"]:
            raise Refused("update-build", here["machine"])
    elif here["build"] not in offer["boards"]:
        raise Refused("update-board", here["build"])


def _runs(offer, running):
    known, content = running
    return offer["sha256"] == content or offer["version"] == known


def _is_newer(offer, here):
    kind = offer["kind"]
    if offer["security"] < here["floors"][kind]:
        raise Refused("update-security", "{} < {}".format(offer["security"], here["floors"][kind]))
    known = here[kind][0]
    if known and version(offer["version"]) < _lenient(known):
        raise Refused("update-older", offer["version"])
    if offer["sha256"] in here["bad"]:
        raise Refused("update-condemned", offer["version"])


def _is_met(offer, chosen, here):
    """What it requires is here, or comes with it."""
    for name, least in offer["requires"].items():
        found = here[name][0] if name in ("app", "firmware") else here[name]
        for other in chosen:
            if other["kind"] == name:
                found = other["version"]
        if not found or _lenient(found) < version(least):
            raise Held("{} {}".format(name, least))


def _lenient(text):
    """The version of something that was not made by our tools: "1.25.0-preview" is 1.25.0."""
    try:
        return version(text.split("-")[0].split("+")[0].lstrip("v"))
    except Refused:
        return (0, 0, 0, 0)
