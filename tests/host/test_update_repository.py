# SPDX-License-Identifier: MIT
"""What the repository offers, and what boards are flashed with of it."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest
from published import publish_releases
from test_cli import INIT, run
from test_home import blobs

from fleetling import home
from fleetling.errors import FleetlingError
from fleetling.fleet.state import Device
from fleetling.home import Home
from fleetling.update.fit import why_not
from fleetling.update.repository import Catalogue, Release, anchor, version_key

PATHS = ("pump/1.2.0.app", "pump/1.10.0.app", "esp32/1.26.0.fw")


@pytest.fixture
def place(tmp_path: Path) -> Home:
    (tmp_path / "fleetling.toml").write_text('name = "farm"\nrepo = "http://updates.lan/"\n')
    return Home(tmp_path)


def settings(place: Home, text: str) -> Home:
    (place.folder / "fleetling.toml").write_text(text)
    return Home(place.folder)


def test_the_newest_metadata_counts(place: Home) -> None:
    repository = publish_releases(place.folder / "repository", PATHS)
    catalogue = Catalogue(place.folder / "repository")
    assert set(catalogue.releases) == set(PATHS) and catalogue.lapsed == []
    (release,) = catalogue.find(["pump/1.2.0"])
    assert (release.path, release.kind, release.name) == ("pump/1.2.0.app", "app", "pump/1.2.0")
    assert len(catalogue.find(["pump/1.2.0", "esp32/1.26.0.fw"])) == 2
    del repository.targets["pump"].targets["pump/1.2.0.app"]  # yanked
    repository.publish("pump", "snapshot", "timestamp")
    for name, data in repository.files.items():
        if name.startswith("metadata/"):
            (place.folder / "repository" / name).write_bytes(data)
    with pytest.raises(FleetlingError, match="no release pump"):
        Catalogue(place.folder / "repository").find(["pump/1.2.0"])


def test_what_has_run_out_is_named_and_what_is_broken_too(place: Home) -> None:
    publish_releases(place.folder / "repository", PATHS)
    path = place.folder / "repository/metadata/timestamp.json"
    whole = json.loads(path.read_text())
    whole["signed"]["expires"] = "2020-01-01T00:00:00Z"
    path.write_text(json.dumps(whole))
    ((role, when),) = Catalogue(place.folder / "repository").lapsed
    assert (role, when.year) == ("timestamp", 2020)
    for broken in ("[]", "{", '{"signed":{}}'):
        path.write_text(broken)
        with pytest.raises(FleetlingError, match="makes no sense"):
            Catalogue(place.folder / "repository")
    path.unlink()
    with pytest.raises(FleetlingError, match="Nothing is published"):
        Catalogue(place.folder / "repository")


def test_the_anchor_is_the_newest_root(place: Home) -> None:
    metadata = place.folder / "repository/metadata"
    with pytest.raises(FleetlingError, match="there is no N"):
        anchor(place)
    metadata.mkdir(parents=True)
    for version in (2, 9, 10):
        (metadata / f"{version}.root.json").write_bytes(b"root %d" % version)
    (metadata / "x.root.json").write_bytes(b"no root")
    digest = hashlib.sha256(b"root 10").digest()
    assert anchor(place) == ("http://updates.lan/", struct.pack("<I", 10) + digest)
    assert anchor(settings(place, 'name = "farm"\n')) == ("", b"")
    moved = settings(place, 'repo = "http://updates.lan/"\n[release]\nrepository = "elsewhere"\n')
    with pytest.raises(FleetlingError, match="elsewhere"):
        anchor(moved)


@pytest.mark.parametrize(
    "url",
    [
        *('"updates.lan/"', '"ftp://updates.lan/"', '"http://updates.lan"', '"http:///"', "7"),
        *('"http://a b/"', '"http://u:p@host/"', '"http://host:x/"', '"http://host/?q=/"'),
        *('"http://h\\u00f6st/"', f'"http://{"h" * 128}/"'),
    ],
)
def test_an_address_that_boards_cannot_dial(place: Home, url: str) -> None:
    with pytest.raises(FleetlingError) as caught:
        anchor(settings(place, f"repo = {url}\n"))
    assert "repo" in caught.value.message and caught.value.hint
    assert "u:p" not in caught.value.message


def test_a_board_leaves_the_bench_with_both(tmp_path: Path) -> None:
    assert run(*INIT, "--no-passphrase", cwd=tmp_path).returncode == 0
    plain = run("provision", "before", cwd=tmp_path)
    assert plain.returncode == 0 and "can take no updates" in plain.stderr
    path = tmp_path / "fleetling.toml"
    text = path.read_text()
    assert '# repo = "https://updates.example/"' in text
    path.write_text(text.replace('# repo = "https://updates.example/"', 'repo = "http://u.lan/"'))
    missing = run("provision", "kitchen", cwd=tmp_path)
    assert missing.returncode == 1 and "N.root.json" in " ".join(missing.stderr.split())
    publish_releases(tmp_path / "repository", PATHS)
    done = run("provision", "kitchen", cwd=tmp_path)
    assert done.returncode == 0 and "no updates" not in done.stderr, done.stderr
    found = blobs((tmp_path / "boards/kitchen/nvs.bin").read_bytes())
    url, root = anchor(home.find(tmp_path))
    assert found["repo"] == url.encode() == b"http://u.lan/"
    assert found["root"] == root and len(root) == 36
    number = int.from_bytes(root[:4], "little")
    newest = tmp_path / f"repository/metadata/{number}.root.json"
    assert hashlib.sha256(newest.read_bytes()).digest() == root[4:]


def test_versions() -> None:
    assert version_key("1.10") > version_key("1.9.9.9") and version_key("1.2") == (1, 2, 0, 0)
    assert version_key("v1.25.0-preview.3") == (1, 25, 0, 0) and version_key("") == (0, 0, 0, 0)
    assert len(version_key("1" * 5000)) == 4  # boards say what they like


def release(path: str, **custom: object) -> Release:
    kind = "app" if path.endswith(".app") else "firmware"
    return Release(path, kind, path.partition("/")[2].rpartition(".")[0], dict(custom))


@pytest.mark.parametrize(
    ("birth", "why"),
    [
        ({}, ""),
        ({"board": "Generic ESP32 module with ESP32", "build": "X", "release": "1.2"}, ""),
        ({"board": "Generic ESP32S3 module with ESP32-S3"}, "an esp32s3"),
        ({"build": "Y"}, "this is Y"),
        ({"build": "", "board": "M with ESP32"}, ""),
        ({"build": "", "board": "M with OTA with ESP32"}, "it is a 'M with OTA with ESP32'"),
        ({"release": "1.3.1"}, "newer"),
        ({"commands": ["ping"], "agent": "0.0.1"}, "agent 0.0.1 takes no updates"),
        ({"commands": ["previous"], "board": 7, "build": None, "release": []}, ""),
    ],
)
def test_who_cannot_take_it(birth: dict[str, object], why: str) -> None:
    found = why_not(
        Device("b", birth=birth),
        [release("esp32/1.3.fw", chip="esp32", boards=["X"], machines=["M with ESP32"])],
    )
    assert (why in found) if why else (found == "")
    assert why_not(Device("b", birth={"app": "2"}), [release("pump/1.9.app")])
