# SPDX-License-Identifier: MIT
"""The repository: staged, signed, published, and read by python-tuf's client."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_release_firmware import app_image
from tuf.api.exceptions import RepositoryError

from fleetling import device
from fleetling.errors import FleetlingError
from fleetling.release import files
from fleetling.release.keys import CryptoSigner, Key, make_signer
from fleetling.release.repository import Repository
from fleetling.release.verify import updater
from fleetling.release.words import read_path

NOW = 1_795_000_000
ROLES = ("root", "targets", "snapshot", "timestamp")


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


class Cut(Exception):
    """The power went."""


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
