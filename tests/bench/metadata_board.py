# SPDX-License-Identifier: MIT
# MicroPython has no pathlib:
# ruff: noqa: PTH123
"""Brings the metadata up to date with the board's code. Runs on MicroPython; see metadata.py.

    micropython metadata_board.py MODE AGENT STORE URL ROOT CA TARGET...

AGENT is the folder that holds the package, compiled. STORE is where the metadata lies. ROOT is
the first root's version and SHA-256 in hex, CA the file with the DER of who is trusted. MODE:
idle (only what any program has), look (times it), heap (the heap in use, at each pause). Answers
with one line of JSON.
"""

import asyncio
import gc
import json
import sys
import time
from binascii import unhexlify

SIMBOARD = __file__.rpartition("/")[0] + "/../../tools/fleetling/simboard"
sys.path[:0] = [sys.argv[2], SIMBOARD]
from process.inside import tls_layer  # noqa: E402 - the path comes first

tls_layer.provide()


class Board:
    ticks_ms = staticmethod(time.ticks_ms)
    ticks_diff = staticmethod(time.ticks_diff)


class Clock:
    """The system's; what would be kept of it is not."""

    def now(self):
        return int(time.time())

    def synced(self):
        return True

    def raise_floor(self, at):
        pass


class Site:
    """The repository, as `agent.update.site` has it from flash."""

    clock = Clock()

    def __init__(self, url, root, ca, pause):
        from agent.link import tls
        from agent.link.http import Http, dialer

        self.url = url
        self.root_version = 1
        self.root_digest = unhexlify(root)
        self.pause = pause
        self.bytes = self.requests = 0
        with open(ca, "rb") as file:
            self._ca = file.read()
        made = Http(Board, dialer(lambda: tls.trusting(self._ca)), (), 600)
        self._read = made.read
        made.read = self.read
        self._http = made

    async def read(self, url, longest):
        data = await self._read(url, longest)
        self.requests += 1
        self.bytes += len(data)
        return data

    def http(self, deadline_s):
        return self._http


async def look(catalogue, site, source, targets):
    try:
        return await catalogue.look(site, source, targets, "")
    finally:
        await source.close()


def used():
    gc.collect()
    return gc.mem_alloc()


def main(mode, _agent, store, url, root, ca, *targets):
    import agent.errors
    import agent.ondemand  # noqa: F401 - resident on a board

    idle = used()
    if mode == "idle":
        return {"ok": True, "idle": idle}
    most = [0]
    gc.threshold(8192)  # as the updater sets it

    async def pause():
        if mode == "heap":
            most[0] = max(most[0], used())
        await asyncio.sleep(0)

    from agent.update.spare import Spare

    spare = Spare()
    from agent.update import catalogue
    from agent.update.online import Online

    catalogue.FOLDER = store
    site = Site(url, root, ca, pause)
    source = Online(site, spare)
    spare = None
    code = used()
    start = time.ticks_ms()
    found = asyncio.run(look(catalogue, site, source, targets))
    took = time.ticks_diff(time.ticks_ms(), start)
    return {
        "ok": len(found) == len(targets),
        "ms": took,
        "bytes": site.bytes,
        "requests": site.requests,
        "idle": idle,
        "code": code - idle,
        "most": most[0] - idle,
    }


print(json.dumps(main(*sys.argv[1:])))
