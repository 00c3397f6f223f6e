# SPDX-License-Identifier: MIT
"""`build firmware`: what it takes, and what it refuses."""

from __future__ import annotations

import hashlib
import random
import struct

import pytest
from esp_idf_defs import PartitionTable
from official_firmware import NotThere, official_download

from fleetling.errors import FleetlingError
from fleetling.release.firmware import read_firmware

STOCK_SLOT = 0x180000


def app_image(
    size: int = 5000, *, chip: int = 0, hashed: bool = True, banner: bytes = b"", seed: int = 1
) -> bytes:
    """An app image with a descriptor and two segments."""
    content = random.Random(seed).randbytes(size)
    descriptor = struct.pack(
        "<II8x32s32s16s16s32s32s80x",
        0xABCD5432,
        3,
        b"1.2.3",
        b"pump",
        b"12:00:00",
        b"Jan  1 2026",
        b"v5.4",
        bytes(range(32)),
    )
    segments = [descriptor + banner + content, content[:100]]
    head = bytearray(24)
    head[0], head[1], head[8], head[23] = 0xE9, len(segments), 0xEE, hashed
    struct.pack_into("<H", head, 12, chip)
    out = bytes(head)
    checksum = 0xEF
    for segment in segments:
        segment += bytes(-len(segment) % 4)
        out += struct.pack("<II", 0x3F400020, len(segment)) + segment
        for byte in segment:
            checksum ^= byte
    out += bytes(15 - len(out) % 16) + bytes([checksum])
    return out + (hashlib.sha256(out).digest() if hashed else b"")


def download(app: bytes, *, start: int = 0x1000, table: str | None = None) -> bytes:
    """A file as MicroPython's download page has it."""
    rows = table or "nvs,data,nvs,0x9000,0x6000\nfactory,app,factory,0x10000,0x1F0000\n"
    bootloader = app_image(700, seed=9)
    out = bootloader.ljust(0x8000 - start, b"\xff")
    out += PartitionTable.from_csv(rows).to_binary()
    return bytes(out.ljust(0x10000 - start, b"\xff") + app)


def refusal(data: bytes) -> str:
    with pytest.raises(FleetlingError) as refused:
        read_firmware(data)
    return refused.value.message


def test_an_app_image_tells_what_it_is() -> None:
    machine = b"\0; Generic ESP32 module with OTA with ESP32\0"
    image = app_image(banner=b"\0MicroPython v1.26.0 on 2026-01-01\0\0" + machine)
    firmware = read_firmware(image)
    assert firmware.image == image
    assert (firmware.chip, firmware.version, firmware.project) == ("esp32", "1.2.3", "pump")
    assert (firmware.idf, firmware.secure_version) == ("v5.4", 3)
    assert firmware.micropython == "v1.26.0"
    assert firmware.machine == "Generic ESP32 module with OTA with ESP32"
    both = app_image(banner=machine + machine.replace(b"OTA", b"all"))
    assert read_firmware(both).machine == ""  # which of them it is, nobody guesses
    assert firmware.elf_sha256 == bytes(range(32)).hex()
    assert firmware.built == "Jan  1 2026 12:00:00"
    assert firmware.sha256 == hashlib.sha256(image).hexdigest()


@pytest.mark.parametrize(("chip", "start"), [(0, 0x1000), (9, 0), (0x12, 0x2000)])
def test_the_app_is_taken_out_of_a_download(chip: int, start: int) -> None:
    image = app_image(chip=chip)
    firmware = read_firmware(download(image, start=start))
    assert firmware.image == image
    assert firmware.chip == {0: "esp32", 9: "esp32s3", 0x12: "esp32p4"}[chip]


def test_the_first_app_of_a_table_for_updates_is_taken() -> None:
    rows = "otadata,data,ota,0xd000,0x2000\nota_0,app,ota_0,0x10000,0x180000\n"
    rows += "ota_1,app,ota_1,0x190000,0x180000\n"
    image = app_image()
    assert read_firmware(download(image, table=rows)).image == image


def test_what_follows_the_app_in_a_download_stays_behind() -> None:
    image = app_image()
    assert read_firmware(download(image) + b"\xff" * 100).image == image


def test_an_image_without_hash_is_taken_by_its_checksum() -> None:
    image = app_image(hashed=False)
    assert read_firmware(image).image == image


@pytest.mark.parametrize("length", [0, 1, 23, 24, 31, 300, 5000])
def test_a_truncated_image_is_refused(length: int) -> None:
    assert "image" in refusal(app_image()[:length])


def test_every_cut_of_an_image_and_a_download_is_refused() -> None:
    image = app_image(200)
    for length in range(len(image)):
        refusal(image[:length])
    whole = download(image)
    for length in range(0xF000, len(whole)):
        refusal(whole[:length])


def test_every_flipped_byte_is_refused() -> None:
    image = app_image(40)
    for at in range(len(image)):
        if at == 23:
            continue  # says whether a hash follows: then it is bytes after the image, or none
        bad = bytearray(image)
        bad[at] ^= 0x10
        refusal(bytes(bad))


def test_without_a_hash_the_checksum_finds_a_flipped_byte() -> None:
    image = app_image(40, hashed=False)
    for at in range(290, 328):  # the first segment, behind its descriptor
        bad = bytearray(image)
        bad[at] ^= 0x10
        refusal(bytes(bad))


def test_bytes_after_an_app_image_are_refused() -> None:
    assert "1 bytes after" in refusal(app_image() + b"x")


def test_other_files_are_refused() -> None:
    assert "not an ESP-IDF image" in refusal(b"\x7fELF" + bytes(100))
    assert "not an ESP-IDF image" in refusal(app_image(chip=0x7777))
    assert "descriptor" in refusal(app_image_without_descriptor())
    random_bytes = random.Random(1)
    for _ in range(200):
        refusal(b"\xe9" + random_bytes.randbytes(random_bytes.randrange(3000)))


def app_image_without_descriptor() -> bytes:
    out = b"\xe9\x01" + bytes(6) + b"\xee" + bytes(15) + struct.pack("<II", 0, 400) + bytes(400)
    return out.ljust(len(out) // 16 * 16 + 15, b"\0") + b"\xef"


def test_a_download_without_an_app_is_refused() -> None:
    data = download(b"", table="nvs,data,nvs,0x9000,0x6000\n")
    assert "no app" in refusal(data)
    bad = bytearray(download(app_image()))
    bad[0x7000 + 40] ^= 1
    assert "partition table is damaged" in refusal(bytes(bad))


def test_an_image_must_fit_its_slot_and_chip() -> None:
    firmware = read_firmware(app_image())
    firmware.check_fits(len(firmware.image), chip="esp32")
    with pytest.raises(FleetlingError, match="1 more than a slot"):
        firmware.check_fits(len(firmware.image) - 1)
    with pytest.raises(FleetlingError, match="for esp32, the boards are esp32c3"):
        firmware.check_fits(STOCK_SLOT, chip="esp32c3")


@pytest.mark.slow
def test_the_official_firmware_is_read_and_refused_where_it_does_not_fit() -> None:
    try:
        data = official_download()
    except NotThere as e:
        pytest.skip(f"official firmware not available: {e}")
    firmware = read_firmware(data)
    assert len(firmware.image) == 1_672_800
    assert firmware.image == data[0xF000 : 0xF000 + 1_672_800]
    assert (firmware.chip, firmware.micropython, firmware.idf) == ("esp32", "v1.23.0", "v5.0.4")
    assert firmware.built == "Jun  2 2024 06:51:35"
    assert firmware.machine == "Generic ESP32 module with ESP32"
    assert read_firmware(firmware.image) == firmware
    with pytest.raises(FleetlingError, match="99,936 more than a slot of 1,572,864"):
        firmware.check_fits(STOCK_SLOT)
    firmware.check_fits(0x2F0000, chip="esp32")  # the slots of an 8 MB layout


def signed(image: bytes) -> bytes:
    """The image with a sector of secure boot's signatures, the signature itself left out."""
    filled = image.ljust((len(image) + 4095) // 4096 * 4096, b"\xff")
    block = struct.pack("<BB2x32s", 0xE7, 2, hashlib.sha256(filled).digest())
    return filled + block.ljust(4096, b"\xff")


def test_the_signatures_of_secure_boot_belong_to_the_image() -> None:
    image = signed(app_image())
    assert read_firmware(image).image == image
    assert read_firmware(download(image)).image == image


def test_signatures_of_another_image_are_refused() -> None:
    image = signed(app_image())
    assert "of another image" in refusal(app_image(seed=2) + image[len(app_image()) :])
