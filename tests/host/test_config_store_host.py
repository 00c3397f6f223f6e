# SPDX-License-Identifier: MIT
"""Settings in the database: no change is lost, versions only grow, the newest is sent."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleetling.config.desk import Desk
from fleetling.config.layers import FLEET, Group, Layer, Scope
from fleetling.config.publish import document, publish
from fleetling.config.store import ConfigStore, Conflict
from fleetling.errors import FleetlingError
from fleetling.fleet.state import PREFIX
from fleetling.home import Plan, create
from fleetling.registry import Store

A = Scope("device", "a")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hub.db'}"
    server: str = request.getfixturevalue("postgresql")
    from sqlalchemy import create_engine

    engine = create_engine(server)
    from fleetling.registry import Base

    Base.metadata.drop_all(engine)
    engine.dispose()
    return server


def add(store: ConfigStore, scope: Scope, name: str, value: object) -> None:
    while True:
        layer = store.state().layers.get(scope)
        try:
            store.change([Layer(scope, {**layer.config, name: value}, layer.number)], by="me")
        except Conflict:
            continue
        return


def test_writers_at_the_same_time_lose_nothing(url: str) -> None:
    stores = [ConfigStore(Store(url)) for _ in range(4)]

    def write(number: int) -> None:
        add(stores[number % 4], FLEET, f"app.n{number}", number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(24)))
    layer = stores[0].state().layers.get(FLEET)
    assert layer.config == {f"app.n{n}": n for n in range(24)} and layer.number == 24
    assert len({store.epoch for store in stores}) == 1


def test_no_board_holds_up_a_change_of_the_fleet(tmp_path: Path) -> None:
    place = create(tmp_path, Plan("farm", "127.0.0.1:1", "127.0.0.1:2", []))
    with Desk(place, offline=True) as desk:
        desk.hub.expect(["good", "bad", "silent"])
        desk.store.learn({"bad": {"schema": '{"settings":{"name":5}}'}})

        def touched(scope: Scope) -> dict[str, tuple[str, ...]]:
            made = desk.plan([scope], lambda _: {"name": "x"})
            return {device.id: device.unchecked for device in made.touched}

        # It cannot be checked what it takes: it is told all the same, and refuses it by itself.
        assert touched(FLEET) == {"good": (), "silent": (), "bad": ("name",)}
        with pytest.raises(FleetlingError, match="bad: "):
            touched(Scope("device", "bad"))
        desk.hub.revoke("bad")
        assert touched(FLEET) == {"good": (), "silent": ()}
        assert touched(Scope("device", "good")) == {"good": ()}


def test_a_change_upon_what_has_changed_is_refused_whole(url: str) -> None:
    store = ConfigStore(Store(url))
    store.change([Layer(FLEET, {"name": "x"}), Layer(A, {"name": "a"})], by="me", note="why")
    with pytest.raises(Conflict):
        store.change([Layer(A, {"name": "b"}, 1), Layer(FLEET, {"name": "y"}, 0)], by="you")
    assert store.state().wanted("a") == {"name": "a"}
    with pytest.raises(Conflict):  # a number that nobody has written yet
        store.change([Layer(A, {}, 7)], by="you")
    (one,) = store.history([A])
    assert (one.by, one.note, one.before, one.after) == ("me", "why", {}, {"name": "a"})


def test_versions_count_up_whoever_makes_them(url: str) -> None:
    stores = [ConfigStore(Store(url)) for _ in range(4)]

    def make(number: int) -> int:
        return stores[number % 4].make("a", {"n": number}).version

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(make, range(20)))
    assert sorted(made) == list(range(1, 21))
    last = stores[0].published("a")
    assert last is not None and last.version == 20
    assert stores[0].make("a", last.config).version == 20  # the same document again


def test_another_database_has_another_epoch(tmp_path: Path) -> None:
    one, two = (ConfigStore(Store(f"sqlite:///{tmp_path / name}.db")) for name in "xy")
    assert one.epoch != two.epoch and len(one.epoch) <= 16
    assert ConfigStore(Store(f"sqlite:///{tmp_path / 'x'}.db")).epoch == one.epoch


def sender(kept: dict[str, bytes], also: Callable[[int], None]) -> Callable[[str, bytes], None]:
    """A broker that keeps the last message; `also` happens just before each arrives."""
    count = [0]

    def send(topic: str, payload: bytes) -> None:
        count[0] += 1
        also(count[0])
        kept[topic] = payload

    return send


def test_the_broker_keeps_the_newest_whoever_is_slower(url: str) -> None:
    slow, fast = ConfigStore(Store(url)), ConfigStore(Store(url))
    kept: dict[str, bytes] = {}
    add(slow, A, "name", "old")

    def overtake(number: int) -> None:
        if number == 1:  # between the database and the broker of the slow one
            add(fast, A, "name", "new")
            assert publish(fast, ["a"], sender(kept, lambda _: None)) == {"a": 2}

    publish(slow, ["a"], sender(kept, overtake))
    assert kept[f"{PREFIX}a/down/desired"] == document(slow.epoch, 2, {"name": "new"})


def test_a_layer_that_changes_meanwhile_is_sent_too(url: str) -> None:
    store = ConfigStore(Store(url))
    kept: dict[str, bytes] = {}
    add(store, A, "name", "x")
    also = sender(kept, lambda number: add(store, FLEET, "role", "r") if number == 1 else None)
    assert publish(store, ["a"], also) == {"a": 2}
    assert kept[f"{PREFIX}a/down/desired"] == document(store.epoch, 2, {"name": "x", "role": "r"})
    assert publish(store, ["a"], also) == {}


def test_what_did_not_go_out_goes_out_the_next_time_under_the_same_version(url: str) -> None:
    store = ConfigStore(Store(url))
    add(store, A, "name", "x")

    def broken(topic: str, payload: bytes) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        publish(store, ["a"], broken)
    kept: dict[str, bytes] = {}
    assert publish(store, ["a"], sender(kept, lambda _: None)) == {"a": 1}


def test_facts_tags_and_groups_survive(url: str) -> None:
    store = ConfigStore(Store(url))
    store.learn({"a": {"birth": '{"board":"X"}', "schema": '{"settings":{}}'}})
    store.learn({"a": {"reported": '{"config":{"role":"r"}}'}})
    assert store.tag("a", ["beta", "b"], []) == ["b", "beta"]
    assert store.tag("a", ["beta"], ["b"]) == ["beta"]
    assert store.tag("never-spoke", ["beta"], []) == ["beta"]
    store.set_group(Group("g", "tag=beta board=X role=r", 3))
    state = ConfigStore(Store(url)).state()
    assert [g.name for g in state.groups_of("a")] == ["g"] and state.groups["g"].priority == 3
    assert state.groups_of("never-spoke") == [] and state.of("a").schema == {}
    store.delete_group("g")
    assert store.state().groups == {}
