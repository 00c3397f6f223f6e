# SPDX-License-Identifier: MIT
"""What simboard builds and accepts, held against the readers of the esp-idf-defs package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from fleetling import device

sys.path.insert(0, str(Path(__file__).parents[2] / "tools/fleetling/simboard/shims"))
defs = importlib.import_module("esp_idf_defs")
flash_module = importlib.import_module("fleetling.simboard.chip.flash")
image = importlib.import_module("fleetling.simboard.chip.image")
otadata = importlib.import_module("fleetling.simboard.chip.otadata")
stock = importlib.import_module("fleetling.simboard.chip.stock")
table = importlib.import_module("fleetling.simboard.chip.table")


def flash_with(addr: int, data: bytes) -> object:
    flash = flash_module.Flash(flash_module.MemoryStore(0x400000))
    stock.put(flash, addr, data)
    return flash


def test_the_stock_table_is_read_by_espressifs_parser() -> None:
    parsed = defs.PartitionTable.from_binary(stock.TABLE)
    rows = [(p.type, p.subtype, p.offset, p.size, p.name, p.encrypted) for p in parsed]
    assert rows == list(stock.ENTRIES)


def test_a_table_of_espressifs_parser_is_read() -> None:
    binary = defs.PartitionTable.from_binary(stock.TABLE).to_binary()
    assert table.parse(flash_with(table.ADDRESS, binary)) == list(stock.ENTRIES)


@pytest.mark.parametrize("state", [0, 1, 2, 3, 4, 0xFFFFFFFF])
def test_otadata_entries_are_the_same_bytes(state: int) -> None:
    for sequence in (1, 2, 77):
        entry = defs.OtaDataSelectEntry(sequence, defs.OtaImageState(state))
        assert otadata.pack(sequence, state) == entry.to_bytes()


def test_an_app_image_is_read_by_espressifs_parser() -> None:
    built = stock.build_app(version="v1.26.0", body=bytes(range(256)) * 30, secure_version=7)
    parsed = defs.ImageMetadata.from_bytes(built, app_required=True)
    app = parsed.app_description
    assert (app.version, app.project_name, app.secure_version) == ("v1.26.0", "micropython", 7)
    assert parsed.header.hash_appended
    assert image.verify(flash_with(0x10000, built), 0x10000, 0x180000) == len(built)


@pytest.mark.parametrize("at", [0, 0x20, 0x30, 0x200, -33, -32, -1])
def test_both_refuse_the_same_damage(at: int) -> None:
    built = bytearray(stock.build_app(body=b"code" * 100))
    built[at] ^= 0x10
    with pytest.raises(ValueError, match=r"magic|mismatch"):
        defs.ImageMetadata.from_bytes(bytes(built))
    with pytest.raises(image.BadImage):
        image.verify(flash_with(0, bytes(built)), 0, 0x180000)


def test_the_layout_that_images_are_made_with_is_the_stock_one() -> None:
    made = defs.PartitionTable.from_csv(device.partition_table("4mb"))
    assert made.to_binary()[: len(stock.TABLE)] == stock.TABLE
