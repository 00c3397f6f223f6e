# SPDX-License-Identifier: MIT
"""NVS after a power cut before, after and inside every flash operation of a change."""

import support
from chip import nvs_format as nf
from chip.flash import CUT_AFTER, CUT_BEFORE, Flash, MemoryStore, PowerCut
from chip.nvs import Nvs
from support import raises

SIZE = 0x4000
BLOB = nf.BLOB_V1


def new_flash(store=None):
    flash = Flash(store or MemoryStore(SIZE), SIZE)
    flash.and_ranges = [(0, SIZE)]
    return flash


def reopen(flash):
    return Nvs(new_flash(flash.store.clone()), 0, SIZE)


def cuts(kind, data):
    """Every way to cut this operation that the suite tries."""
    ways = [CUT_BEFORE, CUT_AFTER]
    if kind == "erase":
        return ways + [2048, b"\x10\x80\x01"]
    return ways + list(range(4, len(data), 4))


def sweep(prepare, change, check):
    """Cuts `change` at and in every operation; `check` gets the partition as the next boot has it.

    Returns the number of cuts tried.
    """
    base = new_flash()
    prepare(Nvs(base, 0, SIZE))
    operations = []
    flash = new_flash(base.store.clone())
    nvs = Nvs(flash, 0, SIZE)
    flash.operations = 0
    flash.hook = lambda kind, addr, data, number: operations.append((kind, data))
    change(nvs)
    tried = 0
    for i, (kind, data) in enumerate(operations):
        for way in cuts(kind, data):
            flash = new_flash(base.store.clone())
            nvs = Nvs(flash, 0, SIZE)
            flash.operations = 0
            flash.hook = lambda kind, addr, data, number, i=i, way=way: (
                way if number == i else None
            )
            raises(PowerCut, change, nvs)
            flash.hook = None
            flash.revive()
            nvs = Nvs(flash, 0, SIZE)
            assert not nvs.was_erased
            check(nvs, flash, (i, way))
            tried += 1
    support.tried(tried)
    return tried


def test_a_cut_leaves_the_old_blob_or_the_new_one():
    for size in (20, 700):
        old = b"o" * size
        new = b"n" * (size + 1)

        def prepare(nvs, old=old):
            nvs.set("space", nf.I32, "i", 7)
            nvs.set("space", BLOB, "b", old)

        def change(nvs, new=new):
            nvs.set("space", BLOB, "b", new)

        def check(nvs, flash, cut, old=old, new=new):
            value = nvs.get("space", BLOB, "b")
            assert value in (old, new), cut
            assert nvs.get("space", nf.I32, "i") == 7, cut
            used = 1 + 1 + 2 + (len(value) + 31) // 32
            assert nvs.stats()["used_entries"] == used, cut
            nvs.set("space", BLOB, "b", new)
            assert reopen(flash).get("space", BLOB, "b") == new, cut

        assert sweep(prepare, change, check) > 20


def test_a_cut_leaves_the_old_number_or_the_new_one():
    def prepare(nvs):
        nvs.set("space", nf.I32, "i", 1)

    def change(nvs):
        nvs.set("space", nf.I32, "i", 2)

    def check(nvs, flash, cut):
        assert nvs.get("space", nf.I32, "i") in (1, 2), cut
        assert nvs.stats()["used_entries"] == 2, cut

    assert sweep(prepare, change, check) == 13


def test_a_cut_leaves_the_old_text_or_the_new_one():
    def prepare(nvs):
        nvs.set("space", nf.STRING, "s", b"old" * 40)

    def change(nvs):
        nvs.set("space", nf.STRING, "s", b"new" * 41)

    def check(nvs, flash, cut):
        value = nvs.get("space", nf.STRING, "s")
        assert value in (b"old" * 40, b"new" * 41), cut
        assert nvs.stats()["used_entries"] == 2 + (len(value) + 31) // 32, cut

    assert sweep(prepare, change, check) > 20


def test_a_cut_while_a_page_is_recycled():
    def prepare(nvs):
        nvs.set("space", BLOB, "b", b"k" * 6000)
        nvs.set("space", nf.I32, "i", 7)
        i = 0
        while nvs._pages.current().next_free < nf.ENTRIES:
            i += 1
            nvs.set("space", nf.I32, "count", i)

    def change(nvs):
        nvs.set("space", nf.I32, "i", 8)

    def check(nvs, flash, cut):
        assert nvs.get("space", BLOB, "b") == b"k" * 6000, cut
        assert nvs.get("space", nf.I32, "i") in (7, 8), cut
        count = nvs.get("space", nf.I32, "count")
        nvs.set("space", nf.I32, "i", 9)
        again = reopen(flash)
        assert again.get("space", nf.I32, "i") == 9, cut
        assert again.get("space", nf.I32, "count") == count, cut
        assert again.get("space", BLOB, "b") == b"k" * 6000, cut

    assert sweep(prepare, change, check) > 10
