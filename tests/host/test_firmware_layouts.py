# SPDX-License-Identifier: MIT
"""The partition tables of firmware/: what bootloader, MicroPython and agent want of each."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
from esp_idf_defs import PartitionTable
from official_firmware import NotThere, official_download

from fleetling import device
from fleetling.release.firmware import read_firmware

sys.path.insert(0, str(Path(__file__).parents[2] / "tools/fleetling/simboard/shims"))
table_module = importlib.import_module("fleetling.simboard.chip.table")
stock = importlib.import_module("fleetling.simboard.chip.stock")
flash_module = importlib.import_module("fleetling.simboard.chip.flash")

FIRMWARE = Path(__file__).parents[2] / "firmware"
LAYOUTS = sorted(p.stem.removeprefix("partitions-") for p in FIRMWARE.glob("partitions-*.csv"))
APP, DATA = 0, 1
OTADATA, PHY, NVS, NVS_KEYS, FAT = 0, 1, 2, 4, 129
SECTOR, PAGE = 0x1000, 0x10000


def table(layout: str) -> PartitionTable:
    return PartitionTable.from_csv(device.partition_table(layout))


def flash_size(layout: str) -> int:
    megabytes = re.match(r"\d+", layout)
    assert megabytes
    return int(megabytes[0]) << 20


def test_there_is_a_layout_for_each_size_of_flash_with_and_without_keys() -> None:
    assert sorted(LAYOUTS) == sorted(
        f"{size}mb{keys}" for size in (4, 8, 16) for keys in ("", "-keys")
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_partitions_fill_the_flash_in_order(layout: str) -> None:
    made = table(layout)
    made.verify()
    end = 0x9000  # behind the table and its 4 KB
    for entry in made:
        assert entry.offset == end, entry.name
        assert entry.offset % SECTOR == 0 and entry.size % SECTOR == 0, entry.name
        end = entry.offset + entry.size
    assert end == flash_size(layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_equal_slots_on_pages_of_the_cache(layout: str) -> None:
    slots = [entry for entry in table(layout) if entry.type == APP]
    # No factory app: anti-rollback wants none, and the agent counts on two.
    assert [(s.name, s.subtype) for s in slots] == [("ota_0", 16), ("ota_1", 17)]
    assert slots[0].size == slots[1].size
    for slot in slots:
        # Secure boot wants the size in whole pages, too: what follows an app must be signed.
        assert slot.offset % PAGE == 0 and slot.size % PAGE == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_the_agent_and_micropython_look_for(layout: str) -> None:
    rows = {entry.name: entry for entry in table(layout)}
    kinds = {name: (entry.type, entry.subtype) for name, entry in rows.items()}
    wanted = {
        "nvs": (DATA, NVS),
        "otadata": (DATA, OTADATA),
        "phy_init": (DATA, PHY),
        "ota_0": (APP, 16),
        "ota_1": (APP, 17),
        "vfs": (DATA, FAT),  # MicroPython mounts the data partition of this label
    }
    if layout.endswith("-keys"):
        wanted["nvs_key"] = (DATA, NVS_KEYS)
        assert rows["nvs_key"].size == SECTOR and rows["nvs_key"].encrypted
    assert kinds == wanted
    assert rows["otadata"].size == 2 * SECTOR
    assert rows["nvs"].size >= (4 if layout.startswith("4mb") else 20) * SECTOR
    # NVS encrypts itself; MicroPython writes littlefs by bits, which flash encryption cannot.
    assert not any(rows[name].encrypted for name in ("nvs", "vfs", "otadata"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_keys_cost_the_file_system_alone(layout: str) -> None:
    plain = {e.name: e for e in table(layout.removesuffix("-keys"))}
    for entry in table(layout):
        if entry.name not in ("vfs", "nvs_key"):
            there = plain[entry.name]
            assert (entry.offset, entry.size) == (there.offset, there.size)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_simulated_bootloader_reads_it_the_same(layout: str) -> None:
    made = table(layout)
    flash = flash_module.Flash(flash_module.MemoryStore(flash_size(layout)), flash_size(layout))
    stock.put(flash, table_module.ADDRESS, made.to_binary())
    rows = [(e.type, e.subtype, e.offset, e.size, e.name, e.encrypted) for e in made]
    assert table_module.parse(flash) == rows


def test_the_small_one_is_the_official_table() -> None:
    binary = table("4mb").to_binary()
    assert binary[: len(stock.TABLE)] == stock.TABLE


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_official_firmware_fits_the_slots(layout: str) -> None:
    try:
        app = read_firmware(official_download())
    except NotThere as e:
        pytest.skip(str(e))
    slot = table(layout)["ota_0"].size
    if layout.startswith("4mb"):
        # The plain v1.23.0 is larger than 1.5 MB; that is why there is a build for OTA.
        assert len(app.image) > slot
    else:
        app.check_fits(slot, chip="esp32")
