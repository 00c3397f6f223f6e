# SPDX-License-Identifier: MIT
"""NVS: values, the order of writing, how pages are recycled, when boot erases everything."""

from chip import nvs_format as nf
from chip.flash import Flash, MemoryStore
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


def test_values_of_all_types_come_back():
    flash = new_flash()
    nvs = Nvs(flash, 0, SIZE)
    numbers = {0x01: 200, 0x11: -100, 0x02: 60000, 0x12: -30000, 0x04: 4000000000, 0x14: -5}
    numbers[0x08] = 2**63
    numbers[0x18] = -(2**62)
    for kind, value in numbers.items():
        nvs.set("space", kind, "n%d" % kind, value)
    nvs.set("space", nf.STRING, "text", b"words\x00")
    nvs.set("other", BLOB, "text", b"blob")
    for seen in (nvs, reopen(flash)):
        for kind, value in numbers.items():
            assert seen.get("space", kind, "n%d" % kind) == value
        assert seen.get("space", nf.STRING, "text") == b"words\x00"
        assert seen.get("other", BLOB, "text") == b"blob"
        assert seen.get("other", BLOB, "n1") is None
        assert seen.get("nowhere", BLOB, "text") is None
        assert seen.namespaces() == ["other", "space"]
        assert seen.keys("other") == [("text", BLOB)]
        assert len(seen.keys("space")) == 9


def test_the_same_value_again_writes_nothing():
    flash = new_flash()
    nvs = Nvs(flash, 0, SIZE)
    nvs.set("space", BLOB, "b", b"x" * 3000)
    nvs.set("space", nf.I32, "i", 5)
    before = flash.operations
    nvs.set("space", BLOB, "b", b"x" * 3000)
    nvs.set("space", nf.I32, "i", 5)
    assert flash.operations == before


def test_the_old_value_is_erased_after_the_new_one_is_complete():
    flash = new_flash()
    nvs = Nvs(flash, 0, SIZE)
    nvs.set("space", BLOB, "b", b"a" * 100)
    seen = []
    flash.hook = lambda kind, addr, data, number: seen.append(addr)
    nvs.set("space", BLOB, "b", b"b" * 100)
    # Entries: namespace 0, old data 1 to 5, old index 6, new data 7 to 11, new index 12. All of
    # their states fit into the first word of the bitmap.
    bitmap = 32
    entry = [64 + 32 * i for i in range(13)]
    data = [entry[7], bitmap, entry[8], bitmap, entry[11], bitmap]
    assert seen == data + [entry[12], bitmap, bitmap, bitmap]


def test_old_values_stay_in_flash_until_their_page_is_recycled():
    flash = new_flash()
    nvs = Nvs(flash, 0, SIZE)
    nvs.set("space", BLOB, "secret", b"correct horse")
    nvs.erase("space", "secret")
    assert nvs.get("space", BLOB, "secret") is None
    # The emptiest page is recycled. The one of the secret keeps the namespace's entry, so it is
    # never the emptiest while a number counts through the others: the secret stays for ever.
    for i in range(3000):
        nvs.set("space", nf.I32, "count", i)
    assert flash.read(0, SIZE).find(b"correct horse") >= 0
    # Filling the others makes it the one.
    nvs.set("space", BLOB, "fill", b"x" * 8000)
    for i in range(300):
        nvs.set("space", nf.I32, "count", -i)
    assert flash.read(0, SIZE).find(b"correct horse") < 0
    assert nvs.get("space", BLOB, "fill") == b"x" * 8000


def test_recycling_keeps_everything():
    flash = new_flash()
    nvs = Nvs(flash, 0, SIZE)
    nvs.set("space", BLOB, "keep", b"k" * 5000)
    for i in range(2000):
        nvs.set("space", nf.I32, "count", i)
    for seen in (nvs, reopen(flash)):
        assert seen.get("space", BLOB, "keep") == b"k" * 5000
        assert seen.get("space", nf.I32, "count") == 1999
        assert seen.stats()["used_entries"] == 1 + (2 + 157 + 1) + 1
    # 2000 numbers at 126 entries a page; the pages full of live data are left alone.
    assert sum([flash.erases(page) for page in range(4)]) == 15


def test_a_full_partition_keeps_the_old_value():
    flash = new_flash()
    nvs = Nvs(flash, 0, SIZE)
    nvs.set("space", BLOB, "b", b"old" * 1000)
    nvs.set("space", BLOB, "c", b"x" * 4000)
    for _ in range(3):
        error = raises(OSError, nvs.set, "space", BLOB, "b", b"new" * 2000)
        assert error.args == (-4357, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")
        assert nvs.get("space", BLOB, "b") == b"old" * 1000
        nvs = reopen(flash)
        assert nvs.get("space", BLOB, "b") == b"old" * 1000
        assert not nvs.was_erased
        nvs.set("space", nf.I32, "i", 1)


def test_boot_erases_everything_without_a_free_page():
    flash = new_flash()
    nvs = Nvs(flash, 0, SIZE)
    nvs.set("space", BLOB, "b", b"x" * 11000)
    header = bytearray(flash.read(0x1000, 32))
    header[4] = 9
    crc = nf.crc32(bytes(header[4:28]), 0xFFFFFFFF)
    header[28:] = crc.to_bytes(4, "little")
    assert flash.read(0x3000, 32) == b"\xff" * 32
    flash.program(0x3000, header)
    nvs = Nvs(flash, 0, SIZE)
    assert nvs.was_erased
    assert nvs.namespaces() == []
    assert flash.read(0, SIZE) == b"\xff" * SIZE


def test_boot_erases_everything_of_a_newer_format():
    flash = new_flash()
    nvs = Nvs(flash, 0, SIZE)
    nvs.set("space", nf.I32, "i", 1)
    header = bytearray(flash.read(0, 32))
    header[8] = 0xFD
    header[28:] = nf.crc32(bytes(header[4:28]), 0xFFFFFFFF).to_bytes(4, "little")
    image = bytes(header) + flash.read(32, SIZE - 32)
    flash.store.write(0, image)
    nvs = Nvs(flash, 0, SIZE)
    assert nvs.was_erased
    assert nvs.get("space", nf.I32, "i") is None


def test_foreign_bytes_are_ignored_and_cleaned():
    flash = new_flash()
    flash.program(0, bytes([i * 37 & 0xFF for i in range(SIZE)]))
    nvs = Nvs(flash, 0, SIZE)
    assert nvs.namespaces() == []
    nvs.set("space", BLOB, "b", b"x" * 9000)
    assert reopen(flash).get("space", BLOB, "b") == b"x" * 9000


def test_rotten_data_is_not_handed_out():
    flash = new_flash()
    nvs = Nvs(flash, 0, SIZE)
    nvs.set("space", BLOB, "b", b"x" * 500)
    nvs.set("space", nf.I32, "i", 0x7F)
    at = flash.read(0, 0x1000).find(b"x" * 32)
    flash.program(at + 100, b"\x00")
    assert nvs.get("space", BLOB, "b") is None
    assert reopen(flash).get("space", BLOB, "b") is None
    assert reopen(flash).get("space", nf.I32, "i") == 0x7F


def test_a_refused_write_takes_the_page_out_of_service_until_the_next_boot():
    flash = new_flash()
    nvs = Nvs(flash, 0, SIZE)
    nvs.set("space", nf.I32, "i", 1)
    flash.hook = lambda kind, addr, data, number: -3
    assert raises(OSError, nvs.set, "space", nf.I32, "i", 2).args[0] == -24577
    assert nvs.get("space", nf.I32, "i") is None
    flash.hook = None
    assert reopen(flash).get("space", nf.I32, "i") == 1


def test_a_half_erased_page_is_erased_before_it_is_used():
    flash = new_flash()
    nvs = Nvs(flash, 0, SIZE)
    flash.program(0x1000 + 64, b"leftover")
    nvs = Nvs(flash, 0, SIZE)
    nvs.set("space", BLOB, "b", b"x" * 7000)
    assert flash.erases(1) == 1
    assert reopen(flash).get("space", BLOB, "b") == b"x" * 7000
