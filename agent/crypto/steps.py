# SPDX-License-Identifier: MIT
"""Runs long computations that are written as generators.

Such a generator yields nothing every few milliseconds and returns its result, so that whoever
runs it can feed the watchdog and let other tasks in between two steps.
"""

import asyncio


def finish(steps):
    """Runs to the end without a pause; returns the generator's result."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return end.value


async def finish_async(steps, pause=None):
    """Runs to the end; between steps awaits `pause()`, or lets the other tasks run once."""
    try:
        while True:
            next(steps)
            await (pause() if pause else asyncio.sleep(0))
    except StopIteration as end:
        return end.value
