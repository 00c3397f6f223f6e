# SPDX-License-Identifier: MIT
"""The board's TUF client on MicroPython: what it fetches, stores and refuses in a refresh."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
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


@pytest.fixture
def ready(board: Board) -> Board:
    """A board that has refreshed once."""
    assert board.init() == ""
    assert board.refresh() == ""
    board.repository.take_requests()
    return board


def all_at(version: int) -> dict[str, int]:
    return dict.fromkeys(("root", *ONLINE), version)


def test_init_asks_nothing_and_refresh_only_what_is_needed(
    board: Board, repository: Repository
) -> None:
    assert board.init() == ""
    assert repository.take_requests() == []
    assert board.refresh() == ""
    assert repository.take_requests() == ["2.root", "timestamp", "1.snapshot", "1.targets"]
    assert board.versions() == all_at(1)
    assert board.refresh() == ""
    assert repository.take_requests() == ["2.root", "timestamp"]


def test_metadata_is_stored_byte_for_byte(board: Board, repository: Repository) -> None:
    repository.files["metadata/timestamp.json"] += b" \n"
    board.init()
    assert board.refresh() == ""
    for role in ("root", "snapshot", "targets"):
        assert board.stored(role) == repository.published[role]
    assert board.stored("timestamp") == repository.published["timestamp"] + b" \n"


def test_without_consistent_snapshots_names_have_no_version(
    board: Board, repository: Repository
) -> None:
    repository.root.consistent_snapshot = False
    repository.publish("root", *ONLINE)
    board.init()
    assert board.refresh() == ""
    assert repository.take_requests() == ["2.root", "3.root", "timestamp", "snapshot", "targets"]
    assert board.versions() == all_at(2)


def test_an_initial_root_that_is_not_signed_or_not_complete_asks_nothing(
    board: Board, repository: Repository
) -> None:
    document = json.loads(repository.anchor)
    signature = document["signatures"][0]["sig"]
    document["signatures"][0]["sig"] = signature[:-2] + ("01" if signature[-2:] == "00" else "00")
    assert board.init(json.dumps(document).encode()) == "tuf-threshold"
    assert board.refresh() == "tuf-root"
    # Also when somebody put it where the trusted one should be.
    (board.metadata / "root.json").write_bytes(json.dumps(document).encode())
    assert board.refresh() == "tuf-threshold"
    del document["signed"]["version"]
    (board.metadata / "root.json").write_bytes(json.dumps(document).encode())
    assert board.refresh() == "tuf-format"
    assert repository.take_requests() == []


EXPIRED: list[tuple[str, dict[str, int]]] = [
    ("root", {"root": 2, "timestamp": 1, "snapshot": 1, "targets": 1}),
    ("timestamp", {"root": 2, "timestamp": 1, "snapshot": 1, "targets": 1}),
    ("snapshot", {"root": 2, "timestamp": 2, "snapshot": 1, "targets": 1}),
    ("targets", {"root": 2, "timestamp": 2, "snapshot": 2, "targets": 1}),
]


@pytest.mark.parametrize(("role", "left"), EXPIRED)
def test_expired_metadata_is_a_freeze(
    ready: Board, repository: Repository, role: str, left: dict[str, int]
) -> None:
    repository.metadata(role).signed.expires = repository.now - timedelta(seconds=1)
    repository.publish("root", *ONLINE)
    assert ready.refresh() == "tuf-expired"
    assert ready.versions() == left


def test_time_is_the_system_clocks(ready: Board) -> None:
    assert ready.refresh(days=29.9) == ""
    assert ready.refresh(days=30.1) == "tuf-expired"


def test_only_the_last_root_must_be_fresh(ready: Board, repository: Repository) -> None:
    expires = repository.root.expires
    repository.root.expires = repository.now - timedelta(days=1)
    repository.publish("root")
    repository.root.expires = expires
    repository.publish("root")
    assert ready.refresh() == ""
    assert ready.versions()["root"] == 3


def test_expired_files_of_its_own_still_lead_to_newer_ones(
    board: Board, repository: Repository
) -> None:
    expires = repository.timestamp.expires
    repository.timestamp.expires = repository.now + timedelta(days=7)
    repository.snapshot.expires = repository.now + timedelta(days=7)
    repository.publish("snapshot", "timestamp")
    board.init()
    assert board.refresh() == ""
    assert board.refresh(days=8) == "tuf-expired"
    repository.timestamp.expires = repository.snapshot.expires = expires
    repository.publish(*ONLINE)
    assert board.refresh(days=8) == ""
    assert board.versions() == {"root": 1, "timestamp": 3, "snapshot": 3, "targets": 2}
    # ... and still guard against going back.
    repository.timestamp.version = 1
    repository.publish("timestamp")
    assert board.refresh(days=20) == "tuf-rollback"


@pytest.mark.parametrize("hashes", [False, True], ids=["plain", "hashes"])
@pytest.mark.parametrize("role", ONLINE)
def test_going_back_is_refused(
    ready: Board, repository: Repository, role: str, hashes: bool
) -> None:
    repository.hashes = hashes
    repository.publish(*ONLINE)
    repository.publish(*ONLINE)
    assert ready.refresh() == ""
    before = [ready.stored(name) for name in ONLINE]
    repository.metadata(role).signed.version = 1
    repository.publish(*ONLINE[ONLINE.index(role) :])
    assert ready.refresh() == "tuf-rollback"
    assert ready.stored("snapshot") == before[1]
    assert ready.stored("targets") == before[0]
    if role != "targets":
        assert ready.stored("timestamp") == before[2]


def test_a_root_of_another_version_is_refused(ready: Board, repository: Repository) -> None:
    repository.root.version = 2
    repository.publish("root")  # version 3
    repository.place("root", 2, repository.published["root"])
    assert ready.refresh() == "tuf-version"
    repository.place("root", 2, repository.anchor)
    assert ready.refresh() == "tuf-rollback"
    assert ready.stored("root") == repository.anchor


def test_a_file_cannot_leave_the_snapshot(ready: Board, repository: Repository) -> None:
    repository.delegate("targets", "a")
    repository.publish("a", *ONLINE)
    assert ready.refresh() == ""
    del repository.snapshot.meta["a.json"]
    repository.publish("snapshot", "timestamp")
    assert ready.refresh() == "tuf-rollback"
    assert ready.versions()["snapshot"] == 2


def test_the_same_timestamp_version_keeps_the_old_one(
    ready: Board, repository: Repository
) -> None:
    repository.timestamp.snapshot_meta.version = 100
    repository.publish("timestamp", bump=False)
    before = ready.stored("timestamp")
    assert ready.refresh() == ""
    assert repository.take_requests() == ["2.root", "timestamp"]
    assert ready.stored("timestamp") == before


@pytest.mark.parametrize(
    ("role", "kept"), [("snapshot", ("snapshot", "targets")), ("targets", ("targets",))]
)
def test_another_version_than_listed_is_refused(
    ready: Board, repository: Repository, role: str, kept: tuple[str, ...]
) -> None:
    repository.publish(*ONLINE)
    message = repository.metadata(role)
    message.signed.version += 1
    for key in repository.signers[role]:
        message.sign(key, append=True)
    repository.place(role, 2, message.to_bytes())
    assert ready.refresh() == "tuf-version"
    assert {name: ready.versions()[name] for name in kept} == dict.fromkeys(kept, 1)


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_other_bytes_than_listed_are_refused(
    ready: Board, repository: Repository, role: str
) -> None:
    repository.hashes = True
    repository.publish(*ONLINE)
    good = repository.published[role]
    repository.place(role, 2, good + b" ")
    assert ready.refresh() == "tuf-length"
    repository.place(role, 2, good.replace(b"\n", b" ", 1))
    assert ready.refresh() == "tuf-hash"
    assert ready.versions()[role] == 1
    repository.place(role, 2, good)
    assert ready.refresh() == ""
    assert ready.versions()[role] == 2


def test_mix_and_match_is_refused(ready: Board, repository: Repository) -> None:
    """An old snapshot beside a new timestamp, a targets file of another set: none is taken."""
    repository.hashes = True
    repository.publish(*ONLINE)
    old = {role: repository.published[role] for role in ONLINE}
    repository.publish(*ONLINE)
    for role in ("snapshot", "targets"):
        good = repository.published[role]
        repository.place(role, 3, old[role])
        assert ready.refresh() in ("tuf-hash", "tuf-length")
        repository.place(role, 3, good)
    assert ready.refresh() == ""


@pytest.mark.parametrize("role", ONLINE)
def test_a_missing_file_is_an_error(ready: Board, repository: Repository, role: str) -> None:
    repository.publish(*ONLINE)
    del repository.files[f"metadata/{'' if role == 'timestamp' else '2.'}{role}.json"]
    assert ready.refresh() == "not-found"
    assert ready.versions()[role] == 1


@pytest.mark.parametrize("role", ["root", *ONLINE])
def test_a_role_of_another_type_is_refused(
    ready: Board, repository: Repository, role: str
) -> None:
    """A file that says it is another role's, though the right keys signed it."""
    repository.publish("root", *ONLINE)
    other = "snapshot" if role != "snapshot" else "timestamp"
    document = json.loads(repository.published[role])
    document["signed"]["_type"] = other
    repository.resign(role, document)
    assert ready.refresh() == "tuf-format"
    assert ready.versions()[role] == 1


BROKEN: list[tuple[str, Any, str]] = [
    ("version", "2", "tuf-format"),
    ("version", True, "tuf-format"),
    ("version", -2, "tuf-format"),
    ("version", 0, "tuf-format"),
    ("version", 10**30, "tuf-format"),
    ("version", None, "tuf-format"),
    ("expires", 17, "tuf-format"),
    ("expires", "2099-13-01T00:00:00Z", "tuf-format"),
    ("expires", "2099-02-29T00:00:00Z", "tuf-format"),
    ("expires", "2099-01-01T00:00:00", "tuf-format"),
    ("expires", "2099-01-01 00:00:00Z", "tuf-format"),
    ("expires", "٢٠٩٩-01-01T00:00:00Z", "tuf-format"),
    ("spec_version", "2.0.0", "tuf-spec"),
    ("spec_version", "1", "tuf-format"),
    ("spec_version", "1.x", "tuf-format"),
    ("spec_version", 1, "tuf-format"),
    ("meta", [], "tuf-format"),
    ("meta", {}, "tuf-format"),
    ("meta", {"snapshot.json": {}}, "tuf-format"),
    ("meta", {"snapshot.json": {"version": 1, "length": -1}}, "tuf-format"),
    ("meta", {"snapshot.json": {"version": 1, "hashes": {}}}, "tuf-format"),
    ("meta", {"snapshot.json": {"version": 1, "hashes": {"sha256": "xy"}}}, "tuf-format"),
    ("meta", {"snapshot.json": 1}, "tuf-format"),
]


@pytest.mark.parametrize(("field", "value", "code"), BROKEN)
def test_fields_have_their_types(
    board: Board, repository: Repository, field: str, value: Any, code: str
) -> None:
    board.init()
    document = json.loads(repository.published["timestamp"])
    document["signed"][field] = value
    repository.resign("timestamp", document)
    assert board.refresh() == code
    assert board.versions() == {"root": 1}


@pytest.mark.parametrize(
    ("listed", "code"),
    [({"hashes": {"md5": "00"}}, "tuf-hash"), ({"length": 10**9}, "tuf-length")],
)
def test_what_cannot_be_checked_or_is_too_long_is_not_fetched_for_long(
    board: Board, repository: Repository, listed: dict[str, Any], code: str
) -> None:
    board.init()
    document = json.loads(repository.published["timestamp"])
    document["signed"]["meta"]["snapshot.json"].update(listed)
    repository.resign("timestamp", document)
    assert board.refresh() == code
    assert board.versions() == {"root": 1, "timestamp": 1}


def test_rotations_in_one_refresh_are_capped(ready: Board, repository: Repository) -> None:
    """The board goes on where it stopped; it is never kept busy without end."""
    for _ in range(300):
        repository.publish("root")
    assert ready.refresh() == ""
    assert ready.versions()["root"] == 257
    assert ready.refresh() == ""
    assert ready.versions()["root"] == 301


def test_recovery_from_fast_forward(ready: Board, repository: Repository) -> None:
    repository.timestamp.version = repository.snapshot.version = 999
    repository.targets["targets"].version = 999
    repository.publish(*ONLINE)
    assert ready.refresh() == ""
    assert ready.versions()["snapshot"] == 1000
    for role in ONLINE:
        repository.metadata(role).signed.version = 1
    repository.publish(*ONLINE)
    assert ready.refresh() == "tuf-rollback"
    # The keys that signed those versions are withdrawn: the versions are forgotten with them.
    repository.set_keys("timestamp", [signer(11)])
    repository.set_keys("snapshot", [signer(12)])
    repository.publish("root", *ONLINE)
    assert ready.refresh() == ""
    assert ready.versions() == {"root": 2, "timestamp": 3, "snapshot": 3, "targets": 3}


def test_recovery_when_only_one_key_is_withdrawn(ready: Board, repository: Repository) -> None:
    """Both files go, as 5.3.11 says, also where the new root would still accept the old one."""
    repository.set_keys("snapshot", [signer(2), signer(12)])
    repository.snapshot.version = repository.targets["targets"].version = 999
    repository.publish("root", *ONLINE)
    assert ready.refresh() == ""
    repository.set_keys("snapshot", [signer(12)])
    repository.snapshot.version = repository.targets["targets"].version = 1
    repository.publish("root", *ONLINE)
    assert ready.refresh() == ""
    assert ready.versions()["targets"] == 2
