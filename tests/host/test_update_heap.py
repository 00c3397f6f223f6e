# SPDX-License-Identifier: MIT
"""The memory promise: metadata of 200 targets in 5 products over HTTPS, on MicroPython."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from refresh_board import Refresh, interpreters
from update_fleet import APP, FIRMWARE, PRODUCTS, TARGETS, UpdateFleet, serving

from fleetling.simboard.process.board import BOARD_HEAP, SIMULATION_HEAP

pytestmark = pytest.mark.slow

# Enough with little to spare where objects are 64 bits wide; 90 KB are where they have 32, as an
# ESP32's (tests/bench/metadata.py).
HEAP_KB = 146
ALONE = 365_000  # with what the simulation takes; 350,000 do
TLS = 33_000


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Refresh, str]]:
    made = Refresh(tmp_path_factory.mktemp("bench"))
    with serving(made.folder / "repository", made.identity) as url:
        yield made, url


def test_a_refresh_over_https_fits_and_an_unchanged_one_fetches_one_file(
    bench: tuple[Refresh, str],
) -> None:
    made, url = bench
    interpreter = interpreters()["64-bit"]
    first = made.run(interpreter, "look", url, heap_kb=HEAP_KB)
    assert first["ok"], first
    # root, timestamp, snapshot, targets, and of five products the one that is asked for
    assert first["requests"] == 5 and first["bytes"] < 20_000
    again = made.run(interpreter, "look", url, heap_kb=HEAP_KB, first=False)
    assert again["ok"] and again["requests"] == 1 and again["bytes"] < 1000
    other = made.run(interpreter, "look", url, heap_kb=HEAP_KB, first=False, target=FIRMWARE)
    assert other["ok"] and other["requests"] == 2
    listed = sum(
        (made.folder / f"repository/metadata/1.{product}.json").read_text().count('"length"')
        for product in (*PRODUCTS, "esp32")
    )
    assert listed == TARGETS


def test_a_heap_that_is_too_small_is_noticed(bench: tuple[Refresh, str]) -> None:
    made, url = bench
    found = made.run(interpreters()["64-bit"], "look", url, heap_kb=60)
    assert not found["ok"] and "memory" in found["error"]


def test_updates_over_https_beside_mqtt(tmp_path: Path) -> None:
    """A whole board, its agent compiled, at the heap that simulated boards have."""
    fleet = UpdateFleet(tmp_path, secure=True, size=100_000)
    with fleet.running():
        for target in (APP, FIRMWARE):
            outcome = fleet.update(target, SIMULATION_HEAP + BOARD_HEAP)
            assert outcome.switched and not outcome.short, outcome


def test_where_it_does_not_fit_beside_mqtt_it_does_by_itself(tmp_path: Path) -> None:
    """By HTTPS, with TLS in the board's heap, as it is on an ESP32."""
    fleet = UpdateFleet(tmp_path, secure=True, size=100_000, tls_heap=TLS)
    with fleet.running():
        outcome = fleet.update(FIRMWARE, ALONE)
        assert outcome.alone and outcome.switched, outcome
