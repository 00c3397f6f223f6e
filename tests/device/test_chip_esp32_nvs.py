# SPDX-License-Identifier: MIT
"""`esp32.NVS` against HARDWARE.md: values, exceptions with their arguments, capacity."""

from chip import stock
from support import raises

NOT_FOUND = (-4354, "ESP_ERR_NVS_NOT_FOUND")


def modules():
    chip = stock.new_chip()
    return chip, chip.modules()["esp32"]


def test_nvs_keeps_integers_and_blobs():
    chip, esp32 = modules()
    nvs = esp32.NVS("space")
    for value in (0, -1, 2**31 - 1, -(2**31)):
        nvs.set_i32("i", value)
        assert nvs.get_i32("i") == value
    nvs.set_blob("b", b"value")
    nvs.commit()
    chip.power_on(2)
    nvs = chip.modules()["esp32"].NVS("space")
    buf = bytearray(8)
    assert nvs.get_blob("b", buf) == 5
    assert buf == b"value\x00\x00\x00"
    assert nvs.get_i32("i") == -(2**31)
    nvs.set_blob("b", b"")
    assert nvs.get_blob("b", buf) == 0


def test_nvs_errors():
    _chip, esp32 = modules()
    nvs = esp32.NVS("space")
    nvs.set_i32("i", 1)
    nvs.set_blob("b", b"12345")
    buf = bytearray(4)
    assert raises(OSError, nvs.get_i32, "x").args == NOT_FOUND
    assert raises(OSError, nvs.get_blob, "x", buf).args == NOT_FOUND
    assert raises(OSError, nvs.erase_key, "x").args == NOT_FOUND
    assert raises(OSError, nvs.get_i32, "b").args == NOT_FOUND
    assert raises(OSError, nvs.get_blob, "i", buf).args == NOT_FOUND
    length = (-4364, "ESP_ERR_NVS_INVALID_LENGTH")
    assert raises(OSError, nvs.get_blob, "b", buf).args == length
    long_key = (-4361, "ESP_ERR_NVS_KEY_TOO_LONG")
    assert raises(OSError, nvs.set_i32, "k" * 16, 1).args == long_key
    assert raises(OSError, esp32.NVS, "n" * 16).args == long_key
    nvs.set_i32("k" * 15, 1)
    raises(OverflowError, nvs.set_i32, "i", 2**31)
    raises(OverflowError, nvs.set_i32, "i", -(2**31) - 1)
    too_long = (-4366, "ESP_ERR_NVS_VALUE_TOO_LONG")
    assert raises(OSError, nvs.set_blob, "b", bytes(14000)).args == too_long
    nvs.erase_key("i")
    nvs.erase_key("b")
    assert raises(OSError, nvs.get_i32, "i").args == NOT_FOUND
    assert raises(OSError, nvs.get_blob, "b", buf).args == NOT_FOUND


def test_nvs_has_no_more_than_the_firmware_offers():
    _chip, esp32 = modules()
    names = [name for name in dir(esp32.NVS("space")) if not name.startswith("_")]
    offered = ["commit", "erase_key", "get_blob", "get_i32", "set_blob", "set_i32"]
    assert sorted(names) == offered


def fill(nvs, size):
    count = 0
    full = (-4357, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")
    try:
        while True:
            nvs.set_blob("k%d" % count, bytes([count]) * size)
            count += 1
    except OSError as e:
        assert e.args == full
    buf = bytearray(size)
    for i in range(count):
        assert nvs.get_blob("k%d" % i, buf) == size
        assert buf == bytes([i]) * size
    return count


def test_nvs_capacity():
    for size, count in ((500, 20), (1000, 11), (2000, 5), (4000, 2)):
        _chip, esp32 = modules()
        assert fill(esp32.NVS("space"), size) == count, size


def test_nvs_capacity_beside_one_big_blob():
    # The format's own arithmetic, as nothing else lives here: a board whose radio keeps its
    # calibration in the same partition has less (docs/simboard.md).
    _chip, esp32 = modules()
    nvs = esp32.NVS("space")
    nvs.set_blob("big", b"x" * 8000)
    assert fill(nvs, 500) == 6
    buf = bytearray(8000)
    assert nvs.get_blob("big", buf) == 8000
    assert buf == b"x" * 8000


def test_an_nvs_that_does_not_open_fails_every_namespace():
    chip, _esp32 = modules()
    chip.flash.bad_reads = [(0x9000, 0xD000)]
    chip.power_on(1)
    error = raises(OSError, chip.modules()["esp32"].NVS, "space")
    assert error.args == (-4353, "ESP_ERR_NVS_NOT_INITIALIZED")
