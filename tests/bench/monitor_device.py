# SPDX-License-Identifier: MIT
"""Times what supervision and monitoring cost on MicroPython. Run by monitor.py.

    micropython -X heapsize=400k monitor_device.py FOLDER

FOLDER holds the agent, compiled. Answers one line of JSON: times in microseconds, heap in bytes.
"""

import asyncio
import gc
import json
import sys
import time

sys.path[:0] = [sys.argv[1], sys.argv[0].rpartition("/")[0]]

ROUNDS = 2000
BEATS = 40


def taken():
    gc.collect()
    gc.collect()
    return gc.mem_alloc()


from monitor_quiet_device import (  # noqa: E402
    Board,
    add_tasks,
    beat,
    make,
    monitor,
    step,
    supervise,
)


async def nothing():
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


async def per_round(make_awaitable):
    started = time.ticks_us()
    await make_awaitable()
    return time.ticks_diff(time.ticks_us(), started) / ROUNDS


def per_call(call, rounds):
    started = time.ticks_us()
    for _ in range(rounds):
        call()
    return time.ticks_diff(time.ticks_us(), started) / rounds


async def main():
    board = Board()
    before = taken()
    runtime = make(board)
    supervise(runtime)
    monitor(runtime)
    supervisor, heart = runtime.supervisor, runtime.heart
    add_tasks(supervisor)
    step(supervisor)
    plain = await per_round(lambda: asyncio.create_task(nothing()))

    def supervised():
        supervisor.running = supervisor
        return supervisor.task("x", lambda task: nothing()).kept

    stepped = await per_round(supervised)

    def marked():
        record = supervisor.record
        record.task = b"link"
        record.uptime_s = board.uptime_s()
        record.write()

    changed = per_call(marked, ROUNDS)
    for _ in range(3):
        heart.sample()
    collect = per_call(gc.collect, 50)
    sample = per_call(heart.sample, 50)
    look = per_call(supervisor._look, ROUNDS)
    beats = []
    for _ in range(BEATS):
        for _ in range(6):
            heart.sample()
        started = time.ticks_us()
        beat(runtime)
        beats.append(time.ticks_diff(time.ticks_us(), started))
    beats.sort()
    found = {
        "switch": plain,
        "step": stepped - plain,
        "changed": changed,
        "collect": collect,
        "sample": sample - collect,
        "look": look,
        "beat": beats[BEATS // 2] - collect,
        "state": taken() - before,
    }
    print(json.dumps(found))


asyncio.run(main())
