# SPDX-License-Identifier: MIT
"""Which identity is on which board: never two boards with one, whatever is cut."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from fleetling.errors import FleetlingError
from fleetling.flashing import labels
from fleetling.flashing.ledger import Ledger

IDS = ["pump-1", "pump-2", "pump-3"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flashed.jsonl"


def test_each_board_gets_the_next_id_and_its_own_again(path: Path) -> None:
    ledger = Ledger(path)
    assert ledger.take("aa", "esp32", IDS) == "pump-1"
    assert ledger.take("bb", "esp32", IDS) == "pump-2"
    assert ledger.take("aa", "esp32", IDS) == "pump-1"
    again = Ledger(path)
    assert again.take("bb", "esp32", IDS) == "pump-2"
    assert again.take("cc", "esp32", IDS) == "pump-3"
    assert again.take("dd", "esp32", IDS) is None
    found = again.at("cc")
    assert found is not None and found.device_id == "pump-3" and not found.flashed
    again.finish("pump-3", "cc", "esp32")
    done = Ledger(path).of("pump-3")
    assert done is not None and done.flashed


def test_an_id_or_a_board_that_is_taken_is_refused(path: Path) -> None:
    ledger = Ledger(path)
    ledger.bind("pump-1", "aa", "esp32")
    ledger.bind("pump-1", "aa", "esp32")
    with pytest.raises(FleetlingError, match="pump-1 is the board aa"):
        ledger.bind("pump-1", "bb", "esp32")
    with pytest.raises(FleetlingError, match="This board is pump-1"):
        ledger.bind("pump-2", "aa", "esp32")
    assert path.read_text().count("\n") == 1


def test_force_moves_an_id_and_no_other_board_gets_what_it_leaves(path: Path) -> None:
    ledger = Ledger(path)
    ledger.take("aa", "esp32", IDS)
    ledger.take("bb", "esp32", IDS)
    ledger.finish("pump-1", "aa", "esp32")
    ledger.bind("pump-1", "bb", "esp32", force=True)
    for each in (ledger, Ledger(path)):
        owner = each.of("pump-1")
        assert owner is not None and owner.mac == "bb" and not owner.flashed
        assert each.at("aa") is None and each.of("pump-2") is None
    # pump-2 was on a board once: it is not given to another one by itself.
    assert Ledger(path).take("cc", "esp32", IDS) == "pump-3"


def test_every_cut_of_the_file_is_the_ledger_before_or_after(path: Path) -> None:
    ledger = Ledger(path)
    ledger.take("aa", "esp32", IDS)
    first = path.read_bytes()
    ledger.take("bb", "esp32", IDS)
    whole = path.read_bytes()
    for cut in range(len(first), len(whole)):
        path.write_bytes(whole[:cut])
        opened = Ledger(path)
        assert opened.at("aa") is not None and opened.at("bb") is None
        assert opened.take("cc", "esp32", IDS) == "pump-2"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [row["mac"] for row in rows] == ["aa", "cc"]


def test_damage_in_the_middle_is_refused_and_left_as_it_is(path: Path) -> None:
    ledger = Ledger(path)
    ledger.take("aa", "esp32", IDS)
    ledger.take("bb", "esp32", IDS)
    data = b"garbage\n" + path.read_bytes()
    path.write_bytes(data)
    with pytest.raises(FleetlingError, match="damaged"):
        Ledger(path)
    assert path.read_bytes() == data


def test_what_is_bound_is_on_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    plain = os.fsync

    def fsync(descriptor: int) -> None:
        plain(descriptor)
        synced.append(path.stat().st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    ledger = Ledger(path)
    ledger.bind("pump-1", "aa", "esp32")
    assert synced and synced[-1] == path.stat().st_size > 0
    ledger.finish("pump-1", "aa", "esp32")
    assert synced[-1] == path.stat().st_size


def test_several_at_once_give_no_id_twice(path: Path) -> None:
    ids = [f"pump-{number}" for number in range(60)]
    ledgers = [Ledger(path), Ledger(path)]
    got: list[str | None] = []

    def work(worker: int) -> None:
        for number in range(15):
            ledger = ledgers[(worker + number) % 2]
            got.append(ledger.take(f"{worker}-{number}", "esp32", ids))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, got)) == sorted(ids)
    assert len(path.read_text().splitlines()) == 60


# --- labels


def test_labels_are_those_of_finished_boards(path: Path) -> None:
    ledger = Ledger(path)
    for mac in ("aa", "bb"):
        ledger.take(mac, "esp32", IDS)
    ledger.finish("pump-1", "aa", "esp32")
    entries = [entry for entry in map(ledger.of, IDS) if entry is not None]
    out = path.with_name("labels.csv")
    labels.write_labels(out, entries, "https://x.example/{id}?m={mac}")
    head, row = out.read_text().splitlines()
    assert head == "id,mac,chip,date,qr"
    assert row.startswith("pump-1,aa,esp32,2") and row.endswith("https://x.example/pump-1?m=aa")
    assert sorted(out.parent.iterdir()) == [path, out]
    for wrong in ("{secret}", "{id[x]}", "{id.x}", "{"):
        with pytest.raises(FleetlingError, match="no text for labels"):
            labels.write_labels(out, entries, wrong)
    assert out.read_text().splitlines() == [head, row]
    assert "█" in labels.draw("pump-1")
