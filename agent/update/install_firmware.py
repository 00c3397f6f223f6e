# SPDX-License-Identifier: MIT
"""Brings a firmware into the other app partition, and makes sure that it is there.

Invariants:
- all that can be refused is refused before the first erase;
- buffers exist before the socket opens;
- progress is kept after what it speaks of is written, seldom enough for the flash's life;
- the result is what flash holds: it is hashed there, over exactly the signed length.
"""

import gc
from binascii import unhexlify

from micropython import const

from agent.errors import LinkError, Refused, StorageError
from agent.update import record
from agent.update.firmware import slots
from agent.update.payload.remote import Remote

_DEADLINE_S = const(7200)
_SECTOR = const(4096)
_SHOW = const(4)  # frames between two looks at whether a report is due
_KEEP = const(16)  # frames of 8 KB between two notes of progress: a dozen writes for a firmware


async def install(job, whole, delta, reader):
    """Writes the image into the other slot; by the delta if there is one that can be used."""
    running, other = slots()
    if whole["size"] > other.size:
        raise Refused("firmware-size", "{} > {}".format(whole["size"], other.size))
    if await _is_there(other, whole, job.pause):
        return  # by an earlier attempt, or from before
    try:
        await _firmware(job, delta or whole, running, other, reader)
    except (Refused, StorageError, LinkError) as e:
        if delta is None or not _gives_way(e):
            raise
        job.log.warning("update", "delta: {} {}".format(e.code, e.detail))
        record.forget_progress()
        await _firmware(job, whole, running, other, reader)


def _gives_way(e):
    """Whether the delta may be at fault: it may for a wrong image in flash, too."""
    known = isinstance(e, Refused) or e.code == "update-flash"
    return known or (e.code == "http-status" and e.detail in ("403", "404"))


async def _is_there(slot, offer, pause):
    """Whether the slot holds the image; most others are told by their length, without a hash."""
    try:
        found = slot.length() - offer["size"]
    except Refused:
        return False
    # An image that is signed for secure boot has padding and signature behind its end.
    if found and (found > 0 or offer["size"] % _SECTOR):
        return False
    return await slot.holds(offer["sha256"], offer["size"], pause)


async def _firmware(job, offer, running, other, reader):
    content = offer["sha256"]
    reader.use(other.write, running.read if offer["base"] else None)
    base = unhexlify(offer["base"]) if offer["base"] else None
    http = job.site.http(_DEADLINE_S)
    known = record.progress(_mark(offer))
    remote = Remote(http, offer["url"], offer["length"], known[1] if known else None)
    fetch = job.fetching(remote.fetch)
    try:
        await _opened(reader, remote, fetch, offer, base, known)
        await job.show("fetching", reader.position(), offer["size"])
        kept = reader.frame
        more = not reader.done()
        while more:
            more = await reader.step(fetch)
            if not (more and reader.frame % _SHOW):
                await job.show("fetching", reader.position(), offer["size"])
            if more and reader.frame - kept >= _KEEP:
                kept = reader.frame
                record.keep_progress(_mark(offer), reader.state(), remote.validator)
    except LinkError as e:
        if e.code == "http-changed":
            record.forget_progress()
        raise
    except Refused:
        record.forget_progress()
        raise
    finally:
        await http.close()
        reader = fetch = None
        gc.collect()
    if not await other.holds(content, offer["size"], job.pause):
        record.forget_progress()
        raise StorageError("update-flash", other.label)
    if other.length() > offer["size"] or other.chip() != running.chip():
        raise Refused("firmware-image", other.label)


def _mark(offer):
    """Names the payload, so that progress in a delta is not taken for progress in the image: no
    mark begins with another."""
    return ("delta-" if offer["base"] else "") + offer["sha256"]


async def _opened(reader, remote, fetch, offer, base, known):
    digest = unhexlify(offer["sha256"])
    await reader.open(fetch, offer["length"], offer["size"], digest, base)
    if not known:
        record.forget_progress()  # of what is written over from now on
        return
    try:
        reader.restore(known[0])
    except Refused:
        record.forget_progress()  # of another payload of the same image
