# SPDX-License-Identifier: MIT
"""Layers, groups and rules: who gets what, and where it comes from."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetling.config.change import plan
from fleetling.config.layers import FLEET, Group, Layer, Layers, Scope
from fleetling.config.reconcile import Facts, Published, State
from fleetling.config.rules import Rule
from fleetling.errors import FleetlingError

NAMES = st.sampled_from(["heartbeat_s", "name", "ntp", "app.rate"])
CONFIGS = st.dictionaries(NAMES, st.integers(0, 3))
DEVICE = Scope("device", "a")


def layers(**configs: dict[str, object]) -> Layers:
    scopes = {"fleet": FLEET, "device": DEVICE}
    return Layers(
        {
            scope: Layer(scope, config)
            for name, config in configs.items()
            for scope in [scopes.get(name) or Scope("group", name)]
        }
    )


@given(CONFIGS, CONFIGS, CONFIGS, CONFIGS, st.permutations(["g1", "g2"]))
def test_the_highest_layer_that_has_a_setting_gives_it(
    fleet: dict[str, object],
    g1: dict[str, object],
    g2: dict[str, object],
    device: dict[str, object],
    order: list[str],
) -> None:
    groups = [Group("g1", "id=a", 5), Group("g2", "id=a", 1)]
    groups.sort(key=lambda group: order.index(group.name))  # how they are listed is no matter
    merged = layers(fleet=fleet, g1=g1, g2=g2, device=device).merged("a", groups)
    stack = [(device, DEVICE), (g1, Scope("group", "g1")), (g2, Scope("group", "g2"))]
    stack.append((fleet, FLEET))
    for name in {*fleet, *g1, *g2, *device}:
        config, origin = next(layer for layer in stack if name in layer[0])
        assert (merged[name].value, merged[name].origin) == (config[name], origin)
    assert set(merged) == {*fleet, *g1, *g2, *device}


@given(CONFIGS, CONFIGS, NAMES)
def test_a_setting_that_is_removed_falls_to_the_layer_below(
    fleet: dict[str, object], device: dict[str, object], name: str
) -> None:
    without = {n: v for n, v in device.items() if n != name}
    merged = layers(fleet=fleet, device=without).merged("a", [])
    assert (merged[name].value if name in merged else None) == fleet.get(name)


def test_equal_priorities_are_ordered_by_name() -> None:
    both = [Group("x", "id=a"), Group("y", "id=a")]
    assert layers(x={"name": "1"}, y={"name": "2"}).merged("a", both)["name"].value == "2"


FACTS = {
    "id": ("greenhouse-07",),
    "tag": ("beta", "indoor"),
    "location": ("Berlin Mitte",),
    "board": ("Generic ESP32 module with ESP32",),
    "agent": ("0.10.0",),
    "firmware": ("1.29.0-preview",),
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("tag=beta", True),
        ("tag=bet", False),
        ("tag=x,indoor", True),
        ("tag!=beta", False),
        ("tag!=gamma", True),
        ("role!=pump", True),
        ("role=*", False),
        ("id=greenhouse-*", True),
        ("id=Greenhouse-*", False),
        ('location="Berlin *" tag=beta', True),
        ('location="Berlin *" tag=gamma', False),
        ("board=*ESP32*", True),
        ("agent>=0.9", True),  # as versions, not as texts
        ("agent<0.9", False),
        ("agent>0.10", False),
        ("agent<=0.10", True),
        ("firmware>=1.24", True),
        ("app>=0", False),  # unknown
    ],
)
def test_rules(text: str, matches: bool) -> None:
    assert Rule(text).matches(FACTS) is matches


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("colour=red", 1, "nothing to tell"),
        ("tag", 4, "missing"),
        ("tag=", 5, "value"),
        ('location="Berlin', 10, "quote"),
        ("tag=a tag>2", 10, "order"),
        ("agent>=new", 8, "no version"),
        ("agent>=1,2", 8, "one version"),
        ('location="a"b', 13, "space"),
    ],
)
def test_a_wrong_rule_says_where(text: str, at: int, words: str) -> None:
    with pytest.raises(FleetlingError, match=f"character {at}:.*{words}"):
        Rule(text)


@pytest.mark.parametrize(
    "text", ["\u0661", "v\u0661.2", "1" * 5000, "v" + "1" * 5000, "", "\ud800"]
)
def test_any_text_that_a_board_gives_for_a_version_can_be_compared(text: str) -> None:
    # The hub's thread that compares them would end, and with it settings of all boards.
    assert Rule("agent>=99").matches({"agent": (text,)}) is ("1" * 99 in text)
    with pytest.raises(FleetlingError, match="no version"):
        Rule("agent>=" + "1" * 5000)


def test_a_rule_without_terms() -> None:
    with pytest.raises(FleetlingError, match="without a term"):
        Rule("  ")


@given(st.text(st.sampled_from('tag=<>!", agent01.*['), max_size=20))
def test_any_text_is_a_rule_or_an_error(text: str) -> None:
    try:
        Rule(text).matches(FACTS)
    except FleetlingError as e:
        assert re.search("character|term", e.message)


def test_who_is_due() -> None:
    state = State(
        layers=layers(fleet={"heartbeat_s": 9}),
        published={
            "same": Published(1, {"heartbeat_s": 9}),
            "other": Published(4, {}),
            "unsent": Published(4, {"heartbeat_s": 9}, sent=False),
        },
    )
    ids = ["same", "other", "unsent", "new"]
    assert sorted(state.due(ids)) == ["new", "other", "unsent"]
    empty = replace(state, layers=Layers())
    # Nothing is set anywhere: who never got a document gets none, the others get an empty one.
    assert empty.due(ids) == {"same": {}, "unsent": {}}


def test_groups_never_change_who_is_in_them() -> None:
    state = State(
        layers=layers(g={"role": "valve", "trial_s": 60}),
        groups={"g": Group("g", "role=pump")},
        facts={"a": Facts("a", reported={"config": {"role": "pump"}})},
    )
    assert state.wanted("a") == {"trial_s": 60}  # flashed as a pump, and stays one
    with pytest.raises(FleetlingError, match="cannot set role"):
        plan(state, [Scope("group", "g")], ["a"], lambda layer: {"role": "x"})


def test_a_report_of_what_is_no_longer_set_counts_for_nothing() -> None:
    state = State(
        layers=layers(g={"trial_s": 60}),
        groups={"g": Group("g", "role=pump")},
        published={"a": Published(1, {"role": "pump"})},
        facts={"a": Facts("a", reported={"config": {"role": "pump"}})},
    )
    assert state.wanted("a") == {}


def test_a_location_that_is_set_decides_at_once() -> None:
    state = State(
        layers=layers(device={"location": "Berlin"}, b={"heartbeat_s": 3}),
        groups={"b": Group("b", "location=Berlin")},
    )
    assert state.wanted("a")["heartbeat_s"] == 3


def test_a_plan_touches_whom_it_concerns_and_checks_each() -> None:
    words = {"app.rate": {"type": "int", "default": 1, "least": 0, "greatest": 5}}
    state = State(facts={"a": Facts("a", schema=words), "b": Facts("b"), "c": Facts("c")})
    made = plan(state, [FLEET], ["a", "b"], lambda layer: {"app.rate": 9})
    by_id = {device.id: device for device in made.touched}
    assert [p.code for p in by_id["a"].problems] == ["setting-range"]
    assert by_id["b"].problems == () and by_id["b"].unchecked == ("app.rate",)
    assert plan(state, [DEVICE], ["a", "b"], lambda layer: {"app.rate": 2}).touched[0].id == "a"
    assert plan(state, [FLEET], ["a"], lambda layer: layer.config).layers == ()


def test_a_hidden_value_is_checked_too() -> None:
    state = State(layers=layers(device={"heartbeat_s": 5}))
    made = plan(state, [FLEET], ["a"], lambda layer: {"heartbeat_s": -1})
    assert [p.code for p in made.wrong[0].problems] == ["setting-range"]
