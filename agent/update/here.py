# SPDX-License-Identifier: MIT
"""What this board is and runs, as `rules` asks for it; and where each part is to go.

Loaded for an update.
"""

import os
import sys

from agent import chip
from agent.errors import StorageError
from agent.update import firmware, pack, record, slotword
from agent.version import VERSION

FLOORS = (("app", "sec_app"), ("firmware", "sec_fw"))


async def facts(runtime, kept, paths, pause):
    """The dict that `rules.choose` takes; the firmware is hashed where it may be asked about."""
    content = known = ""
    try:
        running = firmware.slots()[0]
        found = record.firmware().get(running.label)
        known = found[0] if found else ""
        if any([not path.endswith(".app") for path in paths]):
            content = firmware.text(await running.digest(running.length(), pause))
            if found and found[2] != content:
                known = ""  # not by us
    except StorageError:
        if any([not path.endswith(".app") for path in paths]):
            raise  # a table without a second app partition
    slot = slotword.running(runtime.slot)
    return {
        "chip": chip.family(os.uname()[4]),
        "build": getattr(sys.implementation, "_build", ""),  # since MicroPython 1.25
        "machine": os.uname()[4],
        "mpy": getattr(sys.implementation, "_mpy", 0) & 0xFF,
        "micropython": os.uname()[2],
        "agent": VERSION,
        "app": ("", "") if slot is None else pack.known(slotword.pack_path(slot))[:2],
        "firmware": (known, content),
        "floors": {kind: runtime.state.get_int(key) for kind, key in FLOORS},
        "bad": kept["bad"],
    }


def part(runtime, offer):
    """The offer as the record keeps it, with its place: a slot's number or a partition's."""
    made = {key: offer[key] for key in ("kind", "path", "version", "security", "sha256", "size")}
    if offer["kind"] == "app":
        made["url"], made["length"] = offer["url"], offer["length"]
        word = runtime.state.get_int(slotword.KEY)
        made["place"] = slotword.free(word, slotword.running(runtime.slot))
    else:
        made["place"] = firmware.slots()[1].number
    return made
