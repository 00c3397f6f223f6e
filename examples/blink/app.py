# SPDX-License-Identifier: MIT
"""Blinks: the smallest application. docs/first-hour.md begins with it."""

from machine import Pin

import agent

_LED = 2


async def main(task):
    led = Pin(_LED, Pin.OUT)
    while True:
        led.value(1 - led.value())
        agent.count("blinks")
        await task.sleep(agent.config["period_s"])
