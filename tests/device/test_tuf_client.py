# SPDX-License-Identifier: MIT
"""The TUF workflow on both runtimes: what is asked, stored and refused, and every interruption."""

import json
from hashlib import sha256

from support import raises, raises_async, tried
from tuf_world import EXPIRES, NOW, TOP, Store, World

from agent.errors import AgentError, LinkError, Refused, StorageError
from agent.update.tuf.artifact import Check
from agent.update.tuf.delegations import glob
from agent.update.tuf.metadata import Limits, unix_time
from agent.update.tuf.store import quote


async def ready():
    """A world, and a store that has its first version."""
    world, store = World(), Store()
    client = world.client(store)
    await client.anchor(world.anchor)
    await client.refresh()
    world.requests.clear()
    return world, store


async def refused(world, store, code, now=NOW):
    before = dict(store.files)
    e = await raises_async(AgentError, world.client(store, now).refresh())
    assert e.code == code, e
    return before


def version(store, name):
    return json.loads(store.files[name])["signed"]["version"]


async def test_a_refresh_asks_and_stores_in_order():
    world, store = World(), Store()
    assert (await raises_async(Refused, world.client(store).refresh())).code == "tuf-root"
    client = world.client(store)
    await client.begin(1, sha256(world.anchor).digest())
    await client.refresh()
    assert world.requests == [
        "1.root.json",
        "2.root.json",
        "timestamp.json",
        "1.snapshot.json",
        "1.targets.json",
    ]
    assert sorted(store.files) == sorted(TOP)
    world.requests.clear()
    await client.refresh()
    assert world.requests == ["2.root.json", "timestamp.json"]


async def test_the_first_root_is_the_provisioned_one():
    world, store = World(), Store()
    client = world.client(store)
    assert (await raises_async(Refused, client.begin(1, bytes(32)))).code == "tuf-hash"
    assert store.files == {}
    await client.begin(1, sha256(world.anchor).digest())
    world.requests.clear()
    await client.begin(1, bytes(32))  # there is one already: nothing to begin
    assert world.requests == []


async def test_expiry_is_the_very_second():
    world, store = await ready()
    edge = unix_time(EXPIRES)
    await world.client(store, edge - 1).refresh()
    await refused(world, store, "tuf-expired", edge)
    for name in ("timestamp", "snapshot", "targets"):
        world, store = await ready()
        world.signed[name]["expires"] = "2027-01-15T08:00:00Z"
        world.publish("targets", "snapshot", "timestamp")
        before = await refused(world, store, "tuf-expired")
        assert store.files[name] == before[name]
        world.signed[name]["expires"] = "2027-01-15T08:00:01Z"
        world.publish("targets", "snapshot", "timestamp")
        await world.client(store).refresh()


async def test_versions_do_not_go_back():
    for name in ("timestamp", "snapshot", "targets"):
        world, store = await ready()
        for _ in range(3):
            world.publish("targets", "snapshot", "timestamp")
        await world.client(store).refresh()
        world.signed[name]["version"] -= 2
        world.publish(*TOP[TOP.index("timestamp") : TOP.index(name) + 1])
        before = await refused(world, store, "tuf-rollback")
        kept = dict(store.files)
        if name == "targets":  # the timestamp itself was newer, and right
            kept["timestamp"] = before["timestamp"]
        assert kept == before


async def test_thresholds_count_keys():
    world, store = await ready()
    root = world.signed["root"]
    for name in ("one", "two", "twin"):
        root["keys"].update(world.keys_of([name]))
    root["keys"]["twin"]["keyval"] = root["keys"]["one"]["keyval"]
    root["roles"]["timestamp"] = {"keyids": ["one", "two", "twin", "nobody"], "threshold": 2}
    world.publish("root")
    for signers, enough in (
        ([], False),
        (["timestamp"], False),
        (["one"], False),
        (["one", "nobody", "timestamp", "root"], False),
        (["one", "two"], True),
        (["two", "nobody", "one"], True),
    ):
        world.signers["timestamp"] = signers
        world.publish("timestamp")
        if enough:
            await world.client(store).refresh()
        else:
            await refused(world, store, "tuf-threshold")
    # "one" and its twin are one key; the twin's signature is made with the key of "one".
    world.signed["timestamp"]["version"] += 1
    world.signers["timestamp"] = ["one"]
    document = json.loads(world.sign("timestamp"))
    [signature] = document["signatures"]
    document["signatures"] = [signature, {"keyid": "twin", "sig": signature["sig"]}]
    world.files["timestamp.json"] = json.dumps(document).encode()
    await refused(world, store, "tuf-threshold")


async def test_a_root_needs_the_old_and_the_new_keys():
    for signers, code in (
        (["root", "new"], None),
        (["root"], "tuf-threshold"),
        (["new"], "tuf-threshold"),
    ):
        world, store = await ready()
        root = world.signed["root"]
        root["keys"].update(world.keys_of(["new"]))
        root["roles"]["root"]["keyids"] = ["new"]
        world.signers["root"] = signers
        world.publish("root")
        if code:
            await refused(world, store, code)
            assert store.files["root"] == world.anchor
        else:
            await world.client(store).refresh()
            assert version(store, "root") == 2


async def test_withdrawn_keys_take_their_versions_along():
    for name in ("timestamp", "snapshot"):
        world, store = await ready()
        for role in ("timestamp", "snapshot", "targets"):
            world.signed[role]["version"] = 99
        world.publish("targets", "snapshot", "timestamp")
        await world.client(store).refresh()
        root = world.signed["root"]
        root["keys"].update(world.keys_of(["new"]))
        root["roles"][name]["keyids"] = ["new"]
        world.signers[name] = ["new"]
        for role in ("timestamp", "snapshot", "targets"):
            world.signed[role]["version"] = 2
        world.publish(*TOP)
        await world.client(store).refresh()
        assert [version(store, role) for role in TOP] == [2, 3, 3, 3]


async def test_withdrawn_keys_take_them_along_whatever_comes_in_between():
    """A cut after each change of a file, and a link that is lost after the new root."""
    for lost in (None, 1, 2, 3):
        world, store = await ready()
        for role in ("timestamp", "snapshot"):
            world.signed[role]["version"] = 99
        world.publish("targets", "snapshot", "timestamp")
        await world.client(store).refresh()
        root = world.signed["root"]
        root["keys"].update(world.keys_of(["new"]))
        root["roles"]["snapshot"]["keyids"] = ["new"]  # and the timestamp's key stays
        world.signers["snapshot"] = ["new"]
        for role in ("timestamp", "snapshot"):
            world.signed[role]["version"] = 2
        world.publish(*TOP)
        if lost:
            store.operations, store.fail_at, store.fail_after = 0, lost, True
        else:
            world.fail_at = len(world.requests) + 2
        await raises_async(AgentError, world.client(store).refresh())
        world.fail_at = store.fail_at = None
        await world.client(store).refresh()
        assert [version(store, role) for role in TOP] == [2, 3, 3, 3], lost


async def test_too_much_data_is_refused():
    for name, longest in (
        ("2.root", Limits.root),
        ("timestamp", Limits.timestamp),
        ("2.snapshot", Limits.snapshot),
        ("2.targets", Limits.targets),
    ):
        world, store = await ready()
        world.publish(*TOP)
        path = name + ".json"
        world.files[path] += b" " * (longest - len(world.files[path]))
        await world.client(store).refresh()
        world.publish(*TOP)
        path = path.replace("2.", "3.")
        world.files[path] += b" " * (longest + 1 - len(world.files[path]))
        asked = []

        async def careless(path, max_length, world=world, asked=asked):
            asked.append(max_length)
            if path not in world.files:
                raise LinkError("not-found")
            return world.files[path]

        e = await raises_async(Refused, world.client(store, fetch=careless).refresh())
        assert e.code == "tuf-length"
        assert max(asked) <= Limits.targets


async def test_a_lost_link_at_each_request_keeps_a_consistent_set():
    at = 0
    failed = True
    while failed:
        at += 1
        world, store = await ready()
        world.publish(*TOP)
        world.fail_at = at
        try:
            await world.client(store).refresh()
            failed = False
        except LinkError as e:
            assert e.code == "link-lost"
        world.fail_at = None
        await world.client(store).refresh()
        assert [version(store, name) for name in TOP] == [2, 2, 2, 2]
    assert at == 6


async def test_a_cut_at_each_change_of_a_file_is_old_or_new_and_goes_on():
    """N-18. The keys of the timestamp change as well, so that files are deleted, too."""
    cuts = 0
    for after in (False, True):
        at = 0
        failed = True
        while failed:
            at += 1
            world, store = await ready()
            old = dict(store.files)
            root = world.signed["root"]
            root["keys"].update(world.keys_of(["new"]))
            root["roles"]["timestamp"]["keyids"] = ["new"]
            world.signers["timestamp"] = ["new"]
            new = world.publish(*TOP)
            store.operations = 0
            store.fail_at, store.fail_after = at, after
            try:
                await world.client(store).refresh()
                failed = False
            except StorageError:
                cuts += 1
            for name, data in store.files.items():
                assert data in (old[name], new[name])
            await world.client(store).refresh()
            assert store.files == new
    assert cuts == 12
    tried(cuts)


async def test_stored_files_that_were_damaged_are_fetched_again():
    for name in ("timestamp", "snapshot", "targets"):
        for damage in (b"", b"{}", b"\xff" * 50, None):
            world, store = await ready()
            good = store.files[name]
            store.files[name] = good[:-9] if damage is None else damage
            await world.client(store).refresh()
            assert store.files[name] == good


async def test_a_target_by_way_of_delegations():
    world, store = await ready()
    entry = {"length": 3, "hashes": {"sha256": "00" * 32}, "custom": {"kind": "app", "n": [1]}}
    role = {"name": "a/b", "keyids": ["a/b"], "threshold": 1, "terminating": False}
    role["paths"] = ["x/*"]
    world.signed["targets"]["delegations"] = {"keys": world.keys_of(["a/b"]), "roles": [role]}
    child = world.document("targets")
    child["version"] = 1
    child["targets"] = {"x/y": entry}
    world.signed["a/b"] = child
    world.signers["a/b"] = ["a/b"]
    world.sign("a/b")
    world.files["1.a%2Fb.json"] = world.files.pop("1.a/b.json")
    world.signed["snapshot"]["meta"]["a/b.json"] = {"version": 1}
    world.publish("targets", "snapshot", "timestamp")
    client = world.client(store)
    await client.refresh()
    world.requests.clear()
    target = await client.find("x/y")
    assert target["custom"] == {"kind": "app", "n": [1]}
    assert (target["length"], target["role"]) == (3, "a/b")
    assert client.file_path(target) == "x/" + "00" * 32 + ".y"
    assert world.requests == ["1.a%2Fb.json"]
    assert (await raises_async(Refused, client.find("x/z"))).code == "tuf-unknown"
    assert (await raises_async(Refused, client.find("y"))).code == "tuf-unknown"
    assert (await raises_async(Refused, client.find("x/../y"))).code == "tuf-path"
    assert world.requests == ["1.a%2Fb.json"]
    store.reads.clear()
    found = await client.find_all(["x/y", "x/z", "y"])
    assert found.pop("x/y") == target and found == {"x/z": None, "y": None}
    assert store.reads == ["targets", "a/b"]  # once, for all that it names
    assert (await raises_async(Refused, client.find_all(["x/y", "x/../y"]))).code == "tuf-path"


def test_patterns():
    for pattern, path, expected in (
        ("", "", True),
        ("*", "", True),
        ("*", "a/b", False),
        ("a/*/c", "a/b/c", True),
        ("a/*/c", "a/b/b/c", False),
        ("**", "ab", True),
        ("?", "/", False),
        ("*?", "a", True),
        ("*.a*.b", "x.a.a.b", True),
        ("[a]", "a", False),
    ):
        assert glob(pattern, path) is expected, pattern
    assert glob("*a" * 100 + "b", "a" * 300) is False  # at once, not in 2**100 steps


def test_names_of_files():
    assert quote("../a b%/é~_-.") == "..%2Fa%20b%25%2F%C3%A9~_-."


def test_the_bytes_of_a_target():
    data = b"content"
    for pieces, code in (
        ((data,), None),
        ((b"con", b"", b"tent"), None),
        ((b"con",), "tuf-length"),
        ((data, b"x"), "tuf-length"),
        ((b"CONTENT",), "tuf-hash"),
    ):
        check = Check(7, {"sha256": sha256(data).digest()})

        def take(check=check, pieces=pieces):
            for piece in pieces:
                check.update(piece)
            check.finish()

        if code:
            assert raises(Refused, take).code == code
        else:
            take()
    assert raises(Refused, Check, 7, {}).code == "tuf-hash"
