# SPDX-License-Identifier: MIT
"""Dead bytes are overwritten where they lie, and nothing else changes. On the fake chip, with NVS
in its real format."""

import sys

from chip import nvs_format as nf
from chip import stock
from chip.flash import CUT_AFTER, CUT_BEFORE, SKIP, PowerCut
from support import raises, tried

from agent import ondemand
from agent.errors import StorageError
from agent.storage.files import SECRET

CANARY = b"canary-in-a-blob"
NVS = 0x9000
PAGES = 4
VFS = 0x310000
NAMES = ("esp32", "machine", "network")


class OnChip:
    """`scrub` with the modules of this chip behind it."""

    def __init__(self, chip):
        self._modules = chip.modules()
        self._before = {}

    def __enter__(self):
        for name in NAMES:
            self._before[name] = sys.modules.get(name)
            sys.modules[name] = self._modules[name]
        ondemand.release("facts", "storage.scrub")
        from agent.storage import scrub

        return scrub

    def __exit__(self, *exc):
        for name in NAMES:
            if self._before[name] is None:
                del sys.modules[name]
            else:
                sys.modules[name] = self._before[name]
        ondemand.release("facts", "storage.scrub")


def image(chip, start, length):
    data = bytearray(length)
    chip.flash.readinto(start, data)
    return bytes(data)


def values(nvs):
    found = {}
    for namespace in nvs.namespaces():
        for key, kind in nvs.keys(namespace):
            found[(namespace, key)] = nvs.get(namespace, kind, key)
    return found


def worn():
    """A chip with live values in every page, and secrets that were replaced and erased."""
    chip = stock.new_chip()
    nvs = chip.nvs
    for i in range(60):
        nvs.set("fl_factory", nf.BLOB_V1, "f{}".format(i), bytes([i]) * 60)
        nvs.set("fl_conf", nf.BLOB_V1, "conf0", CANARY + bytes(str(i), "utf-8") * 20)
        nvs.set("other", nf.I32, "n", i)
    nvs.erase("fl_conf", "conf0")
    assert CANARY in image(chip, NVS, PAGES * 4096)
    return chip


def test_dead_entries_of_nvs_are_zeroed_and_live_ones_stay():
    chip = worn()
    before = values(chip.nvs)
    with OnChip(chip) as scrub:
        scrub.nvs()
    assert CANARY not in image(chip, NVS, PAGES * 4096)
    assert values(chip.nvs) == before
    chip.power_on(1)
    assert not chip.nvs.was_erased and values(chip.nvs) == before
    for i in range(200):  # it goes on, through pages recycled
        chip.nvs.set("fl_conf", nf.BLOB_V1, "conf0", bytes([i]) * 100)
    assert chip.nvs.get("fl_conf", nf.BLOB_V1, "conf0") == bytes([199]) * 100


def test_the_room_of_nvs_is_what_its_own_figures_say():
    chip = worn()
    with OnChip(chip):
        ondemand.release("facts")
        from agent import facts

        assert facts.nvs_free() == chip.nvs.stats()["available_entries"] > 100
        ondemand.release("facts")


def test_a_second_time_there_is_nothing_to_do():
    chip = worn()
    with OnChip(chip) as scrub:
        scrub.nvs()
        before = chip.flash.operations
        scrub.nvs()
    assert chip.flash.operations == before


def test_a_page_that_is_not_in_use_is_blanked():
    chip = stock.new_chip()
    last = NVS + (PAGES - 1) * 4096
    chip.flash.program(last, b"\x00" * 64 + CANARY)
    with OnChip(chip) as scrub:
        scrub.nvs()
    assert image(chip, last, 4096) == b"\xff" * 4096


def test_marked_blocks_of_the_file_system_are_zeroed_and_no_others():
    chip = stock.new_chip()
    chip.flash.erase(VFS, 8 * 4096)
    for number, data in ((1, SECRET + CANARY), (3, b"x" + SECRET), (5, SECRET + CANARY)):
        chip.flash.program(VFS + number * 4096, data)
    with OnChip(chip) as scrub:
        scrub.files()
    after = image(chip, VFS, 8 * 4096)
    assert CANARY not in after and after[4096:8192] == bytes(4096)
    assert after[3 * 4096 : 3 * 4096 + 17] == b"x" + SECRET


def test_a_cut_at_and_in_each_operation_loses_nothing_and_is_made_good():
    chip = worn()
    before = values(chip.nvs)
    start = chip.flash.store.clone()
    first = chip.flash.operations
    with OnChip(chip) as scrub:
        scrub.nvs()
    count = chip.flash.operations - first
    assert count > 10
    for number in range(count):
        for way in (CUT_BEFORE, CUT_AFTER, 4, b"\x33\x0f\x80"):
            chip.flash.store = start.clone()
            chip.power_on(1)
            at = chip.flash.operations + number
            chip.flash.hook = lambda kind, addr, data, n, at=at, way=way: way if n == at else None
            with OnChip(chip) as scrub:
                raises(PowerCut, scrub.nvs)
            chip.flash.hook = None
            chip.flash.revive()
            chip.power_on(1)
            assert not chip.nvs.was_erased and values(chip.nvs) == before, (number, way)
            with OnChip(chip) as scrub:
                scrub.nvs()
            assert CANARY not in image(chip, NVS, PAGES * 4096), (number, way)
    tried(count * 4)


def test_a_cut_while_a_block_is_zeroed_leaves_its_mark_for_the_next_time():
    chip = stock.new_chip()
    chip.flash.erase(VFS, 4096)
    chip.flash.program(VFS, SECRET + bytes(2000) + CANARY)
    start = chip.flash.store.clone()
    first = chip.flash.operations
    with OnChip(chip) as scrub:
        scrub.files()
    count = chip.flash.operations - first
    assert count > 16
    for number in range(count):
        chip.flash.store = start.clone()
        chip.power_on(1)
        at = chip.flash.operations + number
        chip.flash.hook = lambda kind, addr, data, n, at=at: CUT_BEFORE if n == at else None
        with OnChip(chip) as scrub:
            raises(PowerCut, scrub.files)
        chip.flash.hook = None
        chip.flash.revive()
        chip.power_on(1)
        with OnChip(chip) as scrub:
            scrub.files()
        assert image(chip, VFS, 4096) == bytes(4096), number
    tried(count)


def test_flash_that_takes_nothing_is_noticed():
    chip = worn()
    chip.flash.hook = lambda kind, addr, data, number: SKIP
    with OnChip(chip) as scrub:
        assert raises(StorageError, scrub.nvs).code == "scrub-failed"
