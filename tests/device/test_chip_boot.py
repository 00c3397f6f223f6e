# SPDX-License-Identifier: MIT
"""The table, the bootloader's choice and its own writes (HARDWARE: Partitions, otadata)."""

import hashlib
import struct

from chip import bootloader, image, otadata, stock, table
from chip.flash import Flash, MemoryStore
from support import raises

NEW, PENDING, VALID, INVALID, ABORTED = 0, 1, 2, 3, 4
UNDEFINED = 0xFFFFFFFF
OTADATA = 0xD000
BLANK = b"\xff" * 32
SLOTS = {"ota_0": 0x10000, "ota_1": 0x190000}
APP = stock.build_app(body=b"application" * 50)


def entry(sequence, state):
    label = b"\xff" * 20
    crc = {1: 0x4743989A, 2: 0x55F63774}.get(sequence, otadata.sequence_crc(sequence))
    return struct.pack("<I20sII", sequence, label, state, crc)


def board(first=BLANK, second=BLANK, slots=("ota_0", "ota_1")):
    flash = Flash(MemoryStore(0x400000))
    stock.put(flash, table.ADDRESS, stock.TABLE)
    for label in slots:
        stock.put(flash, SLOTS[label], APP)
    flash.program(OTADATA, first)
    flash.program(OTADATA + 4096, second)
    flash.operations = 0
    return flash


def boot(flash, **options):
    return bootloader.select(flash, table.parse(flash), **options)


def entries(flash):
    return flash.read(OTADATA, 32), flash.read(OTADATA + 4096, 32)


def test_the_stock_table_is_the_official_one():
    flash = board()
    assert table.parse(flash) == [
        (1, 2, 0x9000, 0x4000, "nvs", False),
        (1, 0, 0xD000, 0x2000, "otadata", False),
        (1, 1, 0xF000, 0x1000, "phy_init", False),
        (0, 16, 0x10000, 0x180000, "ota_0", False),
        (0, 17, 0x190000, 0x180000, "ota_1", False),
        (1, 129, 0x310000, 0xF0000, "vfs", False),
    ]


def test_a_damaged_table_is_refused():
    for at in (0x8000, 0x8005, 0x8000 + 6 * 32 + 20):
        flash = board()
        flash.program(at, b"\x00")
        raises(table.TableError, table.parse, flash)
    raises(table.TableError, table.parse, Flash(MemoryStore(0x400000)))


def test_the_crc_covers_the_sequence_only():
    assert otadata.sequence_crc(1) == 0x4743989A
    assert otadata.sequence_crc(2) == 0x55F63774


def test_a_fresh_board_runs_ota_0_and_writes_it_down_as_valid():
    flash = board()
    assert boot(flash) == "ota_0"
    assert entries(flash) == (entry(1, VALID), BLANK)


def test_the_life_of_an_update_that_nobody_confirms():
    flash = board(entry(1, VALID), entry(2, NEW))
    assert boot(flash) == "ota_1"
    assert entries(flash) == (entry(1, VALID), entry(2, PENDING))
    assert boot(flash) == "ota_0"
    assert entries(flash) == (entry(1, VALID), entry(2, ABORTED))
    operations = flash.operations
    assert boot(flash) == "ota_0"
    assert flash.operations == operations


def test_its_own_write_is_an_erase_and_a_program_of_32_bytes():
    flash = board(entry(1, VALID), entry(2, NEW))
    seen = []
    flash.hook = lambda kind, addr, data, number: seen.append((kind, addr, data))
    boot(flash)
    assert seen == [("erase", 0xE000, None), ("program", 0xE000, entry(2, PENDING))]


def test_without_rollback_in_the_bootloader_nothing_is_written():
    flash = board(entry(1, VALID), entry(2, NEW))
    for _ in range(3):
        assert boot(flash, rollback=False) == "ota_1"
    assert entries(flash) == (entry(1, VALID), entry(2, NEW))
    flash = board(entry(1, VALID), entry(2, PENDING))
    assert boot(flash, rollback=False) == "ota_1"
    assert entries(flash) == (entry(1, VALID), entry(2, PENDING))


def test_every_pair_of_states():
    """The slot that ESP-IDF's rules give, worked out here a second time."""
    for first in (NEW, PENDING, VALID, INVALID, ABORTED, UNDEFINED):
        for second in (NEW, PENDING, VALID, INVALID, ABORTED, UNDEFINED):
            for swapped in (False, True):
                sequences = (2, 1) if swapped else (1, 2)
                flash = board(entry(sequences[0], first), entry(sequences[1], second))
                counted = []
                for sequence, state in ((sequences[0], first), (sequences[1], second)):
                    if state in (NEW, VALID, UNDEFINED):
                        counted.append(sequence)
                expected = (max(counted) - 1) % 2 if counted else 0
                assert boot(flash) == "ota_%d" % expected, (first, second, swapped)
                for i, state in enumerate((first, second)):
                    sequence, _, now, _ = struct.unpack("<I20sII", entries(flash)[i])
                    active = counted and sequence == max(counted)
                    if state == PENDING:
                        assert now == ABORTED
                    elif state == NEW and active:
                        assert now == PENDING
                    else:
                        assert now == state


def test_a_torn_entry_does_not_count():
    torn = entry(4, NEW)[:12] + BLANK[12:]
    flash = board(entry(1, VALID), torn)
    assert boot(flash) == "ota_0"
    assert entries(flash) == (entry(1, VALID), torn)


def test_a_torn_entry_with_its_crc_boots_unconfirmed_and_without_rollback():
    # Words that got through out of order: sequence and CRC there, the state still erased.
    flash = board(entry(1, VALID), entry(2, UNDEFINED))
    for _ in range(2):
        assert boot(flash) == "ota_1"
    assert entries(flash)[1] == entry(2, UNDEFINED)


def test_the_first_sector_wins_a_tie():
    flash = board(entry(2, VALID), entry(2, NEW))
    assert boot(flash) == "ota_1"
    assert entries(flash) == (entry(2, VALID), entry(2, NEW))


def test_sequences_go_round_the_slots():
    for sequence in (3, 4, 7, 1000):
        flash = board(entry(sequence, VALID))
        assert boot(flash) == "ota_%d" % ((sequence - 1) % 2)


def test_an_image_that_does_not_verify_is_passed_over():
    flash = board(entry(1, VALID), entry(2, NEW), slots=("ota_0",))
    assert boot(flash) == "ota_0"
    assert entries(flash)[1] == entry(2, PENDING)
    flash = board(entry(1, VALID), BLANK, slots=("ota_1",))
    assert boot(flash) == "ota_1"
    raises(bootloader.Bricked, boot, board(slots=()))


def test_a_deep_sleep_skips_the_validation():
    flash = board(entry(1, VALID), entry(2, NEW))
    flash.program(0x190000 + len(APP) - 40, b"\x00" * 8)
    flash_too = Flash(flash.store.clone())
    assert boot(flash, thorough=False) == "ota_1"
    assert boot(flash_too) == "ota_0"


def test_factory_runs_while_otadata_is_blank():
    layout = [e for e in stock.ENTRIES if e[4] != "ota_1"]
    layout.insert(4, (0, 0, 0x190000, 0x180000, "factory", False))
    flash = Flash(MemoryStore(0x400000))
    stock.put(flash, table.ADDRESS, stock.build_table(layout))
    for addr in SLOTS.values():
        stock.put(flash, addr, APP)
    assert boot(flash) == "factory"
    assert entries(flash) == (BLANK, BLANK)
    flash.program(OTADATA, entry(1, VALID))
    assert boot(flash) == "ota_0"
    flash.program(0x10000, b"\x00")
    assert boot(flash) == "factory"


def test_an_image_is_read_whole():
    assert APP[0] == 0xE9
    assert APP[0x20:0x24] == b"\x32\x54\xcd\xab"
    assert APP[0x30:0x37] == b"v1.25.0"
    assert APP[-32:] == hashlib.sha256(APP[:-32]).digest()
    flash = board()
    assert image.verify(flash, 0x10000, 0x180000) == len(APP)
    assert image.verify(flash, 0x10000, len(APP)) == len(APP)
    assert raises(image.BadImage, image.verify, flash, 0x10000, len(APP) - 1).args == ("length",)
    assert raises(image.BadImage, image.verify, flash, 0x310000, 100).args == ("magic",)
    reasons = {0: "magic", 13: "chip", 1: "segments", 0x1A: "sha256", 0x30: "checksum"}
    reasons[len(APP) - 1] = "sha256"
    reasons[0x1E] = "length"
    for at, reason in reasons.items():
        flash = Flash(MemoryStore(0x400000))
        bad = bytearray(APP)
        bad[at] ^= 0x40
        stock.put(flash, 0x10000, bad)
        error = raises(image.BadImage, image.verify, flash, 0x10000, 0x180000)
        assert error.args == (reason,), (at, error)


def test_without_the_appended_hash_the_checksum_decides():
    plain = stock.build_image([(0x3F400000, b"abcd"), (0x40080000, bytes(range(100)))], False)
    assert len(plain) % 16 == 0
    flash = Flash(MemoryStore(0x400000))
    stock.put(flash, 0, plain)
    assert image.verify(flash, 0, 0x1000) == len(plain)
    flash.program(len(plain) - 1, b"\x00")
    assert raises(image.BadImage, image.verify, flash, 0, 0x1000).args == ("checksum",)
