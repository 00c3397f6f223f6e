# SPDX-License-Identifier: MIT
"""The application of the demo's boards: it works, hangs or crashes as its settings say."""

from __future__ import annotations

import json

__all__ = ["APPLICATION", "HANGING"]

CODE = b"""\
# SPDX-License-Identifier: MIT
import asyncio

import agent


async def main(task):
    agent.task("pump", pump, deadline_s=3)
    while True:
        if agent.config["fault"] == "crash":
            raise ValueError("the valve does not answer")
        agent.count("rounds")
        await task.sleep(1)


async def pump(task):
    while True:
        while agent.config["fault"] == "hang":
            await asyncio.sleep(0.1)  # for something that never comes, without checking in
        await task.sleep(0.5)
"""
SETTINGS = {
    "fault": {"type": "str", "default": "", "choices": ["", "hang", "crash"]},
    "rate": {"type": "float", "default": 1.0, "least": 0.1, "greatest": 10},
}
APPLICATION = {"app.py": CODE, "settings.json": json.dumps(SETTINGS).encode()}
# A release with a mistake: it waits where it should check in.
HANGING = {
    **APPLICATION,
    "app.py": CODE.replace(
        b"        await task.sleep(0.5)\n", b"        await asyncio.sleep(60)\n"
    ),
}
