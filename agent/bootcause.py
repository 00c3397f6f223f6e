# SPDX-License-Identifier: MIT
"""Why this life began: its number, the hardware's cause, and the last life's intent.

Loaded at the start, then released.
"""

import json

from agent.storage.records import Record


def read(cause, log, state):
    """{"count", "cause", "why", "intent"}: what the boot event says, and the whole intent; `cause`
    is the hardware's."""
    intent = {}
    stored = Record(state, "intent").load()
    if stored:
        try:
            intent = json.loads(stored)
        except ValueError:
            log.warning("boot", "intent unreadable")
    # An intent explains a reset by software only: whatever came between is the hardware's.
    why = intent.get("why", "") if cause in ("hard", "soft") else ""
    return {"count": state.get_int("boots"), "cause": cause, "why": why, "intent": intent}
