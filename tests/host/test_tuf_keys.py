# SPDX-License-Identifier: MIT
"""The board's TUF client on MicroPython: thresholds, rotation, kinds of keys, what counts once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tuf_repository import ONLINE, Board, Repository, served, signer

pytestmark = pytest.mark.slow


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def board(repository: Repository, tmp_path: Path) -> Iterator[Board]:
    with served(repository) as url:
        yield Board(repository, url, tmp_path)


@dataclass
class Step:
    """A version of a role: numbers of the keys it has, its threshold, who signs."""

    keys: list[int]
    threshold: int
    signers: list[int]


ROOTS: dict[str, tuple[list[Step], str]] = {
    "key rotated": ([Step([1], 1, [1]), Step([2], 1, [1, 2]), Step([2], 1, [2])], ""),
    "signatures of strangers": (
        [Step([1], 1, [3, 1, 4]), Step([2], 1, [3, 2, 1, 4]), Step([2], 1, [3, 2, 4])],
        "",
    ),
    "3 of 5, other three each time": (
        [Step([0, 1, 2, 3, 4], 3, [0, 2, 4]), Step([0, 1, 2, 3, 4], 3, [3, 1, 0])],
        "",
    ),
    "3 of 5, one rotated": (
        [Step([0, 1, 2, 3, 4], 3, [0, 2, 4]), Step([0, 1, 3, 4, 5], 3, [0, 4, 1])],
        "",
    ),
    "3 of 5, all rotated": (
        [Step([0, 1, 2, 3, 4], 3, [0, 2, 4]), Step([5, 6, 7, 8, 9], 3, [0, 2, 4, 5, 6, 7])],
        "",
    ),
    "threshold raised": ([Step([1, 2, 3], 1, [1]), Step([1, 2, 3], 2, [1, 2])], ""),
    "threshold lowered": (
        [Step([1, 2, 3], 2, [1, 2]), Step([1, 2, 3], 1, [1, 2]), Step([1, 2, 3], 1, [1])],
        "",
    ),
    "not signed by the old key": ([Step([1], 1, [1]), Step([2], 1, [2, 3])], "tuf-threshold"),
    "not signed by the new key": ([Step([1], 1, [1]), Step([2], 1, [1, 3])], "tuf-threshold"),
    "3 of 5, two new": (
        [Step([0, 1, 2, 3, 4], 3, [0, 2, 4]), Step([0, 1, 3, 4, 5], 3, [0, 2, 4])],
        "tuf-threshold",
    ),
    "3 of 5, two old": (
        [Step([0, 1, 2, 3, 4], 3, [0, 2, 4]), Step([0, 1, 3, 4, 5], 3, [0, 4, 5])],
        "tuf-threshold",
    ),
    "raised threshold not reached": (
        [Step([1, 2, 3], 1, [1]), Step([1, 2, 3], 2, [2])],
        "tuf-threshold",
    ),
    "lowered threshold, old one not reached": (
        [Step([1, 2, 3], 2, [1, 2]), Step([1, 2, 3], 1, [1])],
        "tuf-threshold",
    ),
}


@pytest.mark.parametrize("scheme", ["ecdsa", "ed25519"])
@pytest.mark.parametrize("case", ROOTS)
def test_root_rotation(board: Board, repository: Repository, case: str, scheme: str) -> None:
    steps, code = ROOTS[case]
    repository.root.version = 0
    published = []
    for step in steps:
        keys = [signer(20 + number, scheme) for number in step.keys]
        repository.set_keys("root", keys, step.threshold)
        repository.signers["root"] = [signer(20 + number, scheme) for number in step.signers]
        repository.publish("root")
        published.append(repository.published["root"])
    assert board.init(published[0]) == ""
    assert board.refresh() == code
    assert board.stored("root") == published[-2 if code else -1]


OTHERS: dict[str, tuple[Step, str]] = {
    "new key": (Step([2], 1, [2]), ""),
    "signatures of strangers": (Step([1], 1, [3, 1, 4]), ""),
    "3 of 5": (Step([0, 1, 2, 3, 4], 3, [1, 2, 3]), ""),
    "not signed by its key": (Step([2], 1, [1, 3, 4]), "tuf-threshold"),
    "a key that is not the role's": (Step([0, 1, 3, 4, 5], 3, [0, 2, 4]), "tuf-threshold"),
    "2 of 3": (Step([0, 1, 3, 4, 5], 3, [0, 4]), "tuf-threshold"),
    "unsigned": (Step([0], 1, []), "tuf-threshold"),
}


@pytest.mark.parametrize("role", ONLINE)
@pytest.mark.parametrize("case", OTHERS)
def test_rotation_of_the_other_roles(
    board: Board, repository: Repository, case: str, role: str
) -> None:
    step, code = OTHERS[case]
    board.init()
    assert board.refresh() == ""
    before = board.stored(role)
    repository.set_keys(role, [signer(20 + number) for number in step.keys], step.threshold)
    repository.signers[role] = [signer(20 + number) for number in step.signers]
    repository.publish("root", *ONLINE)
    assert board.refresh() == code
    if not code:
        assert board.stored(role) == repository.published[role]
    elif role == "targets":
        assert board.stored(role) == before


@pytest.mark.parametrize("role", ["root", *ONLINE])
def test_each_role_needs_its_own_keys(board: Board, repository: Repository, role: str) -> None:
    """Signed by all keys of all other roles, and by none of its own."""
    board.init()
    own = repository.signers[role]
    others = [keys[0] for keys in repository.signers.values() if keys is not own]
    repository.signers[role] = others
    repository.publish("root", *ONLINE)
    assert board.refresh() == "tuf-threshold"
    assert role not in board.versions() or board.versions()["root"] == 1


SCHEMES = ["rsassa-pss-sha256", "rsa-pkcs1v15-sha256", "ecdsa", "ed25519"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_key_types(board: Board, repository: Repository, scheme: str) -> None:
    board.init()
    repository.set_keys("root", [signer(0), signer(40, scheme)], 2)
    repository.publish("root")
    assert board.refresh() == ""
    good = repository.root.version

    def spoil(document: dict[str, Any]) -> None:
        for signature in document["signatures"]:
            if signature["keyid"] == signer(40, scheme).public_key.keyid:
                last = signature["sig"][-1]
                signature["sig"] = signature["sig"][:-1] + ("0" if last != "0" else "1")

    repository.publish("root", change=spoil)
    assert board.refresh() == "tuf-threshold"
    assert board.versions()["root"] == good


@pytest.mark.parametrize("field", ["keytype", "scheme"])
def test_a_key_of_an_unknown_kind_does_not_count(
    board: Board, repository: Repository, field: str
) -> None:
    board.init()
    document = json.loads(repository.anchor)
    document["signed"]["version"] = 2
    key_id = document["signed"]["roles"]["timestamp"]["keyids"][0]
    document["signed"]["keys"][key_id][field] = "sphincs"
    repository.resign("root", document, 2)
    assert board.refresh() == "tuf-threshold"
    assert board.versions() == {"root": 2}


GARBAGE = ["", "00", "zz", "é", "3006020101020101", "30" * 300, "30060201010201", "{}"]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_does_not_count_and_does_no_harm(
    board: Board, repository: Repository, garbage: str
) -> None:
    board.init()
    repository.set_keys("timestamp", [signer(3), signer(13)])

    def spoil(document: dict[str, Any]) -> None:
        document["signatures"][0]["sig"] = garbage

    repository.publish("root", "timestamp")
    repository.publish("timestamp", change=spoil)
    assert board.refresh() == ""
    repository.set_keys("timestamp", [signer(3), signer(13)], 2)
    repository.publish("root")
    repository.publish("timestamp", change=spoil)
    assert board.refresh() == "tuf-threshold"


def test_a_key_id_signs_once(board: Board, repository: Repository) -> None:
    def repeat(document: dict[str, Any]) -> None:
        document["signatures"] *= 2

    board.init()
    repository.publish("snapshot", "timestamp", change=repeat)
    assert board.refresh() == "tuf-format"


def test_a_role_names_a_key_id_once(board: Board, repository: Repository) -> None:
    board.init()
    document = json.loads(repository.anchor)
    document["signed"]["version"] = 2
    document["signed"]["roles"]["snapshot"]["keyids"] *= 3
    document["signed"]["roles"]["snapshot"]["threshold"] = 2
    repository.resign("root", document, 2)
    assert board.refresh() == "tuf-format"
    assert board.versions() == {"root": 1}


@pytest.mark.parametrize("disguise", ["none", "spaces", "line ends", "case"])
def test_one_key_under_several_ids_counts_once(
    board: Board, repository: Repository, disguise: str
) -> None:
    """Even where the text of the key differs: what counts is the key itself."""
    scheme = "ed25519" if disguise == "case" else "ecdsa"
    first = signer(50, scheme)
    second = signer(51, scheme)
    repository.set_keys("snapshot", [first, second], 2)
    repository.publish("root", "snapshot", "timestamp")
    board.init()
    assert board.refresh() == ""

    document = json.loads(repository.published["root"])
    signed = document["signed"]
    signed["version"] += 1
    twin = deepcopy(signed["keys"][first.public_key.keyid])
    public = twin["keyval"]["public"]
    twin["keyval"]["public"] = {
        "none": public,
        "spaces": " " + public + "\n\n",
        "line ends": public.replace("\n", "\r\n"),
        "case": public.upper(),
    }[disguise]
    signed["keys"]["twin"] = twin
    signed["roles"]["snapshot"]["keyids"] = [first.public_key.keyid, "twin"]
    repository.resign("root", document, 3)

    def sign_twice(snapshot: dict[str, Any]) -> None:
        own = next(s for s in snapshot["signatures"] if s["keyid"] == first.public_key.keyid)
        snapshot["signatures"] = [own, {"keyid": "twin", "sig": own["sig"]}]

    repository.publish("snapshot", change=sign_twice)
    repository.publish("timestamp")
    assert board.refresh() == "tuf-threshold"
    assert "snapshot" not in board.versions()  # a key was withdrawn
    # In its disguise it is a good key all the same.
    signed["version"] += 1
    signed["roles"]["snapshot"].update({"keyids": ["twin"], "threshold": 1})
    repository.resign("root", document, 4)
    assert board.refresh() == ""


def test_a_key_id_need_not_be_the_hash_of_its_key(board: Board, repository: Repository) -> None:
    board.init()
    document = json.loads(repository.anchor)
    signed = document["signed"]
    signed["version"] = 2
    [old] = signed["roles"]["timestamp"]["keyids"]
    signed["keys"]["the timestamp key"] = signed["keys"].pop(old)
    signed["roles"]["timestamp"]["keyids"] = ["the timestamp key"]
    repository.resign("root", document, 2)

    def rename(timestamp: dict[str, Any]) -> None:
        timestamp["signatures"][0]["keyid"] = "the timestamp key"

    repository.publish("timestamp", change=rename)
    assert board.refresh() == ""


def test_a_key_id_without_a_key_does_not_count(board: Board, repository: Repository) -> None:
    board.init()
    document = json.loads(repository.anchor)
    document["signed"]["version"] = 2
    document["signed"]["roles"]["snapshot"]["keyids"].append("nobody")
    repository.resign("root", document, 2)
    assert board.refresh() == ""
    document["signed"]["version"] = 3
    document["signed"]["roles"]["snapshot"]["threshold"] = 2
    repository.resign("root", document, 3)
    repository.publish("snapshot", "timestamp")
    assert board.refresh() == "tuf-threshold"


def test_a_threshold_above_the_keys_is_never_reached(board: Board, repository: Repository) -> None:
    board.init()
    assert board.refresh() == ""
    repository.set_keys("snapshot", [signer(2), *(signer(60 + n) for n in range(4))], 6)
    repository.publish("root", "snapshot", "timestamp")
    assert board.refresh() == "tuf-threshold"
    # Keys were only added: the old snapshot is still there, and guards against going back.
    assert board.versions() == {"root": 2, "timestamp": 2, "snapshot": 1, "targets": 1}


THRESHOLDS: list[Any] = [0, -1, "1", True, None, 10**19]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_a_threshold_is_a_number_from_one(
    board: Board, repository: Repository, threshold: Any
) -> None:
    board.init()
    document = json.loads(repository.anchor)
    document["signed"]["version"] = 2
    document["signed"]["roles"]["timestamp"]["threshold"] = threshold
    repository.resign("root", document, 2)
    assert board.refresh() == "tuf-format"
    assert board.versions() == {"root": 1}


@pytest.mark.parametrize("role", ["root", *ONLINE])
def test_a_root_without_one_of_the_roles_is_refused(
    board: Board, repository: Repository, role: str
) -> None:
    board.init()
    document = json.loads(repository.anchor)
    document["signed"]["version"] = 2
    del document["signed"]["roles"][role]
    repository.resign("root", document, 2)
    assert board.refresh() == "tuf-format"


def test_unknown_fields_are_signed_along(board: Board, repository: Repository) -> None:
    board.init()
    document = json.loads(repository.anchor)
    signed = document["signed"]
    signed.update({"version": 2, "x-ütf": {"z": [1, {"a": None, "b": [True, False]}], "": ""}})
    signed["x-text"] = 'a "quoted" \\ line\nwith \t controls, \u20ac and \U0001f680'
    for key in signed["keys"].values():
        key["keyid_hash_algorithms"] = "md5"
        key["keyval"]["x-private"] = -17
    signed["roles"]["root"]["x-expiry-period"] = 0
    document["x-outside"] = {"what": "is not signed"}
    repository.resign("root", document, 2)
    assert board.refresh() == ""
    stored = board.stored("root")
    assert stored == repository.published["root"]

    for change in ({"x-text": "another"}, {"x-more": 1}):
        other = json.loads(repository.published["root"])
        other["signed"].update(change)
        repository.place("root", 3, json.dumps(other).encode())
        assert board.refresh() == "tuf-threshold"
