# SPDX-License-Identifier: MIT
"""`fleetling flash` as a user meets it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mock_boards import Board, Port, download, mock_rom
from official_firmware import NotThere, official_download
from test_flash_plan import nvs

from fleetling import home
from fleetling.cli import cli
from fleetling.errors import FleetlingError
from fleetling.flashing.ledger import NAME
from fleetling.image.filesystem import read_filesystem

__all__ = ["mock_rom"]

Ports = Callable[..., Port]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet with pump-1 and pump-2 provisioned, and a firmware."""
    folder = tmp_path_factory.mktemp("farm")
    plan = home.Plan("farm", "h:1", "h:2", [("works", "open sesame")])
    made = home.create(folder, plan)
    (folder / "firmware.bin").write_bytes(download())
    for device_id in ("pump-1", "pump-2"):
        (made.boards / device_id).mkdir(parents=True)
        identity = nvs(fl_factory={"id": device_id.encode(), "claim_key": b"secret" * 5})
        (made.boards / device_id / "nvs.bin").write_bytes(identity)
    app = folder / "app"
    app.mkdir()
    (app / "app.py").write_text("async def main(task):\n    pass\n")
    return folder


@pytest.fixture
def flash(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("FLEETLING_HOME", str(fleet))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("FLEETLING_PORT", raising=False)
    (fleet / NAME).unlink(missing_ok=True)

    def run(*arguments: object) -> Result:
        words = ["flash", *map(str, arguments)]
        if "--firmware" not in words:
            words += ["--firmware", str(fleet / "firmware.bin")]
        return CliRunner().invoke(cli, words)

    return run


def refused(done: Result, words: str) -> None:
    assert isinstance(done.exception, FleetlingError), (done.output, done.exception)
    assert words in done.exception.message + done.exception.hint


def test_a_board_is_flashed_and_flashed_again(
    mock_rom: Ports, flash: Callable[..., Result], fleet: Path, tmp_path: Path
) -> None:
    board = Board()
    port = mock_rom(board)
    labels = tmp_path / "labels.csv"
    done = flash("pump-1", "-p", port.url, "--app", fleet / "app", "--app-version", "1.2.0")
    assert done.exit_code == 0, (done.output, done.exception)
    for words in (
        "esp32, 24:0a:c4:00:00:01, 4 MB of flash",
        "0x310000",
        "the identity of pump-1",
        "bootloader, set to 4 MB",
        "MicroPython v1.25.0 for esp32",
        "Rollback cannot be told",
        "pump-1 is on the board, verified",
    ):
        assert words in done.output
    assert "secret" not in done.output
    assert board.starts
    files = read_filesystem(bytes(board.flash.data[0x310000:]))
    assert {"/boot.py", "/main.py", "/slots/factory.pack"} <= set(files)
    assert b'"version":"1.2.0"' in files["/slots/factory.pack"]
    again = flash(
        *("pump-1", "-p", port.url, "--app", fleet / "app", "--app-version", "1.2.0"),
        *("--labels", labels, "--label-text", "https://x.example/{id}", "--qr"),
    )
    assert again.exit_code == 0 and again.output.count("there already") == 7
    assert "pump-1 was on the board already, verified" in again.output and "█" in again.output
    (row,) = csv.DictReader(labels.open())
    assert (row["id"], row["qr"]) == ("pump-1", "https://x.example/pump-1")
    # Another firmware for the same board: what differs is told before it is written.
    dry = flash("pump-1", "-p", port.url, "--dry-run")
    assert dry.output.count("there already") == 6 and "Nothing was written" in dry.output
    assert read_filesystem(bytes(board.flash.data[0x310000:])) == files


def test_a_dry_run_writes_and_binds_nothing(
    mock_rom: Ports, flash: Callable[..., Result], fleet: Path
) -> None:
    board = Board()
    done = flash("pump-1", "-p", mock_rom(board).url, "--dry-run")
    assert done.exit_code == 0 and "Nothing was written" in done.output
    assert set(board.flash.data) == {0xFF} and not (fleet / NAME).exists()


def test_an_image_is_the_boards_bytes_and_simboard_takes_it(
    mock_rom: Ports, flash: Callable[..., Result], tmp_path: Path
) -> None:
    image, folder = tmp_path / "flash.bin", tmp_path / "board"
    done = flash("pump-1", "--image", image)
    assert done.exit_code == 0, (done.output, done.exception)
    assert image.stat().st_mode & 0o777 == 0o600
    board = Board()
    assert flash("pump-1", "-p", mock_rom(board).url).exit_code == 0
    assert image.read_bytes() == bytes(board.flash.data)
    refused(flash("pump-1", "--image", image), "is there already")
    made = CliRunner().invoke(cli, ["sim", "new", str(folder), "--image", str(image)])
    assert made.exit_code == 0, made.exception
    assert (folder / "flash.bin").read_bytes() == image.read_bytes()


@pytest.mark.parametrize("length", [0, 100, 0x8010, 0x8C00, 100_000, 0x100000])
def test_simboard_takes_no_other_file_for_a_flash(
    flash: Callable[..., Result], tmp_path: Path, length: int
) -> None:
    image, folder = tmp_path / "flash.bin", tmp_path / "board"
    assert flash("pump-1", "--image", image).exit_code == 0
    for data in (image.read_bytes()[:length], b"\xe9" * length):
        (tmp_path / "other.bin").write_bytes(data)
        arguments = ["sim", "new", str(folder), "--image", str(tmp_path / "other.bin")]
        refused(CliRunner().invoke(cli, arguments), "is no whole flash")
        assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Which board"),
        (("pump-1", "--csv", "firmware.bin"), "Which board"),
        (("pump-9", "-p", "nowhere"), "fleetling provision pump-9"),
        (("pump-9", "--image", "x.bin"), "fleetling provision pump-9"),
        (("pump-1", "--layout", "5mb"), "4mb"),
        (("pump-1", "-p", "/dev/null/no"), "fleetling ports"),
        (("pump-1", "-p", "a", "-p", "b"), "--csv"),
        (("pump-1", "--firmware", "fleetling.toml"), "not an ESP-IDF image"),
        (("--csv", "firmware.bin", "--image", "x.bin"), "one board's"),
        (("--csv", "firmware.bin", "--dry-run"), "no plan of its own"),
        (("pump-1", "--label-text", "{secret}"), "{mac}"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do(
    flash: Callable[..., Result],
    fleet: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(fleet)
    refused(flash(*arguments), words)
    assert not (fleet / "x.bin").exists()


def test_without_esptool_there_is_a_word_about_the_extra(fleet: Path) -> None:
    code = (
        "import sys; sys.modules['esptool'] = None; sys.argv = ['fleetling', *sys.argv[1:]];"
        "from fleetling.cli import main; main()"
    )
    words: list[str | Path] = [
        "flash",
        "pump-1",
        "--firmware",
        fleet / "firmware.bin",
        "--home",
        fleet,
        "-p",
        "x",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "fleetling[flash]" in done.stderr
    assert "Traceback" not in done.stderr


def test_esptool_is_imported_in_two_places_and_behind_the_extra() -> None:
    sources = (Path(__file__).parents[2] / "tools/fleetling").rglob("*.py")
    imports = ("import esptool", "from esptool")
    users = [
        path.relative_to(path.parents[1]).as_posix()
        for path in sources
        if any(line.strip().startswith(imports) for line in path.read_text().splitlines())
    ]
    assert sorted(users) == ["flashing/efuse.py", "flashing/rom.py"]


@pytest.mark.slow
def test_the_official_firmware_fits_where_it_fits(
    mock_rom: Ports, flash: Callable[..., Result], tmp_path: Path
) -> None:
    try:
        data = official_download()
    except NotThere as e:
        pytest.skip(f"official firmware not available: {e}")
    path = tmp_path / "official.bin"
    path.write_bytes(data)
    small = Board(1)
    refused(flash("pump-1", "--firmware", path, "-p", mock_rom(small).url), "OTA")
    assert set(small.flash.data) == {0xFF}
    large = Board(2, megabytes=8)
    done = flash("pump-2", "--firmware", path, "-p", mock_rom(large).url)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "MicroPython v1.23.0 for esp32" in done.output and "set to 8 MB" in done.output
    app = data[0xF000:]
    assert bytes(large.flash.data[0x20000:][: len(app)]) == app
    # The bootloader is the official one but for the size that it is set to, and its hash.
    flashed = bytes(large.flash.data[0x1000:])
    assert flashed[:3] == data[:3] and flashed[3] == data[3] & 0x0F | 0x30
    assert flashed[4:0x5000] == data[4:0x5000]


def test_the_ledgers_lines_are_for_other_programs_too(
    mock_rom: Ports, flash: Callable[..., Result], fleet: Path
) -> None:
    assert flash("pump-1", "-p", mock_rom(Board()).url).exit_code == 0
    rows: list[dict[str, Any]] = [
        json.loads(line) for line in (fleet / NAME).read_text().splitlines()
    ]
    assert [row["event"] for row in rows] == ["bound", "flashed"]
    assert {(row["id"], row["mac"], row["chip"]) for row in rows} == {
        ("pump-1", "24:0a:c4:00:00:01", "esp32")
    }
