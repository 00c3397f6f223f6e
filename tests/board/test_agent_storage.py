# SPDX-License-Identifier: MIT
"""The agent's own storage and slots, on the board's flash."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asked import Asked, DeviceError


@pytest.fixture(autouse=True)
def agent(asked: Asked) -> Iterator[None]:
    try:
        asked.run("import agent.version")
    except DeviceError:
        pytest.skip("no agent is on this board: fleetling install")
    yield


RECORDS = """
from agent.board import Board
from agent.storage import records
from agent.storage.nvs import Nvs
nvs = Nvs(Board().nvs("fl_test"), {"r0": 128, "r1": 128})
"""


def test_a_record_outlives_the_damage_of_one_copy(asked: Asked) -> None:
    found = asked.ask(
        RECORDS
        + """
try:
    records.Record(nvs, "r").save(b"one")
    records.Record(nvs, "r").save(b"two")
    result = [records.Record(nvs, "r").load().decode()]
    newest = "r0" if b"two" in nvs.get("r0") else "r1"
    nvs.set(newest, b"damaged")
    result.append(records.Record(nvs, "r").load().decode())
finally:
    for key in ("r0", "r1"):
        nvs.erase(key)
"""
    )
    assert found == ["two", "one"]


def test_a_file_changes_as_a_whole(asked: Asked) -> None:
    found = asked.ask(
        """
        import os
        from agent.storage import files
        try:
            files.replace("/fl_test", b"old")
            files.replace("/fl_test", b"new" * 100)
            result = [files.read("/fl_test").decode()[:3], "fl_test.new" in os.listdir("/")]
        finally:
            files.remove("/fl_test")
        """
    )
    assert found == ["new", False]


def test_the_slot_that_runs_is_a_whole_pack(asked: Asked) -> None:
    name, size = asked.ask(
        """
        import os, sys
        name = [path[6:] for path in sys.path if path.startswith("/slot-")][0]
        result = [name, os.stat("/slots/" + name + ".pack")[6]]
        """
    )
    assert name in ("factory", "a", "b") and size > 50_000


def test_the_partition_that_runs_hashes_as_its_image_says(asked: Asked) -> None:
    found = asked.ask(
        """
        import asyncio
        from agent.update import firmware
        async def pause(): await asyncio.sleep(0)
        running, other = firmware.slots()
        length = running.length()
        digest = asyncio.run(running.digest(length, pause))
        result = [running.label, other.label, length, len(digest)]
        """,
        silence_s=120,
    )
    assert sorted(found[:2]) == ["ota_0", "ota_1"] and found[2] > 300 and found[3] == 32
