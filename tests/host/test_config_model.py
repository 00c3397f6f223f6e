# SPDX-License-Identifier: MIT
"""10,000 random desired documents on the real format of NVS, against a model of ten lines.

The partition holds everything else of Fleetling's at its largest, so that the settings have to
live with what is left.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_chip_nvs_format import BLOB, I32, SIZE, flash_module, nvs_module

sys.path.insert(0, str(Path(__file__).parents[2]))
change: Any = importlib.import_module("agent.config.change")
schema: Any = importlib.import_module("agent.config.schema")
trial: Any = importlib.import_module("agent.config.trial")
nvs_store: Any = importlib.import_module("agent.storage.nvs")
nvsmap: Any = importlib.import_module("agent.storage.nvsmap")
log_module: Any = importlib.import_module("agent.log")
errors: Any = importlib.import_module("agent.errors")

LIFE = 100  # documents that one board gets
LIVES = 100
CANARY = "canary-"
ROOM = 440  # docs/settings.md

# Values by name, each with the code that refuses it.
VALUES: dict[str, list[tuple[Any, str | None]]] = {
    "heartbeat_s": [
        (1, None),
        (60, None),
        (86400, None),
        (0, "setting-range"),
        ("1", "setting-type"),
    ],
    "name": [("", None), ("kitchen", None), ("ü" * 32, None), ("n" * 33, "setting-length")],
    "location": [("l" * 64, None), (["l"], "setting-type")],
    "groups": [([], None), (["a", "b"], None), (["g" * 60] * 6, None), ([1], "setting-type")],
    "log_level": [("D", None), ("I", None), ("X", "setting-choice")],
    "wifi": [
        ([["home", CANARY + "0"]], None),
        ([["other", CANARY + "1"]], None),
        ([["a" * 32, CANARY + "2" * 50], ["b", ""]], None),
        ([["other", "short"]], "setting-type"),
        ([], "setting-length"),
    ],
    "broker": [("hub:8883", None), ("other:8883", None), ("other", "setting-type")],
    "app.rate": [(0.5, None), (2, None), (11, "setting-range")],
    "app.serial": [("1", "setting-read-only")],
    "nonsense": [(1, "setting-unknown")],
}
RISKY = ("wifi", "broker")
FACTORY = {"wifi": VALUES["wifi"][0][0], "broker": "hub:8883", "heartbeat_s": 30}
TABLE, _ = schema.table(
    {
        "rate": {"type": "float", "default": 0.5, "least": 0, "greatest": 10},
        "serial": {"type": "str", "default": "", "read_only": True},
    }
)
BASE = {name: FACTORY.get(name, TABLE[name][1]) for name in TABLE}

Document = tuple[str, int, dict[str, int], str]
DOCUMENT = st.tuples(
    st.sampled_from("aaaaaab"),
    st.integers(-1, 3),  # so much newer than the newest seen
    st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(0, 4), max_size=6),
    st.sampled_from(["confirm", "deadline", "reset", "wait"]),
)


class Store:
    """A namespace of the partition, as `board.nvs` gives it."""

    def __init__(self, nvs: Any, namespace: str) -> None:
        self.nvs = nvs
        self.namespace = namespace

    def get(self, key: str, size: int) -> bytes | None:
        found: bytes | None = self.nvs.get(self.namespace, BLOB, key)
        assert found is None or len(found) <= size
        return found

    def set(self, key: str, data: bytes) -> None:
        self.nvs.set(self.namespace, BLOB, key, data)

    def erase(self, key: str) -> None:
        self.nvs.erase(self.namespace, key)


class Model:
    """What is in force, what a reset brings back, and the newest document."""

    def __init__(self) -> None:
        self.now = self.safe = dict(BASE)
        self.seen = ("", -1)

    def apply(self, epoch: str, version: int, config: dict[str, Any], codes: set[str]) -> str:
        if epoch == self.seen[0] and version <= self.seen[1]:
            return "old"
        new = BASE | {name: value for name, value in config.items() if name not in codes}
        new |= {name: self.safe[name] for name in codes if name in BASE}
        set_ = {name: value for name, value in new.items() if value != BASE[name]}
        if len(json.dumps(set_, separators=(",", ":"))) > ROOM:
            return "size"
        self.now, self.seen = new, (epoch, version)
        if any(new[name] != self.safe[name] for name in RISKY):
            return "trial"
        self.safe = new
        return "set"


class Board:
    """Settings on a flash that is otherwise as full as it may be."""

    def __init__(self) -> None:
        self.flash = flash_module.Flash(flash_module.MemoryStore(SIZE), SIZE)
        self.lines: list[str] = []
        nvs = nvs_module.Nvs(self.flash, 0, SIZE)
        for namespace, keys in nvsmap.MAP.items():
            for key, size in keys.items():
                if namespace == "fl_conf" or key in ("claim_crt", "claim_key"):
                    continue
                kind, value = (I32, 1) if size == nvsmap.INT else (BLOB, bytes(size))
                nvs.set(namespace, kind, key, value)
        self.boot()

    def boot(self) -> None:
        self.nvs = nvs_module.Nvs(self.flash, 0, SIZE)
        assert not self.nvs.was_erased
        store = Store(self.nvs, "fl_conf")
        self.store = nvs_store.Nvs(store, nvsmap.MAP["fl_conf"])
        log = log_module.Log(lambda: 0, self.lines.append)
        self.settings = change.load(self.store, log, TABLE, FACTORY)

    def state(self) -> dict[str, Any]:
        return {name: self.settings[name] for name in self.settings.base}

    def erases(self) -> int:
        return sum(self.flash.erases(sector) for sector in range(SIZE // 4096))


class Count:
    documents = changes = trials = erases = 0
    least_left = 10**9


def live(board: Board, model: Model, document: Document, count: Count) -> None:
    """One document, and what becomes of it."""
    epoch, step, chosen, end = document
    version = max(0, model.seen[1] + step)
    picked = {name: VALUES[name][i % len(VALUES[name])] for name, i in chosen.items()}
    config = {name: value for name, (value, _) in picked.items()}
    codes = {name: code for name, (_, code) in picked.items() if code}
    payload = json.dumps({"version": version, "epoch": epoch, "config": config}).encode()
    seen = model.seen
    outcome = model.apply(epoch, version, config, set(codes))
    count.documents += 1
    if outcome == "size":
        with pytest.raises(errors.Refused, match="settings-size"):
            change.apply(board.store, board.settings, TABLE, payload, 0)
    else:
        report = change.apply(board.store, board.settings, TABLE, payload, 0)
        assert (report is None) == (outcome == "old" and (epoch, version) != seen)
        assert report is None or report["keys"] == codes
        assert CANARY not in json.dumps(report)
        count.changes += outcome != "old"
    assert board.state() == model.now and board.settings.seen == model.seen
    if board.settings.trial is not None:
        count.trials += outcome == "trial"
        if end == "confirm":
            trial.confirm(board.store, board.settings)
            model.safe = model.now
        elif end == "deadline":
            trial.undo(board.store, board.settings)
            model.now = model.safe
    if end == "reset":
        board.boot()
        model.now = model.safe
    assert board.state() == model.now and board.settings.seen == model.seen
    count.least_left = min(count.least_left, board.nvs.stats()["available_entries"])


@pytest.mark.slow
def test_ten_thousand_documents_leave_the_board_where_the_model_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    count = Count()

    @settings(
        max_examples=LIVES,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.lists(DOCUMENT, min_size=LIFE, max_size=LIFE))
    def lives(documents: list[Document]) -> None:
        board, model = Board(), Model()
        before = board.erases()
        for document in documents:
            live(board, model, document, count)
        count.erases += board.erases() - before
        assert CANARY not in "".join(board.lines)

    lives()
    assert count.documents >= LIFE * LIVES
    assert count.trials > 100 and count.changes - count.trials > 100
    assert count.least_left > 0 and count.erases > 0
    with capsys.disabled():
        sys.stdout.write(
            f"\n{count.documents} documents, {count.changes} changes ({count.trials} trials): "
            f"{count.erases / count.changes:.3f} erases a change, "
            f"at least {count.least_left} entries of NVS left\n"
        )


def test_the_canary_is_in_the_values_so_that_its_absence_says_something() -> None:
    board, model = Board(), Model()
    live(board, model, ("a", 1, {"wifi": 1}, "confirm"), Count())
    assert CANARY in json.dumps(board.settings["wifi"])
    assert CANARY.encode() in bytes(board.flash.read(0, SIZE))
