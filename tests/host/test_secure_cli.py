# SPDX-License-Identifier: MIT
"""`fleetling secure` as a person meets it, on virtual chips."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from esp32_mock_bootloader import server
from test_cli import FLEETLING, INIT, run
from test_release_firmware import app_image
from test_secure_burn import read_once  # noqa: F401 - a fixture
from test_secure_images import sign

from fleetling.cli.secure import command
from fleetling.errors import FleetlingError

CHIP = ("--virt", "chip.bin", "--chip", "esp32c3")
HARD = ("--flash-encryption", "key", "--nvs-key", "--no-jtag")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    assert run(*INIT, "--no-passphrase", cwd=folder).returncode == 0
    assert run("secure", "keys", cwd=folder).returncode == 0
    return folder


@pytest.fixture
def place(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (fleet / "chip.bin").unlink(missing_ok=True)
    monkeypatch.chdir(fleet)
    for name in [name for name in os.environ if name.startswith(("FLEETLING_", "ESPTOOL_"))]:
        monkeypatch.delenv(name)
    return fleet


def secure(*arguments: str, code: int = 0) -> str:
    """What it says, in one line, errors and all."""
    done = CliRunner().invoke(command, arguments)
    text, error = done.output, done.exception
    if isinstance(error, FleetlingError):
        text += f" {error.message} {error.hint}"
    else:
        assert error is None, error
    assert bool(error) == bool(code), text
    return " ".join(text.split())


def address() -> str:
    return str(json.loads(secure("status", *CHIP, "--json"))["address"])


def test_from_the_first_look_to_an_encrypted_image(place: Path) -> None:
    planned = secure("plan", *CHIP, *HARD)
    assert "1 key of flash encryption" in planned and "3 JTAG off" in planned
    mac = address()
    before = (place / "chip.bin").read_bytes()
    # Nobody there to confirm, and a wrong address: nothing happens, not even a key is made.
    assert f"Give --mac {mac}" in secure("burn", *CHIP, *HARD, code=1)
    assert f"This chip is {mac}" in secure(
        "burn", *CHIP, *HARD, "--mac", "02:00:00:00:00:00", code=1
    )
    assert (place / "chip.bin").read_bytes() == before
    assert not (place / "secrets/efuse").exists()
    done = secure("burn", *CHIP, *HARD, "--mac", mac.upper())
    assert "burnt: key of flash encryption burnt: key of NVS encryption burnt: JTAG off" in done
    assert "Nothing is left to burn" in secure("burn", *CHIP, *HARD, "--mac", mac)
    folder = place / "secrets/efuse" / mac.replace(":", "")
    for path in folder.iterdir():
        assert path.read_bytes().hex() not in done.replace(" ", "")
    assert run("provision", "valve-1", cwd=place).returncode == 0
    secure("nvs", "valve-1", "--chip-mac", mac)
    made = place / "boards/valve-1/nvs-encrypted.bin"
    assert made.stat().st_size == 0x4000 and made.stat().st_mode & 0o777 == 0o600
    assert b"valve-1" in (place / "boards/valve-1/nvs.bin").read_bytes()
    assert b"valve-1" not in made.read_bytes()


def test_secure_boot_wants_to_see_what_the_chip_will_start(place: Path) -> None:
    private = place / "secrets/secure-boot-1.pem"
    boot = ("--secure-boot", "secrets/secure-boot-1.pub.pem", "--mac", address())
    assert "none was shown" in secure("burn", *CHIP, *boot, code=1)
    (place / "boot.bin").write_bytes(sign(app_image(700, chip=5), private))
    (place / "app.bin").write_bytes(app_image(9000, chip=5))
    images = ("--bootloader", "boot.bin", "--app", "app.bin")
    assert "app.bin is not signed" in secure("burn", *CHIP, *boot, *images, code=1)
    (place / "app.bin").write_bytes(sign(app_image(9000, chip=5), private))
    assert "burnt: secure boot: on" in secure("burn", *CHIP, *boot, *images)
    assert "secure boot v2, on" in secure("status", *CHIP)


def test_encryption_at_once_is_asked_for_twice(place: Path) -> None:
    on = ("--flash-encryption", "on", "--mac", address())
    assert "does not start" in secure("burn", *CHIP, *on, code=1)
    secure("burn", *CHIP, *on, "--flash-is-encrypted")
    assert "flash encryption on (3 of 3 bits)" in secure("status", *CHIP)


def test_a_person_types_the_address(place: Path) -> None:
    mac = address()
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*FLEETLING, "secure", "burn", *CHIP, "--no-jtag"],
        cwd=place,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("FLEETLING_")},
    )
    os.close(theirs)
    os.write(ours, f"{mac}\n".encode())
    told, _ = child.communicate(timeout=60)
    os.close(ours)
    assert child.returncode == 0 and "Nobody can take this back" in told
    assert "burnt: JTAG off" in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("plan", *CHIP), "Nothing is asked for"),
        (("status", *CHIP[:2]), "What chip is the virtual one?"),
        (("status", "--virt", "fleetling.toml", "--chip", "esp32"), "is not a virtual esp32"),
        (("nvs", "nobody", "--key-partition"), "nobody is not provisioned"),
        (("status", "--port", "/dev/null/none"), "No eFuses can be reached"),
    ],
)
def test_what_cannot_be(place: Path, arguments: tuple[str, ...], says: str) -> None:
    assert says in secure(*arguments, code=1)


@pytest.fixture(params=["esp32", "esp32s3", "esp32c3"])
def rom(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """(chip, port) of a mock ROM, whose eFuses are blank, and stay it."""
    listening = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            server.handle_client(
                server.BootloaderConnection(sock=connection),
                stop,
                request.param,
                exit_on_disconnect=True,
                flash=server.FlashImage(),
            )

    threading.Thread(target=serve, daemon=True).start()
    yield request.param, f"socket://127.0.0.1:{listening.getsockname()[1]}"
    stop.set()
    listening.close()


def test_over_a_port(place: Path, rom: tuple[str, str]) -> None:
    """The same over the ROM's protocol: it reads, and notices that nothing was burnt."""
    chip, port = rom
    found = json.loads(secure("status", "--port", port, "--json"))
    assert found["chip"].startswith(f"{chip}, revision")
    other = "esp32c3" if chip == "esp32" else "esp32"
    assert f"is an {chip}" in secure("status", "--port", port, "--chip", other, code=1)
    told = secure("burn", "--port", port, "--no-jtag", "--mac", found["address"], code=1)
    assert "did not take" in told
