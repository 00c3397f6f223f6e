# SPDX-License-Identifier: MIT
"""What docs/hardware.md says of NVS, asked of the board; in a namespace of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asked import Asked

OPEN = "import esp32\nnvs = esp32.NVS('fl_test')\n"
KEYS = ("number", "blob", "long")


@pytest.fixture(autouse=True)
def cleaned(asked: Asked) -> Iterator[None]:
    yield
    asked.run(
        f"{OPEN}for key in {KEYS!r}:\n    try:\n        nvs.erase_key(key)\n"
        "    except OSError:\n        pass\nnvs.commit()"
    )


def test_values_are_kept_over_a_reset(asked: Asked) -> None:
    asked.run(OPEN + "nvs.set_i32('number', -7)\nnvs.set_blob('blob', b'abc')\nnvs.commit()")
    asked.after("import machine\nmachine.reset()")
    found = asked.ask(
        OPEN + "buffer = bytearray(8)\nlength = nvs.get_blob('blob', buffer)\n"
        "result = [nvs.get_i32('number'), length, buffer[:length].decode()]"
    )
    assert found == [-7, 3, "abc"]


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("nvs.get_i32('none')", -4354),
        ("nvs.get_blob('none', bytearray(4))", -4354),
        ("nvs.erase_key('none')", -4354),
        ("nvs.set_i32('number', 1)\nnvs.get_blob('number', bytearray(4))", -4354),
        ("nvs.set_blob('blob', b'abcd')\nnvs.get_blob('blob', bytearray(3))", -4364),
        ("nvs.set_i32('a' * 16, 1)", -4361),
        ("esp32.NVS('a' * 16)", -4361),
        ("nvs.set_blob('long', bytes(14000))", -4366),
    ],
)
def test_its_errors(asked: Asked, program: str, error: int) -> None:
    kind, arguments = asked.fails(OPEN + program)
    assert kind == "OSError" and arguments[0] == error


def test_a_number_that_is_too_large(asked: Asked) -> None:
    assert asked.fails(OPEN + "nvs.set_i32('number', 1 << 31)")[0] == "OverflowError"
