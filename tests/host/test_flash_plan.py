# SPDX-License-Identifier: MIT
"""What goes where, and what is refused, before any board is there."""

from __future__ import annotations

import hashlib

import pytest
from esp_idf_defs import PartitionTable
from mock_boards import download

from fleetling.errors import FleetlingError
from fleetling.flashing.bootloader import flash_size, rolls_back, start_of, with_flash_size
from fleetling.flashing.plan import Plan, Recipe, check_kept_bootloader, choose_layout, pieces
from fleetling.flashing.rom import Rom
from fleetling.flashing.standing import Standing, nvs_places, read_standing, standing_of
from fleetling.image.flash import SECTOR, Region, join, layout_names, read_layout
from fleetling.release.firmware import image_length, read_firmware
from fleetling.simboard.chip import nvs_format, stock
from fleetling.simboard.chip.flash import Flash, MemoryStore
from fleetling.simboard.chip.nvs import Nvs
from fleetling.simboard.inprocess import Board as VirtualBoard

FILES = {"main.py": b"print('hello')\n"}
IDENTITY = b"\x01" * 0x3000


def recipe(chip: str = "esp32", **options: str) -> Recipe:
    return Recipe(read_firmware(download(chip, **options)), FILES)  # type: ignore[arg-type]


def plan(layout: str = "4mb") -> Plan:
    return recipe().plan(read_layout(layout), "pump-1", IDENTITY)


def nvs(**namespaces: dict[str, bytes]) -> bytes:
    """A partition as the chip writes it."""
    store = MemoryStore(0x4000)
    flash = Flash(store, 0x4000)
    flash.and_ranges = [(0, 0x4000)]
    opened = Nvs(flash, 0, 0x4000)
    for namespace, values in namespaces.items():
        for key, value in values.items():
            opened.set(namespace, nvs_format.BLOB_V1, key, value)
    return bytes(flash.read(0, 0x4000))


# --- what goes where


@pytest.mark.parametrize("name", layout_names())
def test_every_layout_has_all_regions_apart_and_in_the_flash(name: str) -> None:
    layout = read_layout(name)
    made = recipe().plan(layout, "pump-1", IDENTITY)
    assert [region.label for region in made.regions] == [
        *("bootloader", "table", "nvs", "otadata", "ota_0", "ota_1", "vfs"),
        *(["nvs_key"] if layout.has_keys else []),
    ]
    end = 0
    for region in made.regions:
        assert region.offset >= end and region.offset % SECTOR == len(region.data) % SECTOR == 0
        end = region.end
    assert end <= layout.size
    image = made.image()
    assert len(image) == layout.size
    table = PartitionTable.from_binary(image[0x8000:0x8C00])
    assert [entry.name for entry in table] == [entry.name for entry in layout.table]
    assert image[0x1000] == 0xE9 and flash_size(image[0x1000:]) == layout.size
    assert image_length(image[table["ota_0"].offset :]) == len(recipe().firmware.image)
    assert image[table["nvs"].offset :][: len(IDENTITY)] == IDENTITY
    assert set(image[table["otadata"].offset :][: table["otadata"].size]) == {0xFF}


def test_identity_and_table_are_written_last() -> None:
    labels = [region.label for region in plan().order()]
    assert labels[0] == "bootloader" and labels[-2:] == ["nvs", "table"]
    assert sorted(labels) == sorted(region.label for region in plan().regions)


@pytest.mark.parametrize(
    ("chip", "start"), [("esp32", 0x1000), ("esp32s3", 0), ("esp32c3", 0), ("esp32c5", 0x2000)]
)
def test_the_bootloader_is_where_the_chip_looks(chip: str, start: int) -> None:
    assert start_of(chip) == start
    if chip != "esp32c5":
        assert recipe(chip).bootloader_at == start
        made = recipe(chip).plan(read_layout("4mb"), "pump-1", IDENTITY)
        assert made.regions[0].offset == start


def test_another_identity_changes_nothing_but_its_own_region() -> None:
    one = recipe()
    first = one.plan(read_layout("4mb"), "pump-1", IDENTITY)
    second = one.plan(read_layout("4mb"), "pump-2", b"\x02" * 0x4000)
    different = [a.label for a, b in zip(first.regions, second.regions, strict=True) if a != b]
    assert different == ["nvs"]


@pytest.mark.parametrize(
    ("data", "lengths"),
    [
        (b"x" * SECTOR * 3, [3]),
        (b"\xff" * SECTOR * 2, [2]),
        (b"x" * SECTOR + b"\xff" * SECTOR * 20 + b"y" * SECTOR, [1, 20, 1]),
        (b"x" * SECTOR + b"\xff" * SECTOR * 2 + b"y" * SECTOR + b"\xff" * SECTOR * 8, [4, 8]),
        (b"\xff" * SECTOR * 8 + b"\xff" * (SECTOR - 1) + b"y", [8, 1]),
    ],
)
def test_pieces_are_the_region_with_its_long_blanks_apart(data: bytes, lengths: list[int]) -> None:
    found = pieces(Region("vfs", 0x10000, data, len(data)))
    assert [len(piece) // SECTOR for _, piece in found] == lengths
    assert b"".join(piece for _, piece in found) == data
    at = 0x10000
    for offset, piece in found:
        assert offset == at
        at += len(piece)


# --- what is refused


def refused(words: str, call: object, *arguments: object) -> FleetlingError:
    with pytest.raises(FleetlingError, match=words) as raised:
        call(*arguments)  # type: ignore[operator]
    assert raised.value.hint
    return raised.value


def test_what_does_not_fit_is_refused() -> None:
    layout = read_layout("4mb")
    large = Recipe(read_firmware(download(body=b"x" * layout.slot)), FILES)
    refused("more than a slot", large.plan, layout, "pump-1", IDENTITY)
    assert large.plan(read_layout("8mb"), "pump-1", IDENTITY)
    refused("nvs would hold", recipe().plan, layout, "pump-1", b"x" * 0x4001)
    many = Recipe(recipe().firmware, {"a": b"x" * 0x100000})
    refused("do not fit a file system", many.plan, layout, "pump-1", IDENTITY)


def test_the_layout_is_the_largest_that_fits() -> None:
    assert choose_layout("auto", 4 << 20).name == "4mb"
    assert choose_layout("auto", 8 << 20).name == "8mb"
    assert choose_layout("auto", 64 << 20).name == "16mb"
    assert choose_layout("auto", None).name == "4mb"
    assert choose_layout("4mb-keys", 4 << 20).has_keys
    refused("2 MB of flash", choose_layout, "auto", 2 << 20)
    refused("the board has 4", choose_layout, "8mb", 4 << 20)
    refused("no layout '5mb'", choose_layout, "5mb", 4 << 20)


def test_a_bootloader_for_another_chip_is_refused() -> None:
    other = read_firmware(download("esp32s3")).bootloader
    refused("for esp32s3", Recipe, recipe().firmware, FILES, other)
    refused("no image|not an ESP-IDF", Recipe, recipe().firmware, FILES, b"nothing at all" * 9)


def test_a_bootloader_is_set_to_the_layouts_size_and_stays_whole() -> None:
    plain = read_firmware(download()).bootloader
    assert flash_size(plain) == 1 << 20
    for size in (4 << 20, 8 << 20, 16 << 20):
        made = with_flash_size(plain, size)
        assert flash_size(made) == size
        assert image_length(made) == len(made) == len(plain)  # checks the hash
        assert made[4:-32] == plain[4:-32] and made[3] & 0x0F == plain[3] & 0x0F


def test_rollback_is_told_where_the_bytes_tell_it() -> None:
    plain = read_firmware(download()).bootloader
    assert rolls_back(plain, "v5.4.2") is None
    assert rolls_back(plain, "v3.2-dev-1234") is False
    assert rolls_back(plain, "v4.0.1") is None
    assert rolls_back(plain, "") is None
    talkative = stock.build_image([(0x3FFF0000, b"otadata[%d] is marking as ABORTED\n")])
    assert rolls_back(talkative, "v5.4.2") is True


def test_a_firmware_too_old_to_roll_back_is_refused() -> None:
    old = download().replace(b"v5.4.2", b"v3.2.1")
    app = bytearray(old[0xF000:-32])
    for now, then in zip(b"v3.2.1", b"v5.4.2", strict=True):
        app[-1] ^= now ^ then  # the checksum is an XOR of all bytes
    whole = old[:0xF000] + bytes(app) + hashlib.sha256(app).digest()
    refused("takes no update back", Recipe, read_firmware(whole), FILES)


def test_a_boards_own_bootloader_is_kept_only_where_it_can_go_on() -> None:
    layout = read_layout("4mb")
    plain = read_firmware(download()).bootloader
    room = 0x7000
    sound = with_flash_size(plain, 4 << 20).ljust(room, b"\xff")
    check_kept_bootloader(sound, "esp32", layout)
    refused("no whole bootloader", check_kept_bootloader, b"\xff" * room, "esp32", layout)
    damaged = sound[:100] + b"\x00" + sound[101:]
    refused("no whole bootloader", check_kept_bootloader, damaged, "esp32", layout)
    refused("for esp32, the", check_kept_bootloader, sound, "esp32c3", layout)
    refused("set to 1 MB", check_kept_bootloader, plain.ljust(room, b"\xff"), "esp32", layout)
    image = Recipe(read_firmware(read_firmware(download()).image), FILES)
    made = image.plan(layout, "pump-1", IDENTITY)
    assert made.keeps_bootloader and made.regions[0].label == "table"


# --- what a board carries


def test_what_a_board_carries_is_read_from_its_nvs() -> None:
    assert read_standing(b"\xff" * 0x4000) == Standing()
    assert read_standing(b"\x00" * 0x4000) == Standing()
    assert read_standing(bytes(range(256)) * 64) == Standing()
    wifi = nvs(misc={"log": b"x"})
    assert not read_standing(wifi)
    given = nvs(fl_factory={"id": b"pump-1"})
    assert read_standing(given) == Standing("pump-1", False)
    enrolled = nvs(fl_factory={"id": b"pump-1"}, fl_id={"ident0": b"key"})
    assert read_standing(enrolled) == Standing("pump-1", True)
    lost = nvs(fl_id={"ident1": b"key"})
    assert read_standing(lost) == Standing("", True) and read_standing(lost)


class InMemory(Rom):
    """A board of which only the flash is there."""

    def __init__(self, flash: bytearray) -> None:
        self._flash = flash

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._flash[offset : offset + size])

    def holds(self, offset: int, data: bytes) -> bool:
        return self.read(offset, len(data)) == data


def layout_with(offset: int, size: int) -> bytes:
    rows = [(1, 2, offset, size, "nvs", False), (0, 16, 0x40000, 0x100000, "ota_0", False)]
    return bytes(stock.build_table(rows))


def test_the_nvs_is_looked_for_where_either_table_has_it() -> None:
    layout = read_layout("4mb")
    assert nvs_places(b"\xff" * 0xC00, layout) == [(0x9000, 0x4000)]
    assert nvs_places(layout_with(0x9000, 0x4000), layout) == [(0x9000, 0x4000)]
    other = layout_with(0x20000, 0x4000)
    assert nvs_places(other, layout) == [(0x9000, 0x4000), (0x20000, 0x4000)]
    flash = bytearray(b"\xff" * 0x400000)
    flash[0x8000:0x8C00] = other
    flash[0x20000:0x24000] = nvs(fl_factory={"id": b"pump-1"}, fl_id={"ident0": b"key"})

    assert standing_of(InMemory(flash), layout) == Standing("pump-1", True)
    # What a plan was cut in: no table, the identity where the new one has it.
    half = bytearray(b"\xff" * 0x400000)
    half[0x9000:0xD000] = nvs(fl_factory={"id": b"pump-2"})
    assert standing_of(InMemory(half), layout).device_id == "pump-2"


@pytest.mark.parametrize("name", ["4mb", "16mb"])
def test_a_simulated_board_of_any_size_boots_it(name: str) -> None:
    told = b"import esp, os\nprint(esp.flash_size(), os.statvfs('/')[2])\n"
    made = Recipe(recipe().firmware, {"main.py": told}).plan(read_layout(name), "pump-1", b"")
    with VirtualBoard(made.image()) as board:
        board.boot(1)
        size, blocks = map(int, board.console.split())
    assert (size, blocks * SECTOR) == (made.layout.size, made.layout.table["vfs"].size)


def test_join_is_blank_between_regions() -> None:
    made = join([Region("a", 0x2000, b"a" * SECTOR, SECTOR)], 0x4000)
    assert made == b"\xff" * 0x2000 + b"a" * SECTOR + b"\xff" * SECTOR


def test_a_layouts_size_is_that_of_the_flash_it_is_for() -> None:
    for name in layout_names():
        assert read_layout(name).size == int(name.partition("mb")[0]) << 20
