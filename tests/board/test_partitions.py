# SPDX-License-Identifier: MIT
"""What docs/hardware.md says of partitions and otadata, asked of the board."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from asked import Asked

OTHER = """
from esp32 import Partition
part = Partition(Partition.RUNNING).get_next_update()
last = part.info()[3] // 4096 - 1
"""


@pytest.fixture(scope="module")
def table(asked: Asked) -> list[list[Any]]:
    found: list[list[Any]] = asked.ask(
        """
        from esp32 import Partition
        found = Partition.find(Partition.TYPE_APP) + Partition.find(Partition.TYPE_DATA)
        result = [list(part.info()) for part in found]
        """
    )
    return found


@pytest.fixture
def scratch(asked: Asked, table: list[list[Any]]) -> Iterator[str]:
    """The last sector of the app partition that does not run, put back afterwards."""
    if sum(row[0] == 0 and 16 <= row[1] < 32 for row in table) < 2:
        pytest.skip("this board's table has no two app partitions")
    read = f"{OTHER}\nimport binascii\nbuffer = bytearray(4096)\npart.readblocks(last, buffer)\n"
    with asked.restoring(
        read + "result = binascii.hexlify(buffer).decode()",
        f"{OTHER}\nimport binascii\npart.writeblocks(last, binascii.unhexlify(saved))",
    ):
        yield OTHER


def test_the_table_has_what_the_agent_needs(table: list[list[Any]]) -> None:
    rows = {row[4]: row for row in table}
    assert {"nvs", "otadata", "ota_0", "ota_1", "vfs"} <= set(rows), sorted(rows)
    assert rows["otadata"][3] == 0x2000 and rows["nvs"][3] >= 0x4000
    assert rows["ota_0"][3] == rows["ota_1"][3]
    assert all(len(row) == 6 for row in table)


def test_what_is_not_there(asked: Asked) -> None:
    assert asked.fails("from esp32 import Partition\nPartition('nope')") == ["OSError", [2]]


def test_the_other_partition_is_not_the_running_one(asked: Asked, scratch: str) -> None:
    found = asked.ask(
        scratch + "result = [part.info()[4], Partition(Partition.RUNNING).info()[4]]"
    )
    assert sorted(found) == ["ota_0", "ota_1"]


def test_a_write_erases_and_an_offset_only_programs(asked: Asked, scratch: str) -> None:
    found = asked.ask(
        scratch
        + """
sector = bytearray(4096)
sector[:4] = b"abcd"
part.writeblocks(last, sector)
part.writeblocks(last, b"`@ \\0", 0)
back = bytearray(4)
part.readblocks(last, back, 0)
result = list(back)
part.ioctl(6, last)
part.readblocks(last, back, 0)
result += list(back)
"""
    )
    assert found == [*b"`@ \0", *[255] * 4]


def test_what_does_not_fit_is_refused(asked: Asked, scratch: str) -> None:
    assert asked.fails(scratch + "part.writeblocks(last, bytearray(100))") == [
        "OSError",
        [-260, "ESP_ERR_INVALID_SIZE"],
    ]
    assert asked.fails(scratch + "part.writeblocks(last + 1, bytearray(4096))")[1][0] == -260
    assert asked.fails(scratch + "part.readblocks(last + 1, bytearray(4096))")[1][0] == -258


def test_its_controls(asked: Asked, scratch: str) -> None:
    found = asked.ask(
        scratch + "result = [part.ioctl(4, 0) == last + 1, part.ioctl(5, 0), part.ioctl(6, last), "
        "part.ioctl(99, 0)]"
    )
    assert found == [True, 4096, 0, None]


def test_an_empty_partition_cannot_be_chosen(asked: Asked, scratch: str) -> None:
    if not asked.ask(
        scratch + "head = bytearray(32)\npart.readblocks(0, head, 0)\nresult = set(head) == {255}"
    ):
        pytest.skip("the other partition holds something")
    assert asked.fails(scratch + "part.set_boot()")[1][0] == -5379


def test_the_choice_of_the_bootloader_reads_as_documented(
    asked: Asked, table: list[list[Any]]
) -> None:
    if "otadata" not in {row[4] for row in table}:
        pytest.skip("this board's table has no otadata")
    running, first, second = asked.ask(
        """
        import binascii
        from esp32 import Partition
        part = Partition.find(Partition.TYPE_DATA, label="otadata")[0]
        entries = []
        for sector in range(2):
            entry = bytearray(32)
            part.readblocks(sector, entry, 0)
            entries.append(binascii.hexlify(entry).decode())
        result = [Partition(Partition.RUNNING).info()[1] - 16] + entries
        """
    )
    chosen = []
    for text in (first, second):
        seq, _, state, crc = struct.unpack("<I20sII", bytes.fromhex(text))
        if crc == zlib.crc32(struct.pack("<I", seq), 0xFFFFFFFF) and state not in (3, 4):
            chosen.append(seq)
    assert (max(chosen) - 1) % 2 == running if chosen else running == 0
