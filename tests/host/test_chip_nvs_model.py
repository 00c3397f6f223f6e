# SPDX-License-Identifier: MIT
"""NVS against a dict, with power cuts: seeded random lives of a partition.

After a cut the key being written has its old value or its new one, and every other key is as it
was. Each failure names its seed.
"""

from __future__ import annotations

import importlib
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from test_chip_nvs_format import BLOB, I32, SHIMS, SIZE, strict_parse

sys.path.insert(0, str(SHIMS))
flash_module = importlib.import_module("fleetling.simboard.chip.flash")
nvs_module = importlib.import_module("fleetling.simboard.chip.nvs")

assert Path(nvs_module.__file__ or "").parent.name == "chip"

Model = dict[tuple[str, str], int | bytes]
KEYS = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "long"), ("c", "n"), ("c", "m")]


class Life:
    """One partition and what it should hold; a cut makes one key uncertain for a moment."""

    def __init__(self, seed: int, torn_words: bool = False) -> None:
        self.rng = random.Random(seed)
        self.torn_words = torn_words
        self.model: Model = {}
        self.cuts = 0
        self.store = flash_module.MemoryStore(SIZE)
        self.boot()

    def boot(self) -> None:
        self.flash = flash_module.Flash(self.store, SIZE)
        self.flash.and_ranges = [(0, SIZE)]
        self.nvs: Any = nvs_module.Nvs(self.flash, 0, SIZE)
        assert not self.nvs.was_erased

    def way(self, kind: str, data: bytes | None) -> int | bytes:
        """A cut before, after or inside an operation."""
        ways: list[int | bytes] = [flash_module.CUT_BEFORE, flash_module.CUT_AFTER]
        if kind == "erase":
            ways += [self.rng.randrange(1, 4096), self.rng.randbytes(61)]
        else:
            ways += [self.rng.randrange(1, len(data or b"") + 1)] * 2
            if self.torn_words:
                ways += [self.rng.randbytes(8)] * 4
        return self.rng.choice(ways)

    def cut_soon(self) -> None:
        when = self.rng.randrange(0, 40)

        def hook(kind: str, addr: int, data: bytes | None, number: int) -> int | bytes | None:
            return self.way(kind, data) if number == when else None

        self.flash.operations = 0
        self.flash.hook = hook

    def read(self, key: tuple[str, str]) -> int | bytes | None:
        value: int | bytes | None = self.nvs.get(key[0], I32 if key[0] == "c" else BLOB, key[1])
        return value

    def check(self) -> None:
        for key in KEYS:
            assert self.read(key) == self.model.get(key), key

    def step(self) -> None:
        key = self.rng.choice(KEYS)
        new: int | bytes | None = None
        if self.rng.random() < 0.9:
            new = self.rng.randrange(-(2**31), 2**31)
            if key[0] != "c":
                size = self.rng.choice([0, 1, 31, 32, 100, 500, 1500])
                new = self.rng.randbytes(2 * size if key[1] == "long" else size)
        if self.rng.random() < 0.3:
            self.cut_soon()
        old = self.model.get(key)
        try:
            if new is None:
                assert self.nvs.erase(*key) == (old is not None)
            else:
                self.nvs.set(key[0], I32 if key[0] == "c" else BLOB, key[1], new)
            self.flash.hook = None
            now = new
        except flash_module.PowerCut:
            self.cuts += 1
            self.boot()
            now = self.read(key)
            assert now in (old, new), (key, now)
        except OSError as e:
            assert e.args[0] == -4357, e
            self.flash.hook = None
            now = old
        if now is None:
            self.model.pop(key, None)
        else:
            self.model[key] = now
        if self.rng.random() < 0.1:
            self.boot()


def test_a_partition_holds_what_a_dict_holds_across_reopens_and_cuts() -> None:
    cuts = 0
    for seed in range(120):
        life = Life(seed)
        try:
            for _ in range(60):
                life.step()
                life.check()
            life.boot()
            life.check()
            parsed = parse_after_cuts(life.flash.read(0, SIZE))
            assert {k: v for k, v in parsed.items() if k in KEYS} == life.model
        except AssertionError as e:
            pytest.fail(f"seed {seed} after {life.cuts} cuts: {e!r}")
        cuts += life.cuts
    assert cuts > 400


def parse_after_cuts(image: bytes) -> Model:
    """The strict parser, after blanking pages that a cut left half-erased: NVS erases them before
    it uses them. Nothing else is forgiven.
    """
    clean = bytearray(image)
    for start in range(0, SIZE, 4096):
        state = int.from_bytes(image[start : start + 4], "little")
        if state not in (0xFFFFFFFE, 0xFFFFFFFC):
            clean[start : start + 4096] = b"\xff" * 4096
    return strict_parse(bytes(clean))


def test_words_torn_out_of_order_leave_the_old_value_or_the_new_one() -> None:
    """Programs that got through in part, in any order: right after the next boot all is well."""
    cuts = 0
    for seed in range(150):
        life = Life(seed, torn_words=True)
        for _ in range(40):
            life.step()
            life.check()
            if life.cuts:
                break
        cuts += life.cuts
    assert cuts > 120


def test_a_trap_of_the_real_thing_a_torn_head_can_spoil_the_next_write() -> None:
    """ESP-IDF looks at the first word of an entry only. Where the others got through and that one
    did not, the next item is written over them: its CRC is wrong, and the old value is gone.

    Records must therefore never have their only copy under one key.
    """
    life = Life(0)
    life.nvs.set("c", I32, "n", 1)
    life.flash.operations = 0
    life.flash.hook = lambda kind, addr, data, number: bytes([0b11111110]) if number == 0 else None
    with pytest.raises(flash_module.PowerCut):
        life.nvs.set("c", I32, "n", 2)
    life.boot()
    assert life.read(("c", "n")) == 1
    life.nvs.set("c", I32, "n", 3)
    life.boot()
    assert life.read(("c", "n")) is None
