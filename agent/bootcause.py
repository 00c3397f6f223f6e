# SPDX-License-Identifier: MIT
"""Why this life began: its number, the hardware's cause, and the last life's intent.

| hardware | what was recorded | why |
|---|---|---|
| power-on | | "": plugged in, or the supply broke down |
| hard, soft | an intent in the life before | that |
| hard | none | "panic": of the firmware, or `machine.reset()` by the application |
| soft | none | "": Ctrl-D at the prompt |
| watchdog | | "hung", with the task whose step ran |
| deep-sleep | | "" |

Loaded at the start, then released.
"""

import json

from agent.storage.records import Record


def read(cause, log, state, record):
    """{"count", "cause", "why", "task", "intent"}: what the boot event says, and the last intent,
    of whatever life; `cause` is the hardware's, `record` the boot record."""
    intent = {}
    stored = Record(state, "intent").load()
    if stored:
        try:
            intent = json.loads(stored)
        except ValueError:
            log.warning("boot", "intent unreadable")
    count = state.get_int("boots")
    why = task = ""
    if cause == "watchdog":
        why, task = "hung", _name(record.task)
    elif cause in ("hard", "soft"):
        if intent.get("boot") == count - 1:
            why = intent["why"]
            if why in ("starved", "crash"):
                task = intent["detail"]
        elif cause == "hard":
            why = "panic"
    return {"count": count, "cause": cause, "why": why, "task": task, "intent": intent}


def _name(task):
    """The record has room for 16 bytes: a longer name may end within a character."""
    while task:
        try:
            return task.decode()
        except ValueError:
            task = task[:-1]
    return ""
