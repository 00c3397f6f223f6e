# SPDX-License-Identifier: MIT
"""The board's TUF client on MicroPython: targets are what was signed, or are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tuf_repository import ONLINE, TUF_CLIENT, Board, Repository, served

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


def targets_asked(repository: Repository) -> list[str]:
    asked = [path for path in repository.requests if path.startswith("targets/")]
    repository.requests.clear()
    return [path.removeprefix("targets/") for path in asked]


@pytest.mark.parametrize("path", ["file.txt", "path/to/a/file.txt"])
def test_a_target_is_fetched_by_its_hash_once(
    board: Board, repository: Repository, path: str
) -> None:
    target = repository.add_target("targets", path, b"content")
    repository.publish(*ONLINE)
    assert board.download(path) == ""
    folder, slash, name = path.rpartition("/")
    assert targets_asked(repository) == [f"{folder}{slash}{target.hashes['sha256']}.{name}"]
    assert board.contents() == [b"content"]
    assert board.download(path) == ""
    assert targets_asked(repository) == []


def test_without_consistent_snapshots_a_target_has_its_own_name(
    board: Board, repository: Repository
) -> None:
    repository.root.consistent_snapshot = False
    repository.add_target("targets", "a/b", b"content")
    repository.publish("root", *ONLINE)
    assert board.download("a/b") == ""
    assert targets_asked(repository) == ["a/b"]


@pytest.mark.parametrize("path", ["\U0001f600/\xfc.bin", "a/" + "long" * 80])
def test_a_name_may_be_unusual(board: Board, repository: Repository, path: str) -> None:
    """Beyond U+FFFF, where MicroPython's JSON has no escapes; longer than a file's name may be."""
    repository.add_target("targets", path, b"content")
    repository.publish(*ONLINE)
    assert board.download(path) == ""
    assert board.contents() == [b"content"]
    assert targets_asked(repository)
    assert board.download(path) == ""
    assert targets_asked(repository) == []


def test_the_client_runs_from_anywhere(
    board: Board, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a link, from a folder with a space, with nothing but PATH, into new folders."""
    link = tmp_path / "a folder" / "client"
    link.parent.mkdir()
    link.symlink_to(TUF_CLIENT)
    repository.add_target("targets", "a", b"content")
    repository.publish(*ONLINE)
    (link.parent / "root.json").write_bytes(repository.anchor)
    monkeypatch.chdir(link.parent)
    common = [str(link), "--metadata-dir", "new/deep/metadata"]
    urls = ["--metadata-url", board.url + "/metadata", "--target-base-url", board.url + "/targets"]
    order = ["--target-name", "a", "--target-dir", "new/deep/targets", "download"]
    only_path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in [*common, "init", "root.json"], [*common, *urls, *order]:
        done = subprocess.run(command, env=only_path, capture_output=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")
    assert (link.parent / "new/deep/targets/a").read_bytes() == b"content"


def test_several_targets_come_in_order(board: Board, repository: Repository) -> None:
    for name in ("c", "a", "b"):
        repository.add_target("targets", name, name.encode())
    repository.publish(*ONLINE)
    assert board.download("c", "a", "b", "a") == ""
    assert [name[-1] for name in targets_asked(repository)] == ["c", "a", "b"]
    assert board.download("a", "missing", "b") == "tuf-unknown"


def test_a_file_that_changed_on_the_board_is_fetched_again(
    board: Board, repository: Repository
) -> None:
    repository.add_target("targets", "a", b"content")
    repository.publish(*ONLINE)
    assert board.download("a") == ""
    [path] = board.downloads.iterdir()
    path.write_bytes(b"CONTENT")
    assert board.download("a") == ""
    assert board.contents() == [b"content"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"evil!!!", "tuf-hash"),
        (b"content and more", "tuf-length"),
        (b"cont", "tuf-length"),
        (b"", "tuf-length"),
    ],
)
def test_other_content_is_refused(
    board: Board, repository: Repository, data: bytes, code: str
) -> None:
    repository.add_target("targets", "a", b"content")
    repository.publish(*ONLINE)
    for path in list(repository.files):
        if path.startswith("targets/"):
            repository.files[path] = data
    assert board.download("a") == code
    assert board.contents() == []


def test_new_content_takes_the_place_of_the_old(board: Board, repository: Repository) -> None:
    for number in range(3):
        repository.add_target("targets", "a", b"content %d" % number)
        repository.publish(*ONLINE)
        assert board.download("a") == ""
        assert board.contents() == [b"content %d" % number]


@pytest.mark.parametrize("hashes", [("sha256",), ("sha512",), ("sha256", "sha512")])
def test_hash_algorithms(board: Board, repository: Repository, hashes: tuple[str, ...]) -> None:
    target = repository.add_target("targets", "a", b"content" * 100, hashes)
    repository.publish(*ONLINE)
    assert board.download("a") == ""
    [asked] = targets_asked(repository)
    assert asked.partition(".")[0] in target.hashes.values()
    assert board.contents() == [b"content" * 100]
    # Each one counts.
    for name in hashes:
        document = json.loads(repository.published["targets"])
        digest = document["signed"]["targets"]["a"]["hashes"][name]
        document["signed"]["targets"]["a"]["hashes"][name] = digest[:-2] + "00"
        data = repository.files[f"targets/{asked}"]
        repository.files["targets/" + digest[:-2] + "00.a"] = data
        repository.resign("targets", document)
        (board.metadata / "targets.json").unlink()
        assert board.download("a") == "tuf-hash"


def test_a_target_with_no_known_hash_is_refused(board: Board, repository: Repository) -> None:
    target = repository.add_target("targets", "a", b"content")
    target.hashes = {"unknown": target.hashes["sha256"]}
    repository.publish(*ONLINE)
    assert board.download("a") == "tuf-hash"
    assert board.contents() == []


BROKEN: list[dict[str, Any]] = [
    {"length": -1},
    {"length": "7"},
    {"length": True},
    {"length": None},
    {"hashes": {}},
    {"hashes": []},
    {"hashes": {"sha256": 5}},
    {"hashes": {"sha256": "00"}},
]


@pytest.mark.parametrize("change", BROKEN)
def test_fields_have_their_types(
    board: Board, repository: Repository, change: dict[str, Any]
) -> None:
    repository.add_target("targets", "a", b"content")
    repository.publish(*ONLINE)
    document = json.loads(repository.published["targets"])
    document["signed"]["targets"]["a"].update(change)
    repository.resign("targets", document)
    assert board.download("a") == "tuf-format"


@pytest.mark.parametrize("path", ["../a", "/etc/a", "a//b", "a/./b", ".."])
def test_paths_that_lead_elsewhere_are_refused(
    board: Board, repository: Repository, path: str
) -> None:
    repository.add_target("targets", path, b"content")
    repository.publish(*ONLINE)
    assert board.download(path) == "tuf-path"
    assert targets_asked(repository) == []


def test_large_metadata(board: Board, repository: Repository) -> None:
    """Thousands of targets, which the conformance build's caps allow and a board's do not."""
    for number in range(3000):
        repository.add_target("targets", f"folder/file-{number}.bin", b"%d" % number)
    repository.publish(*ONLINE)
    assert len(repository.published["targets"]) > 400_000
    assert board.download("folder/file-2999.bin") == ""
    assert board.contents() == [b"2999"]
