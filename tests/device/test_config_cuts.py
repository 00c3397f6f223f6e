# SPDX-License-Identifier: MIT
"""Settings after a power cut before, after and inside every flash operation of what changes them,
on the real format of NVS; once on a fresh partition, once where the change has a page recycled.
"""

import json

import support
from chip import nvs_format as nf
from chip.flash import CUT_AFTER, CUT_BEFORE, Flash, MemoryStore, PowerCut
from chip.nvs import Nvs as Partition
from support import quiet_log, raises

from agent.config import change, schema, trial
from agent.storage.nvs import Nvs
from agent.storage.nvsmap import MAP

SIZE = 0x4000
TABLE = schema.AGENT
HOME, OTHER = [["home", "password0"]], [["other", "password1"]]
FACTORY = {"wifi": HOME, "broker": "hub:8883"}


class Namespace:
    """fl_conf in the partition, as `board.nvs` gives it."""

    def __init__(self, partition):
        self._partition = partition

    def get(self, key, size):
        return self._partition.get("fl_conf", nf.BLOB_V1, key)

    def set(self, key, data):
        self._partition.set("fl_conf", nf.BLOB_V1, key, data)

    def erase(self, key):
        self._partition.erase("fl_conf", key)


def new_flash(store=None):
    flash = Flash(store or MemoryStore(SIZE), SIZE)
    flash.and_ranges = [(0, SIZE)]
    return flash


def boot(flash):
    """(store, settings) of a life on this flash."""
    partition = Partition(flash, 0, SIZE)
    assert not partition.was_erased
    store = Nvs(Namespace(partition), MAP["fl_conf"])
    return store, change.load(store, quiet_log([]), TABLE, FACTORY)


def put(store, settings, version, name, wifi):
    config = {"name": name, "wifi": wifi}
    payload = json.dumps({"version": version, "epoch": "e", "config": config}).encode()
    change.apply(store, settings, TABLE, payload, 100)


def tried(store, settings):
    put(store, settings, 2, "new", OTHER)


def confirmed(store, settings):
    tried(store, settings)
    trial.confirm(store, settings)


def undone(store, settings):
    tried(store, settings)
    trial.undo(store, settings)


def changed(store, settings):
    put(store, settings, 2, "new", HOME)


def replaced(store, settings):
    tried(store, settings)
    put(store, settings, 3, "newest", HOME)


OLD, UNDONE = ("old", "home", 1, False), ("old", "home", 2, True)
SCENARIOS = (
    (changed, (OLD, ("new", "home", 2, False))),
    (confirmed, (OLD, UNDONE, ("new", "other", 2, False))),
    (undone, (OLD, UNDONE)),
    (replaced, (OLD, UNDONE, ("newest", "home", 3, False))),
)


def ways(kind, data):
    if kind == "erase":
        return (CUT_BEFORE, CUT_AFTER, 2048, b"\x10\x80\x01")
    return (CUT_BEFORE, CUT_AFTER) + tuple(range(4, len(data), 12))


def operations_of(store, act):
    flash = new_flash(store.clone())
    life = boot(flash)
    found = []
    flash.hook = lambda kind, addr, data, number: found.append((kind, data))
    act(*life)
    return found


def starts(act):
    """Flash with the old settings: fresh, and so worn that `act` has a page erased."""
    flash = new_flash()
    put(*(boot(flash) + (1, "old", HOME)))
    yield flash.store.clone()
    partition = Partition(flash, 0, SIZE)
    for i in range(600):
        partition.set("other", nf.I32, "n", i)
        if i % 4 == 0 and any([kind == "erase" for kind, _ in operations_of(flash.store, act)]):
            yield flash.store.clone()
            return
    raise AssertionError("no page was recycled")


def sweep(base, act, allowed):
    """Cuts `act` at and in each operation: (cuts tried, states seen)."""
    tries, seen = 0, set()
    for i, (kind, data) in enumerate(operations_of(base, act)):
        for way in ways(kind, data):
            flash = new_flash(base.clone())
            life = boot(flash)
            flash.operations = 0
            flash.hook = lambda kind, addr, data, number, i=i, way=way: (
                way if number == i else None
            )
            raises(PowerCut, act, *life)
            flash.hook = None
            flash.revive()
            for _ in range(2):  # what a boot says, the next one says too
                _, settings = boot(flash)
                found = (settings["name"], settings["wifi"][0][0], settings.seen[1])
                found += (settings.reverted,)
                assert found in allowed, (found, i, way)
                assert settings.trial is None
            seen.add(found)
            tries += 1
    return tries, seen


def test_a_cut_in_any_operation_leaves_the_old_settings_or_the_new_ones():
    total = 0
    for act, allowed in SCENARIOS:
        for base in starts(act):
            tries, seen = sweep(base, act, allowed)
            assert len(seen) == len(allowed), (act, seen)
            total += tries
    assert total > 200, total
    support.tried(total)
