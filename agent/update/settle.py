# SPDX-License-Identifier: MIT
"""After a start: did the board come up in what it was to switch to? Loaded at the start.

| record | what runs | then |
|---|---|---|
| switching, trial | all that was to | it is on trial |
| trial | the same, after its third fault | back, and condemned |
| switching, trial | what was before, after a fault of the new | reverted, and condemned |
| switching, trial | what was before, after a loss of power, a wanted reset | tried again |
| any of these | a part of it | back |
| reverting | what was before | reverted |
| none | a firmware that the bootloader has on trial | on trial: somebody else installed it |
"""

from micropython import const

from agent.errors import AgentError, StorageError
from agent.update import firmware, record, slotword

_FAULTS = ("hung", "starved", "crash", "panic")
_TRIES = const(3)


def settle(runtime):
    """ "trial", "back", or "" when nothing is under way; what is over now is in the record."""
    kept = record.load()
    state = kept["state"]
    try:
        running = firmware.slots()[0]
    except StorageError:
        running = None  # a table without a second app partition
    if state not in ("switching", "trial", "reverting"):
        return _foreign(runtime, kept, running)
    app, image = record.part(kept, "app"), record.part(kept, "firmware")
    there = []
    if app:
        there.append(runtime.slot == slotword.MOUNTS[app["place"]])
    if image:
        there.append(running is not None and running.number == image["place"])
    if any(there) and (state == "reverting" or not all(there)):
        return "back"
    if all(there):
        if state != "trial":
            kept["state"] = "trial"
            kept["faults"] = 0
            record.save(kept)
            if image and not firmware.on_trial(running):
                # The way back is boot.py's and the agent's alone.
                runtime.log.warning("update", "the bootloader has no rollback")
                runtime.events.add("no-rollback")
        elif runtime.supervisor.boot["why"] in _FAULTS:
            # boot.py counts those alone that end a boot within its first minute.
            kept["faults"] = kept.get("faults", 0) + 1
            if kept["faults"] == _TRIES:
                kept["code"] = "trial-" + runtime.supervisor.boot["why"]
                record.condemn(kept)
            record.save(kept)
            return "trial" if kept["faults"] < _TRIES else "back"
        return "trial"
    _returned(runtime, kept, state)
    return ""


def _returned(runtime, kept, state):
    """The old one runs."""
    why = runtime.supervisor.boot["why"]
    try:
        word = runtime.state.get_int(slotword.KEY)
        if word & slotword.POWER:
            why = ""
        if word >> 2:
            runtime.state.set_int(slotword.KEY, slotword.pack(word & 3))
    except AgentError as e:
        runtime.log.error("update", e.code)
    if state == "reverting":
        kept["state"] = "reverted"
    elif why in _FAULTS:
        kept["state"] = "reverted"
        kept["code"] = "trial-" + why
        record.condemn(kept)
    elif kept["n"] < _TRIES:
        kept["state"] = "verified"
    else:
        kept["state"] = "reverted"
        kept["code"] = "trial-power"
    record.save(kept)


def _foreign(runtime, kept, running):
    if running is None or not firmware.on_trial(running):
        return ""
    kept["state"], kept["id"], kept["n"] = "trial", "", 1
    kept["parts"] = [
        {
            "kind": "firmware",
            "path": "",
            "version": "",
            "security": 0,
            "sha256": "",
            "size": 0,
            "place": running.number,
        }
    ]
    record.save(kept)
    return "trial"
