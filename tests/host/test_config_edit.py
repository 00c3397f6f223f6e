# SPDX-License-Identifier: MIT
"""A layer as TOML: what is written is read back, and a secret never stands in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetling.config.edit import UNCHANGED, read, write
from fleetling.config.layers import FLEET, Layer
from fleetling.config.schema import Schema
from fleetling.errors import FleetlingError

SCHEMA = Schema(
    {
        "name": {"type": "str", "longest": 99, "default": ""},
        "app.rate": {"type": "float", "least": -1e9, "greatest": 1e9, "default": 1},
        "app.on": {"type": "bool", "default": False},
        "groups": {"type": "list", "longest": 16, "default": []},
        "app.token": {"type": "str", "longest": 99, "default": None, "secret": True},
    }
)
SECRET = {name: SCHEMA.secret(name) for name in SCHEMA.names}
LAYERS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=20),
        "app.rate": st.floats(-1e9, 1e9) | st.integers(-9, 9),
        "app.on": st.booleans(),
        "groups": st.lists(st.text(max_size=5), max_size=3),
        "app.token": st.just("canary"),
    },
)


@given(LAYERS)
def test_what_is_written_is_read_back(config: dict[str, Any]) -> None:
    layer = Layer(FLEET, config)
    text = write(layer, SCHEMA, SECRET, {})
    assert read(text, layer) == config
    assert "canary" not in text and (UNCHANGED in text)


@pytest.mark.parametrize(
    "default", [{"a": 1, "b": 2}, [None], [{"a": 1}], None, "x\ny", [], [["a"]]]
)
def test_no_default_that_a_board_says_sets_anything(default: Any) -> None:
    schema = Schema(
        {"app.x": {"type": "bool", "least": 1, "default": default}, "w": {"type": "wifi"}}
    )
    text = write(Layer(FLEET), schema, {}, {})
    assert read(text, Layer(FLEET)) == {} and '# "app.x" = ' in text


def test_lines_taken_away_and_added() -> None:
    layer = Layer(FLEET, {"name": "x", "app.token": "canary"})
    text = write(layer, SCHEMA, SECRET, {"name": "y (fleet)"}).replace('name = "x"\n', "")
    assert "y (fleet)" in text
    assert read(text + '\n"app.rate" = 2.0\n', layer) == {"app.token": "canary", "app.rate": 2}
    assert read("app.rate = 2.5\n", layer) == {"app.rate": 2.5}  # as TOML has it too


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = canary", "line 1"),
        ("\n\nname", "line 3"),
        (f'name = "{UNCHANGED}"', "no value yet"),
        ("name = 2026-11-23", "date"),
        ("name = 1\nname = 2", "TOML"),
        ("app.rate = {x = 1}", "date|table"),
    ],
)
def test_what_is_wrong_is_told_and_not_repeated(text: str, words: str) -> None:
    with pytest.raises(FleetlingError, match=words) as caught:
        read(text, Layer(FLEET))
    assert "canary" not in caught.value.message


@given(st.text(st.sampled_from('ab=[]{}".\n1#-:'), max_size=25))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read(text, Layer(FLEET))
    except FleetlingError as e:
        assert e.hint
