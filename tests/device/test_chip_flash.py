# SPDX-License-Identifier: MIT
import os

from chip.flash import (
    CUT_AFTER,
    CUT_BEFORE,
    FAIL,
    SKIP,
    FileStore,
    Flash,
    FlashFault,
    MemoryStore,
    PowerCut,
)
from support import raises

SECTOR = 4096


def new_flash():
    return Flash(MemoryStore(0x10000), 0x10000)


def order(flash, instruction, at=0):
    first = flash.operations + at
    flash.hook = lambda kind, addr, data, number: instruction if number == first else None


def test_erased_flash_reads_as_ones_and_programs_clear_bits():
    flash = new_flash()
    assert flash.read(0, 4) == b"\xff\xff\xff\xff"
    flash.program(1, b"\xf0\x0f")
    flash.program(1, b"\xf0\x0e")
    assert flash.read(0, 4) == b"\xff\xf0\x0e\xff"


def test_setting_a_bit_without_an_erase_is_a_fault_of_the_program():
    flash = new_flash()
    flash.program(0x100, b"\x00")
    fault = raises(FlashFault, flash.program, 0x100, b"\x01")
    assert "0x100" in str(fault)


def test_where_it_is_allowed_bits_are_anded():
    flash = new_flash()
    flash.and_ranges = [(0x1000, 0x2000)]
    flash.program(0x1FFF, b"\x0f")
    flash.program(0x1FFF, b"\xf8")
    assert flash.read(0x1FFF, 1) == b"\x08"
    flash.program(0x2000, b"\x0f")
    raises(FlashFault, flash.program, 0x2000, b"\xf8")


def test_misaligned_erases_and_foreign_addresses_are_faults():
    flash = new_flash()
    raises(FlashFault, flash.erase, 0x800, SECTOR)
    raises(FlashFault, flash.erase, 0, 100)
    raises(FlashFault, flash.erase, 0x10000, SECTOR)
    raises(FlashFault, flash.program, 0xFFFF, b"ab")
    raises(FlashFault, flash.read, -1, 1)


def test_a_long_program_is_one_operation_a_page():
    flash = new_flash()
    seen = []
    flash.hook = lambda kind, addr, data, number: seen.append(
        (kind, addr, len(data or b""), number)
    )
    flash.program(0x1F0, bytes(0x210))
    flash.erase(0x1000, 2 * SECTOR)
    assert seen == [
        ("program", 0x1F0, 0x10, 0),
        ("program", 0x200, 0x100, 1),
        ("program", 0x300, 0x100, 2),
        ("erase", 0x1000, 0, 3),
        ("erase", 0x2000, 0, 4),
    ]
    assert flash.operations == 5
    assert (flash.erases(0), flash.erases(1), flash.erases(2)) == (0, 1, 1)


def test_a_cut_before_or_after_an_operation():
    for instruction, left in ((CUT_BEFORE, b"\xff\xff"), (CUT_AFTER, b"ab")):
        flash = new_flash()
        order(flash, instruction)
        raises(PowerCut, flash.program, 0, b"ab")
        flash.revive()
        assert flash.read(0, 2) == left


def test_a_torn_program_leaves_its_first_bytes():
    flash = new_flash()
    order(flash, 3)
    raises(PowerCut, flash.program, 0, b"abcdef")
    flash.revive()
    assert flash.read(0, 6) == b"abc\xff\xff\xff"


def test_a_torn_program_leaves_a_subset_of_its_words():
    flash = new_flash()
    order(flash, bytes((0b101,)))
    raises(PowerCut, flash.program, 0, b"aaaabbbbccccd")
    flash.revive()
    assert flash.read(0, 13) == b"aaaa\xff\xff\xff\xffcccc\xff"


def test_a_torn_erase_leaves_the_rest_or_some_bits():
    flash = new_flash()
    flash.program(0, bytes(SECTOR))
    order(flash, SECTOR // 2)
    raises(PowerCut, flash.erase, 0, SECTOR)
    flash.revive()
    assert flash.read(2047, 2) == b"\xff\x00"
    order(flash, b"\x81\x00")
    raises(PowerCut, flash.erase, 0, SECTOR)
    flash.revive()
    assert flash.read(2046, 4) == b"\xff\xff\x81\x00"


def test_a_dead_chip_answers_nothing():
    flash = new_flash()
    order(flash, CUT_AFTER)
    raises(PowerCut, flash.erase, 0, SECTOR)
    raises(PowerCut, flash.read, 0, 1)
    raises(PowerCut, flash.program, 0, b"a")
    raises(PowerCut, flash.erase, 0, SECTOR)
    assert flash.operations == 1
    flash.revive()
    assert flash.read(0, 1) == b"\xff"


def test_a_power_cut_ends_a_life_as_a_system_exit():
    assert issubclass(PowerCut, SystemExit)
    assert not issubclass(FlashFault, SystemExit)


def test_a_lost_command_changes_nothing_and_says_nothing():
    flash = new_flash()
    flash.program(0, b"\x00")
    order(flash, SKIP)
    flash.erase(0, SECTOR)
    assert flash.read(0, 1) == b"\x00"
    order(flash, SKIP)
    flash.program(4, b"\x00")
    assert flash.read(4, 1) == b"\xff"


def test_programming_where_the_chip_lost_the_erase_is_not_the_programs_fault():
    flash = new_flash()
    flash.program(0, b"\x0f")
    order(flash, SKIP)
    flash.erase(0, SECTOR)
    flash.program(0, b"\xf1")
    assert flash.read(0, 1) == b"\x01"
    flash.erase(0, SECTOR)
    flash.program(0, b"\x0f")
    raises(FlashFault, flash.program, 0, b"\xf1")


def test_a_refused_operation_and_a_read_error():
    flash = new_flash()
    order(flash, FAIL)
    error = raises(OSError, flash.program, 0, b"a")
    assert error.args == (-24577, "ESP_ERR_FLASH_OP_FAIL")
    flash.bad_reads = [(0x100, 0x200)]
    assert raises(OSError, flash.read, 0xF0, 0x11).args == error.args
    assert len(flash.read(0xF0, 0x10)) == 0x10
    assert len(flash.read(0x200, 1)) == 1


def test_a_clone_of_a_store_goes_its_own_way():
    store = MemoryStore(0x10000)
    store.write(0, b"old")
    other = store.clone()
    other.write(0, b"new")
    assert Flash(store, 0x10000).read(0, 3) == b"old"
    assert Flash(other, 0x10000).read(0, 3) == b"new"


def test_bytes_cross_sector_borders_in_a_store():
    flash = new_flash()
    data = bytes([i % 251 for i in range(2 * SECTOR)])
    flash.program(SECTOR - 100, data)
    assert flash.read(SECTOR - 100, len(data)) == data
    assert flash.read(SECTOR - 101, 1) == b"\xff"


def test_a_file_store_starts_blank_and_keeps_its_bytes():
    path = "/tmp/fleetling-{}-{}.bin".format(id(raises), new_flash().size)
    store = FileStore(path, 0x4000)
    flash = Flash(store, 0x4000)
    flash.program(SECTOR - 2, b"over")
    assert flash.read(0, 1) == b"\xff"
    store.close()
    assert os.stat(path)[6] == 0x4000
    store = FileStore(path, 0x4000)
    assert Flash(store, 0x4000).read(SECTOR - 3, 6) == b"\xffover\xff"
    store.close()
    os.remove(path)


def test_operations_take_their_time():
    flash = new_flash()
    spent = []
    flash.spend = spent.append
    flash.erase(0, SECTOR)
    flash.program(0, b"a")
    assert 45000 <= spent[0] <= 90000
    assert spent[1] < 2000
