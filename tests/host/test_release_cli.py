# SPDX-License-Identifier: MIT
"""`fleetling release` as a person meets it: the whole way, two machines, wrong arguments."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from test_cli import FLEETLING, INIT
from test_release_firmware import app_image

from fleetling.release.keys import make_signer, private_pem, public_pem

PASSPHRASE = "correct horse"
APP = "import agent\n\n\nasync def main(task):\n    await task.sleep(1)\n"
FIRMWARE = ("build", "firmware", "firmware.bin", "--product", "p", "--version", "1")


def run(
    *arguments: object, cwd: Path, passphrase: str | None = None, columns: int = 80
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLEETLING_")}
    if passphrase is not None:
        environment["FLEETLING_PASSPHRASE"] = passphrase
    return subprocess.run(
        [*FLEETLING, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**environment, "COLUMNS": str(columns)},
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def said(*arguments: object, cwd: Path, passphrase: str | None = None) -> str:
    done = run(*arguments, cwd=cwd, passphrase=passphrase)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and PASSPHRASE not in done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet with passphrase, an application and a firmware image."""
    folder = tmp_path_factory.mktemp("fleet")
    said(*INIT, cwd=folder, passphrase=PASSPHRASE)
    said("release", "init", cwd=folder, passphrase=PASSPHRASE)
    (folder / "pump").mkdir()
    (folder / "pump/app.py").write_text(APP)
    (folder / "firmware.bin").write_bytes(app_image(9000, banner=b"; MicroPython v1.26.0 on x"))
    return folder


@pytest.fixture
def fleet(fresh: Path, tmp_path: Path) -> Path:
    shutil.copytree(fresh, tmp_path / "fleet")
    return tmp_path / "fleet"


def test_the_whole_way(fleet: Path) -> None:
    app = ("release", "build", "app", "pump", "--product", "pump")
    shown = said(*app, "--version", "1.2.0", "--security", "3", cwd=fleet)
    assert "pump/1.2.0.app" in shown and "%" in shown and "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    image = ("release", "build", "firmware", "firmware.bin", "--product", "esp32")
    shown = said(*image, "--version", "1.26.0", "--board", "ESP32_GENERIC-OTA", cwd=fleet)
    assert "MicroPython v1.26.0" in shown and "of the slot" in shown
    refused = run("release", "publish", cwd=fleet)
    assert refused.returncode == 1 and "fleetling release sign" in refused.stderr
    shown = said("release", "sign", cwd=fleet, passphrase=PASSPHRASE)
    assert "+ pump/1.2.0.app" in shown and "esp32 1: 1 of 1" in shown
    assert "Published: targets, esp32, pump" in said("release", "publish", cwd=fleet)
    rows = json.loads(said("release", "list", "--json", cwd=fleet))
    assert [(row["path"], row["state"], row["security"]) for row in rows] == [
        ("esp32/1.26.0.fw", "published", 0),
        ("pump/1.2.0.app", "published", 3),
    ]
    assert "pump/1.2.0" in said("release", "list", cwd=fleet)
    assert "problems: none" in said("release", "verify", cwd=fleet)
    assert said("release", "refresh", cwd=fleet) == ""
    same = said(*app, "--version", "1.2.0", "--security", "3", cwd=fleet)
    assert "published already" in same and "Staged" not in same
    assert "pump/1.2.0.app goes" in said("release", "yank", "pump", "1.2.0", cwd=fleet)
    assert "yanking" in said("release", "list", cwd=fleet)
    assert "Staged" in said(*app, "--version", "1.2.0", "--security", "3", cwd=fleet)
    said("release", "yank", "pump", "1.2.0", cwd=fleet)
    assert "- pump/1.2.0.app" in said("release", "sign", cwd=fleet, passphrase=PASSPHRASE)
    said("release", "publish", cwd=fleet)
    again = run(*app, "--version", "1.2.0", cwd=fleet)
    assert again.returncode == 1 and "yanked" in again.stderr
    broken = next((fleet / "repository/targets/esp32").iterdir())
    broken.write_bytes(broken.read_bytes()[:-1] + b"x")
    found = run("release", "verify", cwd=fleet)
    assert found.returncode == 1 and "esp32/1.26.0.fw: " in found.stdout


def test_sign_and_publish_on_machines_of_their_own(fleet: Path, tmp_path: Path) -> None:
    online, offline = tmp_path / "online", tmp_path / "offline"
    for place, kept in ((online, ("snapshot", "timestamp")), (offline, ("root", "targets"))):
        shutil.copytree(fleet, place)
        for path in (place / "secrets").iterdir():
            if path.stem not in kept:
                path.unlink()
    build = ("release", "build", "app", "pump", "--product", "pump", "--version", "1.0")
    said(*build, cwd=online)
    shutil.copytree(online / "repository", offline / "repository", dirs_exist_ok=True)
    refused = run("release", "sign", cwd=online)
    assert refused.returncode == 1 and "secrets/targets.key" in refused.stderr
    said("release", "sign", cwd=offline, passphrase=PASSPHRASE)
    refused = run("release", "publish", cwd=offline)
    assert refused.returncode == 1 and "secrets/snapshot*.key" in refused.stderr
    shutil.copytree(offline / "repository", online / "repository", dirs_exist_ok=True)
    said("release", "publish", cwd=online)
    assert "problems: none" in said("release", "verify", cwd=online)


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_rotation_and_the_old_key_gone(fleet: Path, role: str) -> None:
    shown = said("release", "rotate", role, cwd=fleet, passphrase=PASSPHRASE)
    assert "The new key is" in shown
    new = next((fleet / "secrets").glob(f"{role}-*.key"))
    assert (b"ENCRYPTED" in new.read_bytes()) == (role in ("root", "targets"))
    assert new.stat().st_mode & 0o077 == 0
    said("release", "sign", cwd=fleet, passphrase=PASSPHRASE)
    said("release", "publish", cwd=fleet)
    (fleet / f"secrets/{role}.key").unlink()
    said("release", "build", "app", "pump", "--product", "pump", "--version", "2", cwd=fleet)
    said("release", "sign", cwd=fleet, passphrase=PASSPHRASE)
    said("release", "publish", cwd=fleet)
    assert "problems: none" in said("release", "verify", cwd=fleet)


def test_without_a_repository_is_said_what_makes_one(tmp_path: Path) -> None:
    said(*INIT, "--no-passphrase", cwd=tmp_path)
    for arguments in (("sign",), ("rotate", "pump")):
        done = run("release", *arguments, cwd=tmp_path)
        assert done.returncode == 1 and "fleetling release init" in done.stderr


def test_a_second_signer(tmp_path: Path) -> None:
    said(*INIT, "--no-passphrase", cwd=tmp_path)
    second = make_signer()
    (tmp_path / "second.pem").write_bytes(public_pem(second.public_key))
    (tmp_path / "private.pem").write_bytes(private_pem(second, PASSPHRASE.encode()))
    options = ("--key", "root=second.pem", "--threshold", "root=2")
    assert "The others sign it" in said("release", "init", *options, cwd=tmp_path)
    again = run("release", "init", cwd=tmp_path)
    assert again.returncode == 1 and "already holds" in " ".join(again.stderr.split())
    half = run("release", "publish", cwd=tmp_path)
    assert half.returncode == 1 and "root is signed by 1 of 2 keys" in half.stderr
    wrong = run("release", "sign", "--with", "private.pem", cwd=tmp_path, passphrase="nonsense")
    assert wrong.returncode == 1 and "does not open private.pem" in wrong.stderr
    said("release", "sign", "--with", "private.pem", cwd=tmp_path, passphrase=PASSPHRASE)
    assert "Published: root, targets" in said("release", "publish", cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("build", "app", "pump", "--product", "pump"), 2, "--version"),
        (("build", "app", "nowhere", "--product", "p", "--version", "1"), 2, "does not exist"),
        (("build", "app", "pump", "--product", "P", "--version", "1"), 1, "a product's name"),
        (("build", "app", "pump", "--product", "p", "--version", "v1"), 1, "is no version"),
        (("build", "app", "secrets", "--product", "p", "--version", "1"), 1, "no app.py"),
        (
            ("build", "app", "pump", "--product", "p", "--version", "1", "--requires", "x=1"),
            1,
            "is no requirement",
        ),
        (
            ("build", "firmware", "pump/app.py", "--product", "p", "--version", "1"),
            1,
            "not an ESP-IDF image",
        ),
        (FIRMWARE, 0, "Staged"),
        (
            (*FIRMWARE, "--slot", "0x100"),
            1,
            "more than a slot of 256",
        ),
        (
            (*FIRMWARE, "--slot", "big"),
            1,
            "is no size",
        ),
        (
            (*FIRMWARE, "--layout", "2mb"),
            1,
            "4mb, 4mb-keys, 8mb",
        ),
        (
            (*FIRMWARE, "--board", "A board"),
            1,
            "boards",
        ),
        ((*FIRMWARE, "--board", "B"), 0, "Boards with firmware before 1.25"),
        ((*FIRMWARE, "--board", "B", "--machine", "M with ESP32"), 0, "Staged"),
        ((*FIRMWARE, "--machine", "M with ESP32"), 1, "no build"),
        ((*FIRMWARE, "--board", "B", "--machine", "\n"), 1, "machines"),
        (("init",), 1, "already holds a repository"),
        (("rotate", "pump"), 1, "no product 'pump'"),
        (("rotate", "root", "--old", "zz"), 1, "--old"),
        (("yank", "pump", "1"), 1, "no product 'pump'"),
        (("product", "pump", "--key", "secrets/hub.pem"), 1, "not a public key"),
        (("product", "pump", "--threshold", "2"), 1, "threshold of 2"),
        (("sign", "--with", "secrets/hub.pem"), 0, "Nothing is staged"),
        (("publish",), 0, "Nothing is staged"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_what_is_said_of_wrong_arguments(
    fleet: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = run("release", *arguments, cwd=fleet, passphrase=PASSPHRASE)
    assert done.returncode == code, done.stderr
    shown = " ".join((done.stdout + done.stderr).split())
    assert words in shown and "Traceback" not in shown
    if code:
        assert not (fleet / "repository/staged/metadata").exists() or not list(
            (fleet / "repository/staged/metadata").iterdir()
        )
        assert len(list((fleet / "secrets").glob("*-????????.key"))) == 0


def test_other_keys_are_refused(fleet: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (fleet / "long.pem").write_bytes(pem)
    done = run("release", "product", "pump", "--key", "long.pem", cwd=fleet)
    assert done.returncode == 1 and "not a key on P-256" in done.stderr


def test_settings_of_the_fleet(fleet: Path) -> None:
    text = (fleet / "fleetling.toml").read_text()
    (fleet / "fleetling.toml").write_text(text + "\n[release.expiry]\ntimestamp = 0\n")
    done = run("release", "list", cwd=fleet)
    assert done.returncode == 1 and "1 to 3650 days" in done.stderr
    more = '\n[release]\nrepository = "elsewhere"\n[release.expiry]\ntargets = 3\n'
    (fleet / "fleetling.toml").write_text(text + more)
    said("release", "init", cwd=fleet, passphrase=PASSPHRASE)
    document = json.loads((fleet / "elsewhere/metadata/1.targets.json").read_bytes())
    root = json.loads((fleet / "elsewhere/metadata/1.root.json").read_bytes())
    assert document["signed"]["expires"] < root["signed"]["expires"]


def test_serving_ends_quietly(fleet: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "fleetling", "release", "serve", "--port", "0"],
        cwd=fleet,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().split()[0]
        with urllib.request.urlopen(url + "metadata/1.root.json", timeout=5) as answer:
            assert answer.read() == (fleet / "repository/metadata/1.root.json").read_bytes()
        try:
            process.send_signal(signal.SIGTERM)  # a job in the background ignores SIGINT
            assert process.wait(10) == 0
        finally:
            process.kill()
        assert "Traceback" not in process.stderr.read()


def test_without_the_package_it_says_how_to_get_it(fleet: Path) -> None:
    code = (
        "import sys; sys.modules['tuf.api.metadata'] = None; sys.argv = ['f', 'release', 'list'];"
        "from fleetling.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=fleet, check=False
    )
    assert done.returncode == 1 and "fleetling[release]" in done.stderr
    assert "Traceback" not in done.stderr
