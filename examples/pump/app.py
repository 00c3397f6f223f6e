# SPDX-License-Identifier: MIT
"""Waters a plant: an application to start from. docs/applications.md says what it may rely on."""

import agent


async def main(task):
    agent.task("pump", pump, deadline_s=10)
    while True:
        agent.gauge("soil", read_soil())
        await task.sleep(agent.config["interval_s"])


async def pump(task):
    while True:
        if read_soil() < agent.config["dry_below"]:
            with agent.busy():  # no update while the water runs
                agent.count("waterings")
                await task.sleep(3)
        await task.sleep(1)


def read_soil():
    """Moisture in per cent; a real one would read an ADC."""
    return 40
