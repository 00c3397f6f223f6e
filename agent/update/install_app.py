# SPDX-License-Identifier: MIT
"""Brings an application onto flash, beside the one that runs, and makes sure that it is there.

Buffers exist before the socket opens; all that can be refused is refused before the first write.
"""

import gc
from binascii import unhexlify

from micropython import const

from agent.errors import Refused, StorageError
from agent.update import pack, slotword
from agent.update.bundle import Bundle
from agent.update.payload.remote import Remote

_DEADLINE_S = const(7200)
_SECTOR = const(4096)
_NONE = (b"\xff", 0, b"", 0)  # comes after every path


async def install(job, place, offer, reader):
    """Makes slot number `place` the one that the offer names."""
    if await pack.holds(slotword.pack_path(place), offer["sha256"], job.pause):
        return
    left = [0]

    def write(offset, sector):
        count = min(left[0], _SECTOR)
        left[0] -= count
        maker.write(sector[:count])

    reader.use(write)
    http = job.site.http(_DEADLINE_S)
    fetch = job.fetching(Remote(http, offer["url"], offer["length"]).fetch)
    maker = new = running = None
    try:
        bundle = Bundle(offer, fetch)
        await bundle.open()
        maker = pack.Maker(slotword.NAMES[place], bundle, job.pause)
        kept = await maker.begin()
        new = pack.Pack(maker.new)
        running = _running(job.runtime.slot)
        old = running.rows() if running else iter(())
        number = done = 0
        known = None
        for path, size, digest, _ in new.rows():
            await job.show("fetching", done, bundle.size)
            while known is None or known[0] < path:
                known = next(old, _NONE)
            if number < kept:
                pass
            elif known[:3] == (path, size, digest):
                await _copy(job, maker, running, known)
            elif size:
                left[0] = size
                await _file(reader, fetch, bundle, number, size, unhexlify(digest))
            done += size
            number += 1
    finally:
        await http.close()
        for one in (new, running, maker):
            if one:
                one.close()
    reader = bundle = new = running = None
    gc.collect()
    await maker.finish()


def _running(slot):
    """The pack that runs, or None."""
    try:
        return pack.Pack(slotword.pack_path(slotword.MOUNTS.index(slot)))
    except (Refused, ValueError):
        return None


async def _copy(job, maker, running, row):
    async def take(data):
        maker.write(data)
        await job.pause()

    _, size, _, at = row
    if await running.pieces(at, size, take) != size:
        raise StorageError("fs-read", running.path)


async def _file(reader, fetch, bundle, number, size, digest):
    start, packed = bundle.start(number), bundle.packed(number)

    async def part(offset, buffer):
        if offset >= packed:
            return 0
        return await fetch(start + offset, buffer[: packed - offset])

    await reader.open(part, packed, size, digest)
    while await reader.step(part):
        pass
