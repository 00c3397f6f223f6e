# SPDX-License-Identifier: MIT
"""To the new slots and back: the writes that decide what boots, so ordered that a cut may fall
anywhere.

Invariants:
- what is switched to is hashed in flash right before;
- the record says so before the first write, so the next life knows what to expect;
- the application's slot is written first and names the firmware that it needs: until the
  bootloader starts that one, boot.py stays with the old slot. So both move, or none;
- a confirmation marks the firmware before the slot is let loose from it; the floors move last.
"""

import json

from micropython import const

from agent.errors import AgentError, Refused, StorageError
from agent.leave import leave
from agent.update import firmware, here, pack, record, slotword

_TRIES = const(3)


async def switch(job, kept):
    """Resets into what the record names; Refused when that has been tried too often."""
    runtime = job.runtime
    app, image = record.part(kept, "app"), record.part(kept, "firmware")
    if kept["n"] >= _TRIES:
        raise Refused("update-tries", str(kept["n"]))
    await _hash(job, kept, app, image)
    kept["state"] = "switching"
    kept["n"] += 1
    kept["boot"] = runtime.supervisor.boot["count"]
    keep = slotword.running(runtime.slot)
    if keep is None:
        keep = runtime.state.get_int(slotword.KEY) & 3
    place = image["place"] if image else None
    guard = runtime.state.get_int("guard")
    try:
        record.save(kept)
        if guard & 255:  # losses of power before it do not count against it
            runtime.state.set_int("guard", guard & ~255)
        runtime.state.set_int(
            slotword.KEY, slotword.pack(keep, app["place"] if app else None, 0, place)
        )
        if image:
            firmware.slots()[1].choose()
    except StorageError:
        kept["n"] -= 1  # that was no start into it
        runtime.state.set_int(slotword.KEY, slotword.pack(keep))
        raise
    runtime.supervisor.record.bad = 0
    await leave(runtime.session, runtime.supervisor, "update", kept["id"])


async def _hash(job, kept, app, image):
    good = True
    if app:
        path = slotword.pack_path(app["place"])
        good = await pack.holds(path, app["sha256"], job.pause)
    if image and good:
        other = firmware.slots()[1]
        good = other.number == image["place"]
        good = good and await other.holds(image["sha256"], image["size"], job.pause)
    if not good:
        kept["state"] = "fetching"  # again, from what is there
        record.save(kept)
        raise AgentError("update-flash")


def confirm(runtime, kept):
    """What runs on trial stays; StorageError leaves it on trial, to be tried again."""
    state = runtime.state
    app, image = record.part(kept, "app"), record.part(kept, "firmware")
    keep, trial, _, place = slotword.unpack(state.get_int(slotword.KEY))
    if image:
        if app and trial is not None:
            state.set_int(slotword.KEY, slotword.pack(keep, trial, slotword.SURE, place))
        firmware.confirm(firmware.slots()[0])
    state.set_int(slotword.KEY, slotword.pack(app["place"] if app else keep))
    for kind, key in here.FLOORS:
        part = record.part(kept, kind)
        if part and part["security"] > state.get_int(key):
            state.set_int(key, part["security"])
    if image:
        known = record.firmware()
        label = firmware.slots()[0].label
        before = known.pop(label, None)
        if image["version"]:
            known[label] = [image["version"], image["security"], image["sha256"]]
        if known.get(label) != before:
            record.keep_firmware(known)
    if app:
        _keep_way_back(state, app)
    record.condemn(kept, "left")
    kept.pop("alone", None)  # what it was held for may be here now
    kept["state"] = "confirmed"
    kept["code"] = kept["detail"] = ""
    record.save(kept)


def stays(runtime, kept):
    """Whether a confirmation came so far that no reset brings the old one back."""
    if runtime.state.get_int(slotword.KEY) >> 2:
        return False
    if not record.part(kept, "firmware"):
        return True
    # Not to be on trial is no proof: a bootloader without rollback knows no such state.
    return firmware.boot_state(firmware.slots()[0].number) == firmware.VALID


def _keep_way_back(state, app):
    """Where rescue.py finds this application again, and by which hash it knows it."""
    if "url" not in app:
        return
    text = '{{"u":{},"z":{},"h":"{}","m":{}}}'
    url = json.dumps(app["url"])
    data = text.format(url, app["length"], app["sha256"], app["size"]).encode()
    try:
        state.set("rescue", data)
    except StorageError:
        state.erase("rescue")  # none is better than that of another one


def revert(runtime, kept, code):
    """Back to what ran before: the record says why, then the slots are set back, and a reset.
    StorageError where they cannot be."""
    again = kept["state"] == "reverting"  # a reset alone did not bring the old one back
    kept["state"] = "reverting"
    if code:
        kept["code"] = code
    try:
        record.save(kept)
    except AgentError as e:
        runtime.log.error("update", e.code)  # the intent of the reset says it, too
    image = record.part(kept, "firmware")
    app = record.part(kept, "app")
    keep, _, _, _ = slotword.unpack(runtime.state.get_int(slotword.KEY))
    if app and keep == app["place"]:
        keep = 0
    if image:
        running, other = firmware.slots()
        if running.number == image["place"] and (again or not firmware.on_trial(running)):
            try:  # a bootloader without rollback, or a firmware that is confirmed
                other.choose()
            except StorageError:
                if firmware.boot_state(running.number) is not None:
                    raise  # else what failed was its confirmation, and a reset will do
    runtime.state.set_int(slotword.KEY, slotword.pack(keep))
    runtime.supervisor.record.bad = 0
    runtime.supervisor.reset("update-reverted", code)
