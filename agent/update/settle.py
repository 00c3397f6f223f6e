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
| reverting | the application, though its slot was left: the old one is damaged | failed |
| none | an application on trial that the record knows to be left | back |
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
        trial = slotword.unpack(runtime.state.get_int(slotword.KEY))[1]
        if trial is not None and runtime.slot == slotword.MOUNTS[trial]:
            return "back"  # NVS could not be read when it was left
        return _foreign(runtime, kept, running)
    app, image = record.part(kept, "app"), record.part(kept, "firmware")
    there = []
    if app:
        there.append(runtime.slot == slotword.MOUNTS[app["place"]])
    if image:
        there.append(running is not None and running.number == image["place"])
    if any(there) and (state == "reverting" or not all(there)):
        only_app = app is not None and there == [True, False][: len(there)]
        if state == "reverting" and only_app and _left(runtime):
            # Another reset would come here again, for ever; up, the board can be helped.
            kept["state"], kept["code"] = "failed", "pack-damaged"
            _save(runtime, kept)
            return ""
        return "back"
    if there and all(there):
        if state != "trial":
            kept["state"] = "trial"
            kept["faults"] = 0
            _save(runtime, kept)
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
            _save(runtime, kept)
            return "trial" if kept["faults"] < _TRIES else "back"
        return "trial"
    _returned(runtime, kept, state)
    return ""


def _left(runtime):
    """Whether boot.py was told to leave the slot on trial: then it had no other that is good."""
    return slotword.unpack(runtime.state.get_int(slotword.KEY))[1] is None


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
        return  # boot.py may yet start it: no end before that is written
    if state == "reverting":
        kept["state"] = "reverted"
    elif why == "update-reverted":  # and flash did not take that
        kept["state"] = "reverted"
        kept["code"] = runtime.supervisor.boot["intent"]["detail"]
    # A boot without a number of its own has not been told either why the last one ended.
    elif why in _FAULTS and runtime.supervisor.boot["count"] > kept.get("boot", 0):
        kept["state"] = "reverted"
        kept["code"] = "trial-" + why
        record.condemn(kept)
    elif kept["n"] < _TRIES:
        kept["state"] = "verified"
    else:
        kept["state"] = "reverted"
        kept["code"] = "trial-power"
    _save(runtime, kept)


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
    _save(runtime, kept)
    return "trial"


def _save(runtime, kept):
    """What cannot be noted now must not cost this life its connection: it is found anew in the
    next."""
    try:
        record.save(kept)
    except AgentError as e:
        runtime.log.error("update", e.code)
