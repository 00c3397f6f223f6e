# SPDX-License-Identifier: MIT
"""The board's TUF client on MicroPython: which roles it asks for a target, and in which order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Delegations,
    SuccinctRoles,
    Targets,
)
from tuf_repository import ONLINE, Board, Repository, served, signer

pytestmark = pytest.mark.slow


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def board(repository: Repository, tmp_path: Path) -> Iterator[Board]:
    with served(repository) as url:
        board = Board(repository, url, tmp_path)
        assert board.init() == ""
        yield board


@dataclass
class Graph:
    """Delegations as "parent > child" in order, with options; the roles that are to be asked."""

    delegations: list[str]
    asked: str
    terminating: str = ""  # names of children
    paths: dict[str, list[str]] = field(default_factory=dict)  # by "parent > child"


GRAPHS = {
    "one": Graph(["targets > a"], "a"),
    "in order of appearance": Graph(["targets > b", "targets > a"], "b a"),
    "depth first": Graph(["targets > a", "targets > b", "a > c", "a > d"], "a c d b"),
    "three levels": Graph(["targets > a", "targets > b", "a > c", "c > d"], "a c d b"),
    "terminating": Graph(["targets > a", "targets > b", "a > c", "a > d"], "a c", "c"),
    "terminating, but for its own": Graph(
        ["targets > a", "targets > b", "a > c", "c > d"], "a c d", "c"
    ),
    "terminating elsewhere": Graph(
        ["targets > a", "targets > b"], "b", "a", {"targets > a": ["*.py"]}
    ),
    "only where paths match": Graph(
        ["targets > a", "targets > b", "a > c"], "b", "", {"targets > a": ["*.py"]}
    ),
    "only where paths match, further down": Graph(
        ["targets > a", "targets > b", "a > c", "c > d"], "a b", "", {"a > c": ["*.py"]}
    ),
    "circle": Graph(["targets > a", "targets > b", "b > c", "c > d", "d > b"], "a b c d"),
    "itself": Graph(["targets > a", "a > a", "targets > b"], "a b"),
    "two ways to one": Graph(["targets > a", "targets > b", "b > c", "a > c"], "a c b"),
    "two ways to one, one closed": Graph(
        ["targets > a", "targets > b", "b > c", "a > c"], "a b c", "", {"a > c": ["*.py"]}
    ),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_order(board: Board, repository: Repository, case: str) -> None:
    graph = GRAPHS[case]
    for delegation in graph.delegations:
        parent, child = delegation.split(" > ")
        repository.delegate(
            parent,
            child,
            graph.paths.get(delegation, ["*"]),
            terminating=child in graph.terminating.split(),
        )
    repository.publish(*(name for name in repository.targets if name != "targets"), *ONLINE)
    assert board.download("missing") == "tuf-unknown"
    assert repository.take_requests()[4:] == [f"1.{name}" for name in graph.asked.split()]
    # All of that is stored now: asked again, nothing is fetched but what may be newer.
    assert board.download("missing") == "tuf-unknown"
    assert repository.take_requests() == ["2.root", "timestamp"]


# A target's path, pattern, whether they match.
PATTERNS = [
    ("a/b.tar", "a/b.tar", True),
    ("a/b.tar", "a/*", True),
    ("a/b.tar", "*", False),
    ("a/b.tar", "*/*.tar", True),
    ("a/b.tar", "a/?.tar", True),
    ("a/b.tar", "a?b.tar", False),
    ("a/bb.tar", "a/?.tar", False),
    ("a/b/c", "a/*", False),
    ("a/b/c", "a/*/*", True),
    ("aXbXc", "a*b*c", True),
    ("abcbcd", "a*bcd", True),
    ("a" * 60, "*a" * 30 + "b", False),
    ("a[1]", "a[1]", True),
    ("a.b", "a?b", True),
    ("a+b", "a.b", False),
    ("é", "?", True),
]


@pytest.mark.parametrize(("path", "pattern", "matches"), PATTERNS)
def test_paths(
    board: Board, repository: Repository, path: str, pattern: str, matches: bool
) -> None:
    repository.delegate("targets", "a", ["nothing", pattern])
    repository.add_target("a", path, b"here")
    repository.publish("a", *ONLINE)
    if "é" in path:  # the server has it under its plain name
        repository.files = {
            name.replace("é", "%C3%A9"): data for name, data in repository.files.items()
        }
    assert board.download(path) == ("" if matches else "tuf-unknown")


@pytest.mark.parametrize("length", [0, 1, 2, 64])
def test_hash_prefixes(board: Board, repository: Repository, length: int) -> None:
    digest = sha256(b"path").hexdigest()
    other = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    repository.delegate("targets", "no", path_hash_prefixes=[other, digest[1:3] * 2 + "f"])
    repository.delegate("targets", "yes", path_hash_prefixes=["ffffff", digest[:length]])
    repository.add_target("no", "path", b"wrong")
    repository.add_target("yes", "path", b"right")
    repository.publish("no", "yes", *ONLINE)
    assert board.download("path") == ""
    assert board.contents() == [b"right"]


@pytest.mark.parametrize(("bits", "path"), [(1, "boo"), (1, "too"), (8, "bar"), (5, "bar")])
def test_succinct_bins(board: Board, repository: Repository, bits: int, path: str) -> None:
    key = signer(70)
    bins = SuccinctRoles([], 1, bits, "bin")
    repository.targets["targets"].delegations = Delegations({}, None, bins)
    repository.targets["targets"].add_key(key.public_key)
    name = bins.get_role_for_target(path)
    repository.targets[name] = Targets(expires=repository.root.expires)
    repository.targets[name].version = 0
    repository.signers[name] = [key]
    repository.add_target(name, path, b"bin")
    repository.publish(name, *ONLINE)
    assert board.download(path) == ""
    assert f"1.{name}" in repository.take_requests()


def test_the_first_role_that_describes_a_target_wins(board: Board, repository: Repository) -> None:
    for name in ("a", "b"):
        repository.delegate("targets", name)
        repository.add_target(name, "path", name.encode())
    repository.publish("a", "b", *ONLINE)
    assert board.download("path") == ""
    assert board.contents() == [b"a"]
    assert "1.b" not in repository.take_requests()
    repository.add_target("targets", "path", b"top")
    repository.publish(*ONLINE)
    assert board.download("path") == ""
    assert board.contents() == [b"top"]


def test_a_delegation_lends_no_more_than_its_paths(board: Board, repository: Repository) -> None:
    """A grandchild's wider patterns do not reach what its parent was not given."""
    repository.delegate("targets", "a", ["a/*"])
    repository.delegate("a", "b", ["*", "*/*"])
    repository.add_target("b", "other/path", b"stolen")
    repository.add_target("b", "a/path", b"lent")
    repository.publish("a", "b", *ONLINE)
    assert board.download("other/path") == "tuf-unknown"
    assert board.download("a/path") == ""


def test_each_delegation_has_its_own_keys(board: Board, repository: Repository) -> None:
    """Role c, by b's keys: the file that a's keys signed does not do, though it is stored."""
    repository.delegate("targets", "a", ["x*"])
    repository.delegate("targets", "b", ["y*"])
    repository.delegate("a", "c")
    repository.delegate("b", "c")
    repository.add_target("c", "x", b"x")
    repository.add_target("c", "y", b"y")
    delegations = repository.targets["b"].delegations
    assert delegations and delegations.roles
    repository.targets["b"].revoke_key(delegations.roles["c"].keyids[0], "c")
    repository.targets["b"].add_key(signer(71).public_key, "c")
    repository.publish("a", "b", "c", *ONLINE)
    assert board.download("x") == ""
    assert board.download("y") == "tuf-threshold"
    assert board.download("x", "y") == "tuf-threshold"


@pytest.mark.parametrize("name", ["?", "#", "/role", "../role", "..", "a b%2e", "ÄÖ", "1.root"])
def test_unusual_role_names(board: Board, repository: Repository, name: str) -> None:
    repository.delegate("targets", name)
    repository.add_target(name, "path", b"found")
    repository.publish(name, *ONLINE)
    assert board.download("path") == ""
    assert board.stored(name) == repository.published[name]
    assert len(board.versions()) == 5
    names = {path.name for path in board.folder.iterdir()}
    assert names == {"clock", "initial.json", "metadata", "targets"}


@pytest.mark.parametrize("name", ["root", "targets", "snapshot", "", "a" * 201])
def test_refused_role_names(board: Board, repository: Repository, name: str) -> None:
    repository.delegate("targets", "a")
    repository.publish("a", *ONLINE)
    document = json.loads(repository.published["targets"])
    document["signed"]["delegations"]["roles"][0]["name"] = name
    repository.resign("targets", document)
    before = board.stored("root")
    assert board.download("path") == "tuf-format"
    assert board.stored("root") == before


BROKEN: list[dict[str, Any]] = [
    {"terminating": 1},
    {"terminating": None},
    {"paths": "*"},
    {"paths": [1]},
    {"paths": ["*"], "path_hash_prefixes": [""]},
    {"threshold": 0},
    {"keyids": "abc"},
    {"name": 7},
]


@pytest.mark.parametrize("change", BROKEN)
def test_fields_have_their_types(
    board: Board, repository: Repository, change: dict[str, Any]
) -> None:
    repository.delegate("targets", "a")
    repository.publish("a", *ONLINE)
    document = json.loads(repository.published["targets"])
    document["signed"]["delegations"]["roles"][0].update(change)
    repository.resign("targets", document)
    assert board.download("path") == "tuf-format"


def test_a_role_stands_once_in_its_parent(board: Board, repository: Repository) -> None:
    repository.delegate("targets", "a")
    repository.publish("a", *ONLINE)
    document = json.loads(repository.published["targets"])
    document["signed"]["delegations"]["roles"] *= 2
    repository.resign("targets", document)
    assert board.download("path") == "tuf-format"


def test_a_role_that_the_snapshot_does_not_list_is_refused(
    board: Board, repository: Repository
) -> None:
    repository.delegate("targets", "a")
    repository.publish("a")
    del repository.snapshot.meta["a.json"]
    repository.publish(*ONLINE)
    assert board.download("path") == "tuf-missing"
    assert board.refresh() == ""


def test_expired_roles(board: Board, repository: Repository) -> None:
    role = repository.delegate("targets", "a")
    role.expires = repository.now - timedelta(days=1)
    repository.add_target("a", "path", b"old")
    repository.publish("a", *ONLINE)
    assert board.download("path") == "tuf-expired"
    assert board.contents() == []
    assert "a" not in board.versions()
    role.expires = repository.now + timedelta(days=7)
    repository.publish("a", *ONLINE)
    assert board.download("path") == ""
    assert board.download("path", days=8) == "tuf-expired"
    role.expires = repository.now + timedelta(days=20)
    repository.publish("a", *ONLINE)
    assert board.download("path", days=8) == ""


@pytest.mark.parametrize("what", ["version", "hash", "signature"])
def test_delegated_files_are_checked_like_the_others(
    board: Board, repository: Repository, what: str
) -> None:
    repository.hashes = what == "hash"
    repository.delegate("targets", "a")
    repository.publish("a", *ONLINE)
    repository.publish("a", *ONLINE)
    if what == "version":
        repository.place("a", 2, repository.files["metadata/1.a.json"])
    elif what == "hash":
        repository.place("a", 2, repository.published["a"].replace(b"\n", b" ", 1))
    else:
        repository.signers["a"] = [signer(72)]
        repository.publish("a", *ONLINE)
    code = {"version": "tuf-version", "hash": "tuf-hash", "signature": "tuf-threshold"}[what]
    assert board.download("path") == code
    assert "a" not in board.versions()


def test_visits_are_capped(board: Board, repository: Repository) -> None:
    names = [f"r{number}" for number in range(40)]
    for parent, name in zip(["targets", *names], names, strict=False):
        repository.delegate(parent, name)
    repository.publish(*names, *ONLINE)
    assert board.download("path") == "tuf-visits"
    assert len(repository.take_requests()) == 4 + 31
