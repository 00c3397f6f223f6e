# SPDX-License-Identifier: MIT
"""Starts the application: the module or package `app` of the slot, and its `main(task)`.

`main` is a coroutine function; it runs as the supervised task "app", and has to check in with
`task.alive()` or `task.sleep(seconds)` once a minute. A failure starts it anew: its module, and
the tasks that it has started (`ended`).
"""

import gc
import os
import sys

from micropython import const

from agent import ondemand

DEADLINE_S = const(60)
_NAMES = ("app.mpy", "app.py", "app")


def present(slot):
    """Whether the slot holds an application."""
    try:
        names = os.listdir(slot)
    except OSError:
        return False
    return any([name in names for name in _NAMES])


async def run(task):
    _end_others(task.supervisor.tasks)
    for name in list(sys.modules):
        if name == "app" or name.startswith("app."):
            del sys.modules[name]
    gc.collect()
    import app

    task.alive()
    await app.main(task)


def _end_others(tasks):
    """Ends the tasks that the application has started, but for its first."""
    for task in list(tasks.values()):
        if task.of_application:
            from agent import ended

            ended.end(task)
            ended = None
    ondemand.release("ended")
