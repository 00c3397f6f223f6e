# SPDX-License-Identifier: MIT
"""The repository: staged, signed, published, and read by python-tuf's client."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_release_firmware import app_image
from tuf.api.exceptions import RepositoryError

from fleetling import device, files
from fleetling.errors import FleetlingError
from fleetling.release.keys import CryptoSigner, Key, make_signer
from fleetling.release.limits import board_limits
from fleetling.release.repository import Repository
from fleetling.release.verify import updater, verify
from fleetling.release.words import read_path

NOW = 1_795_000_000
ROLES = ("root", "targets", "snapshot", "timestamp")


class Cut(Exception):
    """The power went."""


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> float:
        return self.time

    def days(self, days: float) -> None:
        self.time += int(days * 86400)


def new_keys() -> dict[str, list[CryptoSigner]]:
    return {role: [make_signer()] for role in ROLES}


def slot(version: str, text: str = "", security: int = 0) -> dict[str, bytes]:
    found = {"app.py": f"# {version} {text}\nasync def main(task): pass\n".encode()}
    return {**found, "manifest.json": device.manifest(version, found, security)}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys() -> dict[str, list[CryptoSigner]]:
    return new_keys()


@pytest.fixture
def repository(tmp_path: Path, keys: dict[str, list[CryptoSigner]], clock: Clock) -> Repository:
    made = Repository.create(tmp_path / "repository", keys, clock=clock)
    made.publish()
    return made


def published(repository: Repository) -> dict[str, bytes]:
    folder = repository.store.folder
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for part in ("metadata", "targets")
        for path in (folder / part).rglob("*")
        if path.is_file()
    }


def test_a_release_from_build_to_publication(repository: Repository) -> None:
    base, image = app_image(60_000), bytearray(app_image(60_000))
    first = repository.add_firmware("esp32", "1.25.0", base, chip="esp32")
    image[:] = app_image(60_000, banner=b"changed ")
    path = repository.add_app("pump", slot("1.2.0", security=3), requires={"agent": "0.1"})
    second = repository.add_firmware(
        "esp32", "1.26.0", bytes(image), bases=[base], chip="esp32", boards=("ESP32_GENERIC-OTA",)
    )
    assert (path, first, second) == ("pump/1.2.0.app", "esp32/1.25.0.fw", "esp32/1.26.0.fw")
    assert set(repository.publish()) == {"targets", "pump", "esp32"}
    assert not repository.publish()
    there = published(repository)
    assert {name for name in there if name.startswith("metadata/")} == {
        *("metadata/1.root.json", "metadata/timestamp.json", "metadata/1.targets.json"),
        *("metadata/2.targets.json", "metadata/1.snapshot.json", "metadata/2.snapshot.json"),
        *("metadata/1.pump.json", "metadata/1.esp32.json"),
    }
    document = json.loads(there["metadata/1.pump.json"])["signed"]
    words = document["targets"]["pump/1.2.0.app"]["custom"]
    assert words["security"] == 3 and words["requires"] == {"agent": "0.1"}
    assert words["built"] == NOW and words["files"] == 1 and "mpy" not in words
    role = json.loads(there["metadata/2.targets.json"])["signed"]["delegations"]["roles"][1]
    assert (role["name"], role["paths"], role["terminating"]) == ("pump", ["pump/*"], True)
    deltas = [name for name in repository.releases("esp32") if name.endswith(".delta")]
    assert len(deltas) == 1 and read_path(deltas[0]).version == "1.26.0"
    assert b": " not in there["metadata/1.pump.json"]


def test_what_is_built_twice_is_staged_once(repository: Repository, clock: Clock) -> None:
    repository.add_app("pump", slot("1.0.0", "first"))
    repository.add_app("pump", slot("1.0.0", "second"))
    repository.publish()
    assert sum(name.startswith("targets/") for name in published(repository)) == 1
    clock.days(1)
    repository.add_app("pump", slot("1.0.0", "second"))
    assert not repository.publish()
    with pytest.raises(FleetlingError, match="published, with other content"):
        repository.add_app("pump", slot("1.0.0", "third"))


@pytest.mark.parametrize(
    ("version", "security", "words"),
    [
        ("1.1", 1, "same version as 1.1.0"),
        ("1.2.0", 0, "must never sink|security counter 0"),
        ("1.0.0", 2, "security counter 2"),
        ("1.02.0", 1, "is no version"),
        ("1.2.0-rc1", 1, "is no version"),
        ("100000", 1, "is no version"),
        ("1.2.3.4.5", 1, "is no version"),
        ("99999.99999.99999.999", 1, "is no version"),
    ],
)
def test_a_version_that_boards_would_refuse(
    repository: Repository, version: str, security: int, words: str
) -> None:
    repository.add_app("pump", slot("1.1.0", security=1))
    before = repository.store.staged_role("pump")
    with pytest.raises(FleetlingError, match=words):
        repository.add_app("pump", slot(version, security=security))
    assert repository.store.staged_role("pump") == before


@pytest.mark.parametrize("name", ["", "Pump", "a" * 25, "root", "timestamp", "a/b", "..", "a_b"])
def test_a_product_name_that_cannot_be(repository: Repository, name: str) -> None:
    with pytest.raises(FleetlingError):
        repository.add_app(name, slot("1.0.0"))
    assert not repository.store.staged_roles()


def test_yanked_means_gone_and_never_again(repository: Repository) -> None:
    base, image = app_image(60_000), app_image(60_000, banner=b"changed ")
    repository.add_firmware("esp32", "1.0", base, chip="esp32")
    repository.add_firmware("esp32", "1.1", image, bases=[base], chip="esp32")
    repository.publish()
    assert len(repository.releases("esp32")) == 3
    gone = repository.yank("esp32", "1.1")
    assert len(gone) == 2
    repository.publish()
    assert list(repository.releases("esp32")) == ["esp32/1.0.fw"]
    assert sum(name.startswith("targets/") for name in published(repository)) == 1
    with pytest.raises(FleetlingError, match="published and yanked"):
        repository.add_firmware("esp32", "1.1", image, chip="esp32")
    with pytest.raises(FleetlingError, match=r"no release 1\.1") as refused:
        repository.yank("esp32", "1.1")
    assert refused.value.hint.endswith("1.0.")
    # A board that runs it still gets away from it by a delta.
    better = app_image(60_000, banner=b"better  ")
    running = repository.image(hashlib.sha256(image).hexdigest())
    assert running == image
    repository.add_firmware("esp32", "1.2", better, bases=[running], chip="esp32")
    assert len(repository.releases("esp32")) == 3


@pytest.mark.parametrize("name", ["timestamp", "1.snapshot", "1.targets", "1.root"])
def test_metadata_in_the_place_of_another_is_named(repository: Repository, name: str) -> None:
    folder = repository.store.metadata
    other = "timestamp" if name == "1.root" else "1.root"
    shutil.copy(folder / f"{other}.json", folder / f"{name}.json")
    with pytest.raises(
        FleetlingError, match=rf"{name}\.json is metadata of {other.removeprefix('1.')}"
    ):
        for role in ROLES:
            repository.store.published(role)
    with pytest.raises(FleetlingError):
        repository.add_app("pump", slot("1.0.0"))
        repository.publish()


def test_a_yanked_version_is_that_one_and_no_other(repository: Repository) -> None:
    for version in ("2.1.0", "3.1"):
        repository.add_app("pump", slot(version))
        repository.publish()
        repository.yank("pump", version)
        repository.publish()
    for version in ("1.0", "1.0.0", "1"):  # the numbers that those end in
        assert repository.add_app("pump", slot(version)) == f"pump/{version}.app"
        repository.yank("pump", version)
    for version in ("2.1.0", "2.1", "3.1.0.0"):
        with pytest.raises(FleetlingError, match="published and yanked"):
            repository.add_app("pump", slot(version, "other"))


def cut_at(monkeypatch: pytest.MonkeyPatch, repository: Repository, name: str) -> None:
    """A publication whose power goes before it writes a file with this name, or tidies."""
    real = files.write_whole

    def write_whole(path: Path, data: bytes) -> None:
        if path.name == name:
            raise Cut
        real(path, data)

    def tidy() -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_whole", write_whole)
        patch.setattr(repository.store, "tidy", tidy)
        with pytest.raises(Cut):
            repository.publish()


def test_a_yanked_version_whose_publication_was_cut_is_never_made_again(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.add_app("pump", slot("1.0.0"))
    repository.publish()
    repository.yank("pump", "1.0.0")
    cut_at(monkeypatch, repository, "")  # its end is published, and its file still there
    for version in ("1.0.0", "1.0"):
        with pytest.raises(FleetlingError, match="published and yanked"):
            repository.add_app("pump", slot(version, "other"))
    repository.publish()
    with pytest.raises(FleetlingError, match="published and yanked"):
        repository.add_app("pump", slot("1.0.0", "other"))


def test_what_was_never_published_does_not_count_as_yanked(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.add_app("pump", slot("1.0.0"))
    repository.publish()
    repository.add_app("pump", slot("1.1.0"))
    cut_at(monkeypatch, repository, "timestamp.json")  # no board has heard of it
    repository.yank("pump", "1.1.0")
    repository.add_app("pump", slot("1.1.0", "better"))
    repository.yank("pump", "1.1.0")
    repository.publish()
    assert not list(repository.store.yanked.rglob("*.app"))
    repository.add_app("pump", slot("1.1.0", "best"))
    repository.publish()
    assert sum(name.startswith("targets/") for name in published(repository)) == 2


def test_two_halves_of_a_threshold_sign_apart(tmp_path: Path, clock: Clock) -> None:
    keys = new_keys()
    second = make_signer()
    shared: dict[str, list[CryptoSigner | Key]] = {role: [*row] for role, row in keys.items()}
    shared["targets"].append(second.public_key)
    folder = tmp_path / "repository"
    made = Repository.create(folder, shared, {"targets": 2}, clock=clock)
    with pytest.raises(FleetlingError, match="targets is signed by 1 of 2 keys"):
        made.publish()
    assert [each.complete for each in made.signatures()] == [True, False]
    Repository(folder, [second], clock=clock).sign()
    online = [keys["snapshot"][0], keys["timestamp"][0]]
    publisher = Repository(folder, online, clock=clock)
    assert set(publisher.publish()) == {"root", "targets"}
    publisher.add_app("pump", slot("1.0.0"))
    with pytest.raises(FleetlingError, match="0 of 2 keys"):
        publisher.publish()
    with pytest.raises(FleetlingError, match="keys of snapshot"):
        other = Repository(folder, [keys["targets"][0], second], clock=clock)
        other.publish()
    assert set(publisher.publish()) == {"targets", "pump"}


def test_a_publication_that_is_cut_anywhere_can_be_repeated(
    tmp_path: Path,
    keys: dict[str, list[CryptoSigner]],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cut before and after each change on the disk; a board sees the old state or the new."""
    operations = ("write_whole", "move", "remove")
    real = {name: getattr(files, name) for name in operations}
    left = 0

    def cutting(name: str) -> Callable[..., None]:
        def operation(*arguments: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Cut
            real[name](*arguments)
            left -= 1
            if left == 0:
                raise Cut

        return operation

    prepared = tmp_path / "prepared"
    made = Repository.create(prepared, keys, clock=clock)
    made.add_app("pump", slot("1.0.0"))
    made.publish()
    anchor = (prepared / "metadata/1.root.json").read_bytes()
    made.yank("pump", "1.0.0")
    made.add_app("pump", slot("1.1.0"))
    made.add_app("fan", slot("1.0.0"))
    new = make_signer()
    made.rotate("timestamp", new.public_key)
    signers = [*made.signers.values(), new]
    Repository(prepared, signers, clock=clock).sign()
    for name in operations:
        monkeypatch.setattr(files, name, cutting(name))
    cuts = 0
    while True:
        cuts += 1
        folder = tmp_path / str(cuts)
        shutil.copytree(prepared, folder)
        left = cuts
        try:
            Repository(folder, signers, clock=clock).publish()
        except Cut:
            left = 0
        else:
            break
        old, fresh = client_sees(folder, anchor, clock)
        assert (old, fresh) in [(True, False), (False, True), (False, False)]
        # Only between the new root and its timestamp does nobody get through.
        roots, times = (folder / "metadata/2.root.json").exists(), version_of(folder, "timestamp")
        assert (old or fresh) or (roots and times == 1)
        Repository(folder, signers, clock=clock).publish()
        assert client_sees(folder, anchor, clock) == (False, True)
        assert not list((folder / "staged").rglob("*.*"))
        assert not Repository(folder, signers, clock=clock).publish()
    assert cuts > 30


def version_of(folder: Path, role: str) -> int:
    found = json.loads((folder / f"metadata/{role}.json").read_bytes())["signed"]["version"]
    return int(found)


def client_sees(folder: Path, anchor: bytes, clock: Clock) -> tuple[bool, bool]:
    """Whether python-tuf's client gets pump 1.0.0, and pump 1.1.0 with fan 1.0.0."""
    with tempfile.TemporaryDirectory() as name:
        client = updater(folder, Path(name), anchor, clock())
        try:
            client.refresh()
        except RepositoryError:
            return False, False
        found = {}
        for path in ("pump/1.0.0.app", "pump/1.1.0.app", "fan/1.0.0.app"):
            target = client.get_targetinfo(path)
            if target is not None:
                client.download_target(target, name + "/file")
            found[path] = target is not None
    assert found["pump/1.1.0.app"] == found["fan/1.0.0.app"]
    return found["pump/1.0.0.app"], found["pump/1.1.0.app"]


def test_every_role_is_rotated_and_old_clients_follow(
    repository: Repository, tmp_path: Path, clock: Clock
) -> None:
    folder = repository.store.folder
    anchor = (folder / "metadata/1.root.json").read_bytes()
    own = make_signer()
    repository.set_product("fan", [own.public_key])
    repository.signers[own.public_key.keyid] = own
    repository.add_app("pump", slot("1.0.0"))
    repository.add_app("fan", slot("1.0.0"))
    repository.publish()
    for number, role in enumerate((*ROLES, "pump", "fan"), 1):
        old = dict(repository.signers)
        new = make_signer()
        repository.rotate(role, new.public_key, "")
        with pytest.raises(FleetlingError, match=r"signed by 0 of 1|keys of"):
            repository.publish()
        repository.signers[new.public_key.keyid] = new
        repository.publish()
        gone = [key for key in old if not uses(repository, key)]
        assert len(gone) == (role != "pump"), role  # pump shares the key of targets
        for key in gone:
            del repository.signers[key]
        repository.add_app("pump", slot(f"1.{number}.0"))
        repository.add_app("fan", slot(f"1.{number}.0"))
        repository.publish()
        checked = verify(repository)
        assert not checked.problems and checked.targets == 2 + 2 * number
        client = updater(folder, tmp_path / role, anchor, clock())
        client.refresh()
        assert client.get_targetinfo(f"fan/1.{number}.0.app") is not None
    assert repository.store.root_versions() == [1, 2, 3, 4, 5]


def uses(repository: Repository, key: str) -> bool:
    root, targets = repository.required("root").signed, repository.required("targets").signed
    return key in root.keys or key in targets.delegations.keys


def test_one_key_of_several_has_to_be_named(tmp_path: Path, clock: Clock) -> None:
    keys = new_keys()
    keys["root"].append(make_signer())
    made = Repository.create(tmp_path, keys, clock=clock)
    made.publish()
    with pytest.raises(FleetlingError, match="root has the keys"):
        made.rotate("root", make_signer().public_key)
    old = keys["root"][1].public_key.keyid
    made.rotate("root", make_signer().public_key, old[:8])
    made.publish()
    assert old not in made.required("root").signed.roles["root"].keyids
    with pytest.raises(FleetlingError, match="no product 'pump'"):
        made.rotate("pump", make_signer().public_key)


def test_verify_finds_a_flipped_byte_in_any_file(repository: Repository) -> None:
    base, image = app_image(9000), app_image(9000, banner=b"changed ")
    repository.add_firmware("esp32", "1.0", base, chip="esp32")
    repository.add_firmware("esp32", "1.1", image, bases=[base], chip="esp32")
    repository.add_app("pump", slot("1.0.0"))
    repository.publish()
    repository.rotate("snapshot", (new := make_signer()).public_key)
    repository.signers[new.public_key.keyid] = new
    repository.publish()
    assert not verify(repository).problems
    rng = random.Random(1)
    for part in (repository.store.metadata, repository.store.targets):
        for path in [each for each in part.rglob("*") if each.is_file()]:
            good = path.read_bytes()
            places = {0, len(good) - 1, *(rng.randrange(len(good)) for _ in range(12))}
            for at in places:
                for bit in (0x01, 0x20):
                    bad = bytearray(good)
                    bad[at] ^= bit
                    path.write_bytes(bad)
                    assert verify(repository).problems, (path.name, at, bit)
            path.unlink()
            old = path.name in ("1.snapshot.json", "2.snapshot.json", "1.targets.json")
            assert old or verify(repository).problems, path.name
            path.write_bytes(good)
            (path.parent / "more").write_bytes(b"x")
            assert verify(repository).problems
            (path.parent / "more").unlink()
    assert not verify(repository).problems


def test_what_has_run_out_is_found_and_renewed(repository: Repository, clock: Clock) -> None:
    repository.add_app("pump", slot("1.0.0"))
    repository.publish()
    clock.days(2)
    before = published(repository)
    repository.refresh()
    assert {name for name, data in published(repository).items() if before.get(name) != data} == {
        "metadata/timestamp.json"
    }
    clock.days(2)
    assert not verify(repository).problems
    clock.days(4)
    assert "expired" in verify(repository).problems[0]
    repository.refresh()
    assert not verify(repository).problems
    assert repository.store.published("snapshot").signed.version == 3  # type: ignore[union-attr]
    clock.days(90)
    assert repository.renew() == ["targets", "pump"]
    assert set(repository.publish()) == {"targets", "pump"}
    clock.days(170)
    repository.refresh()
    assert not verify(repository).problems
    clock.days(20)
    repository.refresh()
    assert any("expired" in each for each in verify(repository).problems)
    repository.renew()
    repository.publish()
    assert not verify(repository).problems


def test_limits_of_boards_hold_here(tmp_path: Path, clock: Clock) -> None:
    limits = board_limits()
    assert limits["targets"] == 32768 and limits["roles"] == 64
    keys = new_keys()
    keys["root"] += [make_signer() for _ in range(limits["keys"])]
    with pytest.raises(FleetlingError, match="17 keys, and boards read 16"):
        Repository.create(tmp_path / "a", keys, clock=clock)
    for threshold in (0, 2):
        with pytest.raises(FleetlingError, match=f"threshold of {threshold}"):
            Repository.create(tmp_path / "b", new_keys(), {"root": threshold}, clock=clock)
    made = Repository.create(tmp_path / "c", new_keys(), clock=clock)
    made.publish()
    with pytest.raises(FleetlingError, match=r"pump has [0-9,]+ bytes, and boards read 32,768"):
        for number in range(200):
            made.add_app("pump", slot(f"1.{number}"))
    made.publish()
    assert number > 60 and len(made.releases("pump")) == number
    assert not verify(made).problems
    with pytest.raises(FleetlingError, match="63 products"):
        for number in range(70):
            made.set_product(f"p{number}")
    made.publish()
    assert not verify(made).problems


def test_only_one_changes_a_repository_at_a_time(repository: Repository) -> None:
    other = Repository(repository.store.folder, repository.signers.values())
    with repository.store.exclusive(), pytest.raises(FleetlingError, match="Another command"):
        other.refresh()


def test_what_was_published_before_a_cut_is_not_published_again(
    repository: Repository, tmp_path: Path
) -> None:
    repository.add_app("pump", slot("1.0.0"))
    repository.sign()
    staged = repository.store.staged
    shutil.copytree(staged, tmp_path / "first")
    (repository.store.staged / "metadata/pump.json").unlink()
    repository.add_app("pump", slot("1.0.0", "by another"))
    repository.sign()
    shutil.copytree(staged, tmp_path / "other")
    repository.publish()
    before = published(repository)
    # The cut came behind the timestamp: nothing is left to do.
    shutil.copytree(tmp_path / "other", staged, dirs_exist_ok=True)
    assert not repository.publish()
    assert published(repository) == before
    # Somebody else has published this version, from another stage.
    shutil.copytree(tmp_path / "first", staged, dirs_exist_ok=True)
    with pytest.raises(FleetlingError, match="was published by another"):
        repository.publish()
    assert published(repository) == before


def test_a_new_root_needs_the_old_keys(repository: Repository) -> None:
    new = make_signer()
    repository.rotate("root", new.public_key)
    old = repository.signers
    repository.signers = {new.public_key.keyid: new}
    repository.sign()
    assert [(each.done, each.complete) for each in repository.signatures()] == [(0, False)]
    repository.signers = {**old, new.public_key.keyid: new}
    assert repository.publish() == ["root"]


def test_a_staged_file_that_was_damaged_is_not_published(repository: Repository) -> None:
    path = repository.add_app("pump", slot("1.0.0"))
    file = repository.store.staged / "targets" / path
    good = file.read_bytes()
    before = published(repository)
    file.write_bytes(good[:-1] + b"x")
    with pytest.raises(FleetlingError, match="missing or damaged"):
        repository.publish()
    assert published(repository) == before
    file.write_bytes(good)
    repository.publish()
    assert not verify(repository).problems


def test_a_byte_more_is_found(repository: Repository) -> None:
    repository.add_app("pump", slot("1.0.0"))
    repository.publish()
    for path in [each for each in repository.store.folder.rglob("*.*") if "targets" in str(each)]:
        good = path.read_bytes()
        path.write_bytes(good + b"\n")
        assert verify(repository).problems, path
        path.write_bytes(good)
    for path in repository.store.metadata.iterdir():
        good = path.read_bytes()
        path.write_bytes(good + b"\n")
        assert verify(repository).problems, path
        path.write_bytes(good)


def test_a_file_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder/file"
    files.write_whole(path, b"old")

    def cut(*_: object) -> None:
        raise Cut

    for owner, name in ((os, "fsync"), (Path, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, cut)
            with pytest.raises(Cut):
                files.write_whole(path, b"new")
        assert path.read_bytes() == b"old"
        assert [each.name for each in path.parent.iterdir()] == ["file"]
    files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_what_a_cut_left_half_written_goes(repository: Repository) -> None:
    repository.add_app("pump", slot("1.0.0"))
    repository.publish()
    before = published(repository)
    for folder in ("metadata", "targets/pump", "staged/metadata", "staged/targets"):
        (repository.store.folder / folder / ".new-1").write_bytes(b"half")
    assert verify(repository).problems
    assert not repository.publish()
    assert published(repository) == before and not verify(repository).problems
    assert not list(repository.store.folder.rglob(".new-*"))
