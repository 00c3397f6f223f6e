# SPDX-License-Identifier: MIT
"""`release build`: what it makes of folders and files, and what it refuses before a board does."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from firmware_pairs import edited, like_firmware
from official_firmware import NotThere, official_download
from test_release_firmware import app_image
from test_release_repository import ROLES, Clock, new_keys
from tuf_repository import Board, served
from tuf_repository import Repository as Site

from fleetling import device
from fleetling.application import read_application
from fleetling.errors import FleetlingError
from fleetling.release import build
from fleetling.release.application import build_slot
from fleetling.release.bundle import unpack_app
from fleetling.release.imports import missing_imports
from fleetling.release.repository import Repository
from fleetling.release.verify import verify
from fleetling.release.words import mpy_version
from fleetling.simboard.chip import stock

APP = "import agent\n\n\nasync def main(task):\n    await task.sleep(1)\n"

VIPER = "import micropython\n@micropython.viper\ndef f(x: int) -> int:\n    return x\n"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository.create(tmp_path / "repository", new_keys())
    made.publish()
    return made


def folder_of(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def refusal(path: Path, files: dict[str, str]) -> str:
    with pytest.raises(FleetlingError) as refused:
        build_slot(folder_of(path, files), "1.0.0")
    return refused.value.message


def test_an_application_is_compiled_and_its_sources_kept(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = device.agent_files()
    few = {path: agent[path] for path in ("agent/__init__.py", "agent/runtime.py")}
    monkeypatch.setattr(device, "agent_files", lambda *_: few)
    settings = json.dumps({"rate": {"type": "float", "default": 1.0}})
    source = folder_of(
        tmp_path / "pump",
        {
            "app.py": "import agent, lib.pump\nfrom umqtt import simple\n" + APP,
            "lib/pump.py": "import machine, utime\nfrom . import valve\n",
            "lib/valve.py": "",
            "fast.py": VIPER,
            "settings.json": settings,
            "logo.bin": "x" * 5000,
            "empty.txt": "",
            ".git/config": "secret",
            "lib/__pycache__/x.pyc": "x",
            "tests/test_app.py": "import pytest",
            "conftest.py": "import pytest",
        },
    )
    report = build.build_app(repository, source, "pump", "1.2.0", security=2, built=5)
    assert report.path == "pump/1.2.0.app" and report.native == ["fast.py"]
    stays = [".git/config", "conftest.py", "lib/__pycache__/x.pyc", "tests/test_app.py"]
    assert report.left_out == stays
    target = repository.releases("pump")[report.path]
    words = target.custom
    assert (words["security"], words["built"], words["mpy"]) == (2, 5, 6)
    data = repository.store.content(report.path, target.hashes["sha256"])
    assert data is not None and len(data) == report.packed
    files = unpack_app(data)
    assert files["settings.json"] == settings.encode() and "lib/pump.mpy" in files
    assert "agent/runtime.mpy" in files and "fast.py" in files and "fast.mpy" not in files
    assert mpy_version("", files["app.mpy"]) == 6
    kept = repository.store.source_folder("pump", "1.2.0")
    assert (kept / "lib/pump.py").read_text() == (source / "lib/pump.py").read_text()
    assert (kept / "agent/runtime.py").read_bytes() == few["agent/runtime.py"]
    assert (kept / device.MANIFEST).read_bytes() == files[device.MANIFEST]
    assert not (kept / ".git").exists()
    assert repository.store.sources.stat().st_mode & 0o077 == 0
    repository.publish()
    assert not verify(repository).problems


def test_a_link_that_is_not_followed_is_told(tmp_path: Path) -> None:
    for name in ("application", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere/data.json").write_text("{}")
    folder = tmp_path / "application"
    (folder / "app.py").write_text(APP)
    (folder / "lib").symlink_to(tmp_path / "elsewhere")
    (folder / "gone.txt").symlink_to(tmp_path / "nowhere")
    (folder / "data.json").symlink_to(tmp_path / "elsewhere/data.json")
    files, left_out = read_application(folder)
    assert sorted(files) == ["app.py", "data.json"] and left_out == ["gone.txt", "lib"]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, monkeypatch: Any) -> None:
    source = folder_of(tmp_path / "pump", {"app.py": APP, "b.py": "x = 1\n", "a.txt": "text"})
    image = tmp_path / "image.bin"
    made = []
    for number in (1, 2):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1_700_000_000 + number))
        repository = Repository.create(tmp_path / str(number), new_keys())
        build.build_app(repository, source, "pump", "1.0.0")
        for version in ("1.0", "1.1"):
            image.write_bytes(app_image(50_000, banner=version.encode() * 10))
            build.build_firmware(repository, image, "esp32", version, slot=0x180000)
        found: dict[str, dict[str, Any]] = {}
        for product in ("pump", "esp32"):
            for path, target in repository.releases(product).items():
                found[path] = target.to_dict()
        assert {row["custom"].pop("built") for row in found.values()} == {1_700_000_000 + number}
        made.append(found)
    assert made[0] == made[1] and len(made[0]) == 4
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(FleetlingError, match="SOURCE_DATE_EPOCH"):
        build.built_now()
    assert build.built_now(7) == 7


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"main.txt": ""}, "has no app.py"),
        ({"app.py": APP, "agent/x.py": ""}, "agent/x.py stands where the board has its own"),
        ({"app.py": APP, "main.py": ""}, "main.py stands"),
        ({"app.py": APP, "manifest.json": ""}, "manifest.json stands"),
        ({"app.py": APP, "agent.py": ""}, "agent.py stands"),
        ({"app.py": APP, "ä.txt": ""}, "no name for a board"),
        ({"app.py": APP, "a b.txt": ""}, "no name for a board"),
        ({"app.py": APP, "d/" * 20 + "a" * 30: ""}, "no name for a board"),
        ({"app.py": APP, "a" * 61 + ".py": ""}, "cannot keep a file"),
        ({"app.py": "def main(:\n"}, "app.py:1: "),
        ({"app.py": "\n\nimport numpy\n"}, "app.py:3: numpy is neither"),
        ({"app.py": "import lib.missing\n", "lib/a.py": ""}, "app.py:1: lib.missing is neither"),
        ({"app.py": "import agent.nonsense\n"}, "app.py:1: agent.nonsense is neither"),
        ({"app.py": APP, "x.mpy": "M"}, "x.mpy is not a .mpy"),
        ({"app.py": APP, "x.mpy": "M\x06\x2b\x1f"}, "machine code of one chip"),
        ({"app.py": APP, "x.mpy": "M\x06\x03\x1f", "x.py": ""}, "are the same module"),
        ({"app.py": "import micropython\n@micropython.asm_xtensa\ndef f(): pass\n"}, "does not"),
        (
            {"app.py": "import micropython\n@micropython.viper\ndef f():\n return 1 + None\n"},
            "app.py: ",
        ),
        ({"app.py": APP, "settings.json": "{"}, "settings.json is not JSON"),
        ({"app.py": APP, "settings.json": "[]"}, "not an object"),
        (
            {"app.py": APP, "settings.json": '{"Rate": {"type": "int", "default": 1}}'},
            "refuse the setting 'Rate'",
        ),
        (
            {"app.py": APP, "settings.json": '{"r": {"type": "int", "default": "x"}}'},
            "refuse the setting 'r'",
        ),
    ],
)
def test_what_would_fail_on_the_board_is_refused(
    tmp_path: Path, files: dict[str, str], words: str
) -> None:
    assert words in refusal(tmp_path / "pump", files)


def test_too_many_files_are_refused(repository: Repository, tmp_path: Path) -> None:
    files = {"app.py": APP, **{f"m{number}.py": "" for number in range(128)}}
    source = folder_of(tmp_path / "pump", files)
    with pytest.raises(FleetlingError, match=r"129 files; a board takes [0-9]+ beside"):
        build.build_app(repository, source, "pump", "1.0")
    assert not repository.store.staged_roles()


def test_imports_that_may_fail_are_left_alone() -> None:
    source = b"""
try:
    import lgpio
except (ImportError, OSError):
    import nowhere
try:
    import elsewhere
except OSError:
    pass
def late():
    import hidden
import custom, uasyncio, os.path
"""
    found = missing_imports({"app.py": source}, ["app.py"], ["custom"])
    assert [(each.line, each.name) for each in found] == [
        (5, "nowhere"),
        (7, "elsewhere"),
        (11, "hidden"),
    ]


def test_relative_imports_are_followed() -> None:
    source = b"from . import a, b\nfrom .c import x\nfrom ..d import y\nfrom .. import e\n"
    paths = ["p/q/m.py", "p/q/a.mpy", "p/d.py"]
    found = missing_imports({"p/q/m.py": source}, paths)
    assert [each.name for each in found] == ["p.q.b", "p.q.c", "p.e"]


def test_deltas_are_kept_where_they_are_worth_it(repository: Repository, tmp_path: Path) -> None:
    first = like_firmware(120_000)
    images = {
        "1.0": first,
        "1.1": like_firmware(120_000, seed=5),
        "1.2": edited(first, 20),
        "1.3": edited(first, 25),
        "1.4": edited(first, 30),
    }
    path = tmp_path / "image.bin"
    for version, body in images.items():
        path.write_bytes(stock.build_app(version=version, body=body))
        report = build.build_firmware(repository, path, "esp32", version, slot=0x180000)
    assert {version: each.kept for version, each in report.deltas.items()} == {
        "1.3": True,
        "1.2": True,
        "1.1": False,
    }
    assert list(report.deltas) == ["1.3", "1.2", "1.1"]
    assert report.deltas["1.3"].length < report.packed / 5
    repository.publish()
    assert not verify(repository).problems
    again = build.build_firmware(
        repository, path, "esp32", "1.4", slot=0x180000, bases=["1.0"], boards=[]
    )
    assert again.deltas["1.0"].kept
    repository.publish()
    assert sum(name.startswith("esp32/1.4.") for name in repository.releases("esp32")) == 4
    for wanted in (["1.4"], ["1.5"], ["nonsense"]):
        with pytest.raises(FleetlingError, match="no earlier firmware"):
            build.build_firmware(repository, path, "esp32", "1.4", slot=0x180000, bases=wanted)
    path.write_bytes(app_image(chip=9))
    other = build.build_firmware(repository, path, "esp32", "1.5", slot=0x180000)
    assert not other.deltas and other.chip == "esp32s3"


@pytest.mark.parametrize("text", ["micropython", "python=3", "agent=", "agent=1.x", "=1"])
def test_requirements_that_are_none(text: str) -> None:
    with pytest.raises(FleetlingError):
        build.read_requires([text])
    assert build.read_requires(["agent=0.1", "micropython=1.24"]) == {
        "agent": "0.1",
        "micropython": "1.24",
    }


def test_layouts_are_tables_that_the_chip_takes() -> None:
    assert build.slot_size("4mb") == 0x180000
    assert build.slot_size("8mb") >= 0x280000
    with pytest.raises(FleetlingError) as refused:
        build.slot_size("2mb")
    layouts = "4mb, 4mb-keys, 8mb, 8mb-keys, 16mb, 16mb-keys"
    assert refused.value.hint == f"Those that there are: {layouts}."


@pytest.mark.slow
def test_the_official_firmware_needs_the_larger_layout(
    repository: Repository, tmp_path: Path
) -> None:
    try:
        data = official_download()
    except NotThere as e:
        pytest.skip(f"official firmware not available: {e}")
    path = tmp_path / "ESP32_GENERIC-v1.23.0.bin"
    path.write_bytes(data)
    with pytest.raises(FleetlingError, match="99,936 more than a slot of 1,572,864"):
        build.build_firmware(repository, path, "esp32", "1.23.0", slot=build.slot_size("4mb"))
    assert not repository.store.staged_roles()
    report = build.build_firmware(
        repository, path, "esp32", "1.23.0", slot=build.slot_size("8mb"), boards=["ESP32_GENERIC"]
    )
    assert (report.image, report.micropython, report.chip) == (1_672_800, "v1.23.0", "esp32")
    assert 0.69 < report.packed / report.image < 0.71
    repository.publish()
    assert not verify(repository).problems


def test_the_agents_own_client_takes_what_is_published(tmp_path: Path) -> None:
    """The board's TUF client on CPython, and its reader of a target's words."""
    read = importlib.import_module("agent.update.offer").read
    keys = new_keys()
    repository = Repository.create(tmp_path / "repository", keys)
    repository.publish()
    anchor = (repository.store.metadata / "1.root.json").read_bytes()
    source = folder_of(tmp_path / "pump", {"app.py": APP})
    build.build_app(repository, source, "pump", "1.0.0", requires={"agent": "0.1"})
    base, image = app_image(9000), app_image(9000, banner=b"changed ")
    repository.add_firmware("esp32", "1.0", base, chip="esp32")
    repository.add_firmware(
        "esp32",
        "1.1",
        image,
        bases=[base],
        chip="esp32",
        boards=("ESP32_GENERIC-OTA",),
        machines=("Generic ESP32 module with OTA with ESP32",),
    )
    repository.publish()
    offers = {}
    for product in repository.products():
        for path, target in repository.releases(product).items():
            found = {"path": path, "length": target.length, "custom": target.custom}
            offers[path] = read(found, "http://here/" + path)
    assert len(offers) == 4 and offers["pump/1.0.0.app"]["mpy"] == 6
    named = [offer["machines"] for offer in offers.values()]
    assert sorted(map(len, named)) == [0, 0, 1, 1]  # the new firmware, whole and as a delta
    for role in ("root", "timestamp"):
        repository.rotate(role, (new := keys[role][0].generate_ecdsa()).public_key)
        repository.signers[new.public_key.keyid] = new
        repository.publish()
    site = Site()
    site.files = {
        path.relative_to(repository.store.folder).as_posix(): path.read_bytes()
        for path in repository.store.folder.rglob("*")
        if path.is_file()
    }
    (tmp_path / "board").mkdir()
    with served(site) as url:
        board = Board(site, url, tmp_path / "board")
        assert board.init(anchor) == ""
        assert board.download(*offers) == ""
        assert board.versions()["root"] == 3
    assert sorted(map(len, board.contents())) == sorted(each["length"] for each in offers.values())
    assert set(ROLES) <= {name.strip() for name in board.versions()}


def test_time_of_the_build_cannot_be_ahead(tmp_path: Path) -> None:
    clock = Clock()
    repository = Repository.create(tmp_path / "r", new_keys(), clock=clock)
    with pytest.raises(FleetlingError, match="in the future"):
        repository.add_firmware(
            "esp32", "1.0", app_image(), chip="esp32", built=clock.time + 2 * 86400
        )
