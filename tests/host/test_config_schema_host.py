# SPDX-License-Identifier: MIT
"""The host checks settings by the board's own code, and says what is wrong in sentences."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetling.config import schema
from fleetling.config.reconcile import Facts, State
from fleetling.config.schema import LARGEST, Schema, parse_value
from fleetling.config.shown import Shown, rows
from fleetling.device import source_folder
from fleetling.errors import FleetlingError

APP = {
    "rate": {"type": "float", "default": 1.0, "least": 0.1, "greatest": 10},
    "mode": {"type": "str", "default": "eco", "choices": ["eco", "fast"]},
    "token": {"type": "str", "default": "", "longest": 40, "secret": True},
    "serial": {"type": "str", "default": "", "read_only": True},
    "tags": {"type": "list", "default": [], "longest": 3},
    "on": {"type": "bool", "default": True},
    "count": {"type": "int", "default": 0},
}


def board() -> tuple[Any, dict[str, Any]]:
    """The board's own table, and the words that it would publish."""
    agent = schema.agent_schema()
    table, refused = agent.table(APP)
    assert refused == []
    return table, agent.describe(table)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.text(max_size=70),
    st.sampled_from(["", "h:1", "08:00-09:00", "eco", "I", [["s", "12345678"]], [["s", "1"]]]),
    st.lists(st.text(max_size=5), max_size=5),
)


@given(st.sampled_from([*board()[0], "nonsense"]), VALUES)
def test_made_of_published_words_it_decides_as_the_board(name: str, value: object) -> None:
    table, words = board()
    problem = Schema(words).check(name, value)
    assert (problem.code if problem else None) == schema.agent_schema().check(table, name, value)


@pytest.mark.parametrize(
    ("name", "value", "code", "words"),
    [
        ("hartbeat_s", 3, "setting-unknown", "did you mean heartbeat_s"),
        ("rate", 3, "setting-unknown", "did you mean app.rate"),
        ("heartbeat_s", "x", "setting-type", "float, 0.1 to 86400"),
        ("heartbeat_s", 0, "setting-range", "float, 0.1 to 86400"),
        ("log_level", "X", "setting-choice", "one of D, I, W, E"),
        ("name", "x" * 33, "setting-length", "0 to 32 characters"),
        ("ntp", "", "setting-length", "1 to 64 characters"),
        ("app.serial", "1", "setting-read-only", "when the board is flashed"),
        ("wifi", [["home", "short"]], "setting-type", "8 to 64"),
        ("broker", "host", "setting-type", "host:port"),
        ("window", "8-9", "setting-type", "HH:MM-HH:MM"),
    ],
)
def test_each_code_is_a_sentence(name: str, value: object, code: str, words: str) -> None:
    problem = Schema(board()[1]).check(name, value)
    assert problem is not None and problem.code == code and words in problem.text


def test_a_sentence_never_has_a_secret() -> None:
    for value in ("canary-canary" * 9, 7, ["canary"]):
        problem = Schema(board()[1]).check("app.token", value)
        assert problem is not None and "canary" not in problem.text


def test_a_newer_agent_is_told_from_a_fault() -> None:
    with pytest.raises(FleetlingError, match="newer: its setting x has the type colour"):
        Schema({"x": {"type": "colour", "default": ""}})
    wrong: list[Any] = [{"type": "int"}, {"type": "str", "longest": "x"}, 3, {"type": []}]
    wrong += [{"type": "bool", "choices": 3}, {"type": "int", "least": 0, "greatest": []}]
    for words in wrong:
        with pytest.raises(FleetlingError):
            Schema({"x": words})


def test_what_a_board_says_commands_no_terminal() -> None:
    with pytest.raises(FleetlingError) as caught:
        Schema({"\x1b[2J": {"type": "bool"}})
    assert caught.value.message.isprintable()
    words = {"x": {"type": "str", "longest": 9, "choices": ["\x1b[2J", "\x9b2J"]}}
    assert Schema(words).bounds("x").isprintable()
    state = State(
        facts={
            "a": Facts(
                "a", schema=words, reported={"config": {"x": "\x9b2J", "\x1b[2J": 1}, "keys": {}}
            )
        }
    )
    for row in rows(state, Shown(state), "a", "e"):
        assert (row["name"] + row["shown"] + row["note"]).isprintable()


def test_a_schema_that_cannot_be_read_hides_its_settings_and_no_others() -> None:
    bad = {"name": {"type": "colour"}, "app.pin": {"type": "str", "longest": 9}}
    shown = Shown(State(facts={"a": Facts("a", schema=bad)}))
    assert shown.text("name", "x") == "x" and shown.text("app.pin", "x") == "set"


def test_a_board_that_never_spoke_is_checked_as_far_as_possible() -> None:
    unknown = Schema(None)
    assert unknown.check("heartbeat_s", 0) is not None
    assert unknown.check("app.rate", "anything") is None and unknown.unchecked("app.rate")
    assert unknown.secret("app.rate")  # it may be one, so it is not shown
    assert not unknown.secret("name")


def test_room() -> None:
    text = (source_folder() / "agent/config/stored.py").read_text()
    assert f"_LARGEST = const({LARGEST})" in text
    words = Schema(board()[1])
    wide = {f"app.{n}": "x" * 128 for n in ("mode", "token", "serial")}
    assert words.check_size(wide, frozenset()) is None
    problem = words.check_size({**wide, "name": "x" * 32}, frozenset())
    assert problem is not None and "440" in problem.text
    # What is the default anyway takes no room, unless it hides what was flashed.
    same = {**wide, "ntp": "pool.ntp.org", "trial_s": 600}
    assert words.check_size(same, frozenset()) is None
    assert words.check_size(same, frozenset({"ntp"})) is not None
    # A board may write a character as six.
    assert words.check_size({"location": "\u00e4" * 64, "app.mode": "x" * 40}, frozenset())


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "-3", -3),
        ("float", "30", 30),
        ("float", "2.5", 2.5),
        ("bool", "off", False),
        ("bool", "True", True),
        ("str", "007", "007"),
        ("list", "a, b", ["a", "b"]),
        ("list", '["a,b"]', ["a,b"]),
        ("list", "", []),
        ("window", "08:00-09:00", "08:00-09:00"),
    ],
)
def test_values_are_read_by_their_type(kind: str, text: str, value: object) -> None:
    parsed = parse_value(kind, "x", text)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("int", "2.5"), ("float", "nan"), ("bool", "maybe"), ("list", "[canary"), ("wifi", "canary")],
)
def test_a_value_of_another_type_is_not_repeated(kind: str, text: str) -> None:
    with pytest.raises(FleetlingError) as caught:
        parse_value(kind, "x", text)
    assert text not in caught.value.message + caught.value.hint
