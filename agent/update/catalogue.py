# SPDX-License-Identifier: MIT
"""Asks the repository: brings the signed metadata up to date and finds what was assigned.

All of TUF is loaded for this, and released before anything is installed.
"""

from agent.errors import Refused
from agent.update import offer
from agent.update.site import FOLDER

_DAY_S = 86400
LOADED = (
    "update.catalogue",
    "update.online",
    "update.ahead",
    "update.offer",
    "update.tuf.client",
    "update.tuf.trust",
    "update.tuf.metadata",
    "update.tuf.delegations",
    "update.tuf.document",
    "update.tuf.grammar",
    "update.tuf.canonical",
    "update.tuf.keys",
    "update.tuf.artifact",
    "update.tuf.store",
    "update.tuf",
    "crypto.p256",
    "crypto.generator",
    "crypto.der",
    "crypto.rsa",
    "crypto.ed25519",
    "crypto.sha512",
    "crypto.steps",
)


async def look(site, source, paths, base):
    """[(offer, offer of the delta or None)] of the paths.

    `site` is where the repository is (`Site`). `await source.read(path, longest)` gives a file of
    its metadata, LinkError("not-found") for one that it has not; `source.make_room(length)` is
    called before one is read from flash. `base` is the SHA-256 in hex of the firmware that runs,
    or "". LinkError for the network, Refused ("tuf-...", "update-...") for what it says.
    """
    from agent.storage import files
    from agent.update.tuf.client import Client
    from agent.update.tuf.store import FileStore

    files.make_folder(FOLDER)
    store = FileStore(FOLDER, source.make_room)
    client = Client(source.read, store, site.clock.now(), pause=site.pause)
    await client.begin(site.root_version, site.root_digest)
    await client.refresh()
    found = await _find(client, site, paths, base)
    newest = max([one["built"] for one, _ in found])
    # Signed by hand, so that it is later than the build of this agent; a slip of the pen there
    # must not carry the clock out of the certificates' time.
    if not site.clock.synced() or newest < site.clock.now() + _DAY_S:
        site.clock.raise_floor(newest)
    return found


async def _find(client, site, paths, base):
    deltas = {}
    if base:
        for path in paths:
            if not path.endswith(".app"):
                stem = path[:-3] if path.endswith(".fw") else path
                deltas[path] = "{}.{}.delta".format(stem, base[:16])
    # At once: a role is read once for all that it names.
    targets = await client.find_all(list(paths) + list(deltas.values()))
    found = []
    for path in paths:
        if targets[path] is None:
            raise Refused("tuf-unknown", path)
        whole = _offer(client, site, targets[path])
        if whole["base"]:
            raise Refused("update-assignment", path)  # a delta is the board's own choice
        delta = None
        if whole["kind"] == "firmware" and targets.get(deltas.get(path)):
            delta = _offer(client, site, targets[deltas[path]])
            if delta["base"] != base or delta["sha256"] != whole["sha256"]:
                delta = None
            elif (delta["size"], delta["kind"]) != (whole["size"], "firmware"):
                delta = None
        found.append((whole, delta))
    return found


def _offer(client, site, target):
    return offer.read(target, site.url + "targets/" + client.file_path(target))
