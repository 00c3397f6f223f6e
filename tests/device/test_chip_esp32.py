# SPDX-License-Identifier: MIT
"""The `esp32` and `esp` modules against HARDWARE.md: Partitions, otadata, identity."""

import struct

from chip import stock
from support import raises


def modules(**options):
    chip = stock.new_chip(**options)
    return chip, chip.modules()["esp32"]


def test_a_partition_says_what_it_is():
    _chip, esp32 = modules()
    info = esp32.Partition("vfs").info()
    assert info == (1, 129, 0x310000, 0xF0000, "vfs", False)
    assert repr(esp32.Partition("nvs")) == (
        "<Partition type=1, subtype=2, address=36864, size=16384, label=nvs, encrypted=0>"
    )


def test_an_unknown_partition_is_enoent():
    _chip, esp32 = modules()
    assert raises(OSError, esp32.Partition, "nope").args == (2,)
    raises(ValueError, esp32.Partition, 7)


def test_running_and_boot():
    _chip, esp32 = modules()
    running = esp32.Partition(esp32.Partition.RUNNING)
    assert running.info()[4] == "ota_0"
    assert esp32.Partition(esp32.Partition.BOOT).info()[4] == "ota_0"
    assert running.get_next_update().info()[4] == "ota_1"
    assert running.get_next_update().get_next_update().info()[4] == "ota_0"


def test_find_by_type_subtype_and_label():
    _chip, esp32 = modules()
    find = esp32.Partition.find
    assert [p.info()[4] for p in find()] == ["ota_0", "ota_1"]
    assert [p.info()[4] for p in find(esp32.Partition.TYPE_DATA, label="otadata")] == ["otadata"]
    assert [p.info()[4] for p in find(esp32.Partition.TYPE_DATA, 129)] == ["vfs"]
    assert find(esp32.Partition.TYPE_APP, label="vfs") == []
    buf = bytearray(32)
    find(1, label="otadata")[0].readblocks(0, buf)
    assert struct.unpack_from("<I", buf)[0] == 1


def test_blocks_are_erased_and_written():
    _chip, esp32 = modules()
    slot = esp32.Partition("ota_1")
    slot.writeblocks(3, b"\x00" * 8192)
    slot.writeblocks(4, b"\x55" * 4096)
    buf = bytearray(2)
    slot.readblocks(3, buf, 4095)
    assert buf == b"\x00\x55"


def test_a_write_with_an_offset_only_programs():
    _chip, esp32 = modules()
    vfs = esp32.Partition("vfs")
    vfs.writeblocks(0, b"\xf3" * 4096)
    vfs.writeblocks(0, b"\x3f", 10)
    buf = bytearray(3)
    vfs.readblocks(0, buf, 9)
    assert buf == b"\xf3\x33\xf3"


def test_sizes_that_do_not_fit():
    _chip, esp32 = modules()
    vfs = esp32.Partition("vfs")
    blocks = vfs.ioctl(4, 0)
    size = (-260, "ESP_ERR_INVALID_SIZE")
    assert raises(OSError, vfs.writeblocks, 0, b"abc").args == size
    assert raises(OSError, vfs.writeblocks, blocks, bytes(4096)).args == size
    assert raises(OSError, vfs.writeblocks, blocks - 1, bytes(8192)).args == size
    error = raises(OSError, vfs.readblocks, blocks, bytearray(4096))
    assert error.args == (-258, "ESP_ERR_INVALID_ARG")


def test_ioctl():
    chip, esp32 = modules()
    vfs = esp32.Partition("vfs")
    assert (vfs.ioctl(4, 0), vfs.ioctl(5, 0)) == (240, 4096)
    vfs.writeblocks(7, bytes(4096))
    assert vfs.ioctl(6, 7) == 0
    buf = bytearray(1)
    vfs.readblocks(7, buf)
    assert buf == b"\xff"
    assert raises(OSError, vfs.ioctl, 6, 240).args[0] == -260
    before = chip.flash.operations
    assert (vfs.ioctl(1, 0), vfs.ioctl(2, 0), vfs.ioctl(3, 0)) == (0, 0, 0)
    assert chip.flash.operations == before
    assert vfs.ioctl(99, 0) is None


def test_other_block_sizes():
    _chip, esp32 = modules()
    vfs = esp32.Partition("vfs", block_size=512)
    assert (vfs.ioctl(4, 0), vfs.ioctl(5, 0), vfs.ioctl(6, 0)) == (1920, 512, -22)
    vfs.writeblocks(7, b"a" * 1024)
    vfs.writeblocks(8, b"b" * 512)
    buf = bytearray(1536)
    vfs.readblocks(7, buf)
    assert buf == b"a" * 512 + b"b" * 512 + b"\xff" * 512


def test_set_boot_validates_the_image():
    _chip, esp32 = modules()
    error = raises(OSError, esp32.Partition("ota_1").set_boot)
    assert error.args == (-5379, "ESP_ERR_OTA_VALIDATE_FAILED")
    assert esp32.Partition(esp32.Partition.BOOT).info()[4] == "ota_0"


def entries(esp32):
    raw = bytearray(4096 + 32)
    esp32.Partition("otadata").readblocks(0, raw)
    both = [struct.unpack_from("<I20sII", raw, at) for at in (0, 4096)]
    return [(sequence, state) for sequence, _, state, _ in both]


def test_an_update_from_set_boot_to_confirmation_and_back():
    chip, esp32 = modules()
    esp32.Partition.mark_app_valid_cancel_rollback()
    assert entries(esp32) == [(1, 2), (0xFFFFFFFF, 0xFFFFFFFF)]
    stock.put(chip.flash, 0x190000, stock.build_app(version="v1.26.0"))
    esp32.Partition("ota_1").set_boot()
    assert entries(esp32) == [(1, 2), (2, 0)]
    assert esp32.Partition(esp32.Partition.BOOT).info()[4] == "ota_1"
    assert esp32.Partition(esp32.Partition.RUNNING).info()[4] == "ota_0"

    chip.power_on(5)
    esp32 = chip.modules()["esp32"]
    assert esp32.Partition(esp32.Partition.RUNNING).info()[4] == "ota_0"
    assert entries(esp32)[1] == (2, 0)

    chip.power_on(2)
    esp32 = chip.modules()["esp32"]
    assert esp32.Partition(esp32.Partition.RUNNING).info()[4] == "ota_1"
    assert entries(esp32)[1] == (2, 1)
    esp32.Partition.mark_app_valid_cancel_rollback()
    assert entries(esp32) == [(1, 2), (2, 2)]
    before = chip.flash.operations
    esp32.Partition.mark_app_valid_cancel_rollback()
    assert chip.flash.operations == before

    esp32.Partition("ota_0").set_boot()
    assert entries(esp32) == [(3, 0), (2, 2)]
    chip.power_on(2)
    chip.power_on(1)
    assert chip.running == "ota_1"


def test_a_deep_sleep_after_set_boot_skips_the_validation():
    chip, esp32 = modules()
    stock.put(chip.flash, 0x190000, stock.build_app())
    esp32.Partition("ota_1").set_boot()
    chip.flash.program(0x190000 + 0x30, b"\x00" * 8)
    store = chip.flash.store.clone()
    chip.power_on(4)
    assert chip.running == "ota_1"
    chip.flash.store = store
    chip.power_on(2)
    assert chip.running == "ota_0"


def test_set_boot_of_the_slot_that_boots_anyway_keeps_its_sequence():
    _chip, esp32 = modules()
    esp32.Partition("ota_0").set_boot()
    assert entries(esp32) == [(1, 2), (1, 0)]


def test_marking_valid_hits_the_image_of_the_next_boot():
    chip, esp32 = modules()
    stock.put(chip.flash, 0x190000, stock.build_app())
    esp32.Partition("ota_1").set_boot()
    esp32.Partition.mark_app_valid_cancel_rollback()
    assert entries(esp32)[1] == (2, 2)


def test_without_otadata():
    layout = [e for e in stock.ENTRIES if e[4] not in ("otadata", "ota_1")]
    layout[2] = (0, 0, 0x10000, 0x180000, "factory", False)
    chip, esp32 = modules(entries=layout)
    assert chip.running == "factory"
    mark = esp32.Partition.mark_app_valid_cancel_rollback
    assert raises(OSError, mark).args == (-261, "ESP_ERR_NOT_FOUND")
    assert raises(OSError, esp32.Partition("factory").set_boot).args[0] == -261


def test_nothing_guards_the_only_good_slot():
    chip, esp32 = modules()
    stock.put(chip.flash, 0x190000, stock.build_app())
    esp32.Partition("ota_1").set_boot()
    chip.power_on(2)
    esp32 = chip.modules()["esp32"]
    esp32.Partition("ota_0").writeblocks(0, bytes(4096))
    esp32.Partition("ota_1").ioctl(6, 0)


def test_heap_and_temperature():
    chip, esp32 = modules()
    regions = esp32.idf_heap_info(esp32.HEAP_DATA)
    assert all([len(r) == 4 and r[0] >= r[1] >= r[2] for r in regions])
    chip.idf_heap = [(1000, 10, 5, 1)]
    assert esp32.idf_heap_info(esp32.HEAP_DATA) == [(1000, 10, 5, 1)]
    chip.temperature_c = 50
    assert esp32.raw_temperature() == 122
    assert not hasattr(esp32, "mcu_temperature")


def test_a_newer_chip_measures_its_temperature():
    chip, esp32 = modules(app=stock.build_app(chip_id=9), family="ESP32-S3")
    chip.temperature_c = 50
    assert esp32.mcu_temperature() == 50
    assert not hasattr(esp32, "raw_temperature")


def test_esp():
    chip, _ = modules()
    esp = chip.modules()["esp"]
    assert esp.flash_size() == 0x400000
    esp.osdebug(None)
    buf = bytearray(2)
    esp.flash_read(0x8000, buf)
    assert buf == b"\xaa\x50"
    esp.flash_erase(0x310)
    esp.flash_write(0x310000, b"x")
    esp.flash_read(0x310000, buf)
    assert buf == b"x\xff"
