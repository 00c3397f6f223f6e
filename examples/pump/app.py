# SPDX-License-Identifier: MIT
"""Waters a plant: an application to start from. docs/applications.md says what it may rely on, and
tests/ how it is tested without a board."""

from machine import ADC, Pin

import agent

_SENSOR = 34  # more volts, more water
_PUMP = 25
_WET_UV = 2_000_000
_WATER_S = 3
_soil = ADC(Pin(_SENSOR), atten=ADC.ATTN_11DB)
_pump = Pin(_PUMP, Pin.OUT, value=0)


async def main(task):
    agent.task("pump", pump, deadline_s=10)
    while True:
        agent.gauge("soil", read_soil())
        await task.sleep(agent.config["interval_s"])


async def pump(task):
    _pump.off()  # a start again must not find it running
    while True:
        if read_soil() < agent.config["dry_below"]:
            with agent.busy():  # no update while the water runs
                agent.count("waterings")
                _pump.on()
                try:
                    await task.sleep(_WATER_S)
                finally:
                    _pump.off()
        await task.sleep(1)


def healthy():
    """Whether a new release may stay: the sensor is there."""
    return read_soil() > 0


def read_soil():
    """Moisture in per cent."""
    return min(100, _soil.read_uv() * 100 // _WET_UV)
