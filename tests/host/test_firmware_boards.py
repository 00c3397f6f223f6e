# SPDX-License-Identifier: MIT
"""Board definitions: read by CMake as MicroPython's port does, and by MicroPython's manifest tool.

The port here is a stand-in: the files that its CMakeLists.txt reads, with the lines that matter.
No firmware is built by these tests.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from micropython_manifest import NotThere, manifestfile

from fleetling import device

FIRMWARE = Path(__file__).parents[2] / "firmware"
BOARDS = {"FLEETLING_ESP32": "esp32", "FLEETLING_S3": "esp32s3", "FLEETLING_C3": "esp32c3"}
CPU = {"esp32": "xtensawin", "esp32s3": "xtensawin", "esp32c3": "rv32imc"}
CMAKE = shutil.which("cmake") or shutil.which("cmake", path=str(Path(sys.executable).parent))
BASE = """\
CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE=y
CONFIG_ESPTOOLPY_FLASHSIZE_4MB=y
CONFIG_PARTITION_TABLE_CUSTOM=y
CONFIG_PARTITION_TABLE_CUSTOM_FILENAME="partitions-4MiBplus.csv"
"""
# What its boards are made of, by release.
RELEASES = {
    "1.24": ["usb", "ble", "spiram_sx", "idf52"],
    "1.26": ["usb", "ble", "spiram_sx"],
    "1.28": ["ble", "spiram_sx", "riscv", "c3"],
}
# In the order of ports/esp32/CMakeLists.txt: the board's file, then the manifest, then all
# fragments into one, in which the last word on a name counts.
SCRIPT = """\
cmake_minimum_required(VERSION 3.12)
set(CMAKE_BINARY_DIR "{build}")
set(MICROPY_BOARD_DIR "{board}")
{more}
include("${{MICROPY_BOARD_DIR}}/mpconfigboard.cmake")
file(WRITE "{build}/sdkconfig.combined" "")
foreach(FRAGMENT ${{SDKCONFIG_DEFAULTS}})
    file(READ "${{FRAGMENT}}" TEXT)
    file(APPEND "{build}/sdkconfig.combined" "${{TEXT}}")
endforeach()
file(WRITE "{build}/answers" "${{IDF_TARGET}}\\n${{MICROPY_FROZEN_MANIFEST}}\\n")
file(APPEND "{build}/answers" "${{SDKCONFIG_DEFAULTS}}")
"""


class Build:
    """What a board's definition makes of a release of MicroPython."""

    def __init__(self, folder: Path, board: str, release: str = "1.26", **options: str) -> None:
        if CMAKE is None:
            pytest.skip("there is no cmake here: pip install cmake")
        port, build = folder / "port", folder / "build"
        for path in (port / "boards", build):
            path.mkdir(parents=True, exist_ok=True)
        (port / "boards/sdkconfig.base").write_text(BASE)
        for name in RELEASES[release]:
            (port / f"boards/sdkconfig.{name}").write_text(f"CONFIG_STANDS_FOR_{name.upper()}=y\n")
        more = "".join(f'set(FLEETLING_{key} "{value}")\n' for key, value in options.items())
        if "idf52" in RELEASES[release]:
            more += "set(SDKCONFIG_IDF_VERSION_SPECIFIC boards/sdkconfig.idf52)\n"
        script = folder / "script.cmake"
        script.write_text(SCRIPT.format(build=build, board=FIRMWARE / "boards" / board, more=more))
        done = subprocess.run(
            [CMAKE, "-P", script], cwd=port, capture_output=True, text=True, check=False
        )
        self.error = done.stderr if done.returncode else ""
        self.config: dict[str, str] = {}
        if self.error:
            return
        target, manifest, fragments = (build / "answers").read_text().split("\n")
        self.target, self.manifest = target, Path(manifest)
        self.fragments = fragments.split(";")
        for line in (build / "sdkconfig.combined").read_text().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.partition("=")
                self.config[name] = value.strip('"')


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("board", BOARDS)
def test_cmake_reads_the_boards_as_the_port_does(tmp_path: Path, board: str, release: str) -> None:
    build = Build(tmp_path, board, release)
    assert not build.error
    assert build.target == BOARDS[board]
    assert build.manifest == FIRMWARE / "boards/manifest.py"
    table = Path(build.config["CONFIG_PARTITION_TABLE_CUSTOM_FILENAME"])
    layout = "8mb" if board == "FLEETLING_S3" else "4mb"
    assert table == FIRMWARE / f"partitions-{layout}.csv" and table.is_file()
    sizes = {mb: build.config[f"CONFIG_ESPTOOLPY_FLASHSIZE_{mb}MB"] for mb in (4, 8, 16)}
    assert sizes == {mb: "y" if layout == f"{mb}mb" else "n" for mb in (4, 8, 16)}
    assert build.config["CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE"] == "y"
    assert ("CONFIG_STANDS_FOR_IDF52" in build.config) == (release == "1.24")
    assert ("CONFIG_STANDS_FOR_RISCV" in build.config) == (
        release == "1.28" and board == "FLEETLING_C3"
    )
    for part in ("ble", "spiram_sx"):
        there = f"CONFIG_STANDS_FOR_{part.upper()}" in build.config
        assert there == (board == "FLEETLING_S3"), part
    bluetooth = "MICROPY_PY_BLUETOOTH (0)" in header(board)
    assert bluetooth == ("CONFIG_STANDS_FOR_BLE" not in build.config)


@pytest.mark.parametrize("layout", ["4mb", "8mb", "16mb", "4mb-keys", "8mb-keys", "16mb-keys"])
def test_every_layout_can_be_chosen(tmp_path: Path, layout: str) -> None:
    build = Build(tmp_path, "FLEETLING_ESP32", LAYOUT=layout)
    assert build.config["CONFIG_PARTITION_TABLE_CUSTOM_FILENAME"].endswith(
        f"partitions-{layout}.csv"
    )
    megabytes = layout.partition("mb")[0]
    assert build.config[f"CONFIG_ESPTOOLPY_FLASHSIZE_{megabytes}MB"] == "y"


def test_fragments_are_added_last(tmp_path: Path) -> None:
    chosen = "anti-rollback,secure-boot-v2,flash-encryption-release"
    build = Build(tmp_path, "FLEETLING_ESP32", HARDEN=chosen)
    assert build.config["CONFIG_SECURE_BOOT_V2_ENABLED"] == "y"
    assert build.config["CONFIG_ESP32_REV_MIN_3"] == "y"
    assert build.config["CONFIG_SECURE_FLASH_ENCRYPTION_MODE_RELEASE"] == "y"
    names = [Path(fragment).name for fragment in build.fragments]
    assert names[-4:] == [*chosen.split(","), "revision-3.esp32"]
    other = Build(tmp_path, "FLEETLING_C3", HARDEN=chosen)
    assert "CONFIG_ESP32_REV_MIN_3" not in other.config


@pytest.mark.parametrize(
    ("board", "options", "says"),
    [
        ("FLEETLING_C3", {"LAYOUT": "2mb"}, "partitions-2mb.csv"),
        ("FLEETLING_C3", {"HARDEN": "secure-boot"}, "sdkconfig/secure-boot"),
        ("FLEETLING_ESP32", {"HARDEN": "nvs-encryption-flash"}, "FLEETLING_LAYOUT=4mb-keys"),
        (
            "FLEETLING_ESP32",
            {"HARDEN": "nvs-encryption-flash", "LAYOUT": "4mb-keys"},
            "nvs-encryption-flash needs flash-encryption",
        ),
        ("FLEETLING_ESP32", {"HARDEN": "nvs-encryption-hmac"}, "no HMAC peripheral"),
        ("FLEETLING_ESP32", {"HARDEN": "download-secure,secure-boot-v2"}, "download-secure"),
        ("FLEETLING_C3", {"HARDEN": "download-off"}, "download-off needs"),
        (
            "FLEETLING_C3",
            {"HARDEN": "flash-encryption-release,flash-encryption-development"},
            "exclude each other",
        ),
        (
            "FLEETLING_C3",
            {"HARDEN": "secure-boot-v2,download-off,download-secure"},
            "exclude each other",
        ),
    ],
)
def test_what_makes_no_sense_stops_the_build(
    tmp_path: Path, board: str, options: dict[str, str], says: str
) -> None:
    error = Build(tmp_path, board, **options).error
    assert says in re.sub(r"\s+", " ", error)


def header(board: str) -> str:
    return (FIRMWARE / "boards" / board / "mpconfigboard.h").read_text()


@pytest.mark.parametrize("board", BOARDS)
def test_boards_have_the_files_of_micropythons_own(board: str) -> None:
    about = json.loads((FIRMWARE / "boards" / board / "board.json").read_text())
    assert about["mcu"] == BOARDS[board]
    assert about["deploy_options"]["flash_offset"] == ("0x1000" if board.endswith("32") else "0")
    assert ("BLE" in about["features"]) == ("MICROPY_PY_BLUETOOTH (0)" not in header(board))
    for name in ("MICROPY_HW_BOARD_NAME", "MICROPY_HW_MCU_NAME"):
        assert re.search(rf'^#define {name} "[^"]+"$', header(board), re.MULTILINE)


def test_micropythons_tool_freezes_the_whole_agent(tmp_path: Path) -> None:
    try:
        tool = manifestfile()
    except NotThere as e:
        pytest.skip(str(e))
    port = tmp_path / "port"
    (port / "boards").mkdir(parents=True)
    (port / "modules").mkdir()
    (port / "modules/_boot.py").write_text("import gc\n")
    (port / "boards/manifest.py").write_text('freeze("$(PORT_DIR)/modules")\n')
    manifest = tool.ManifestFile(tool.MODE_FREEZE, {"PORT_DIR": str(port)})
    manifest.execute(str(FIRMWARE / "boards/manifest.py"))
    frozen = {row.target_path: row for row in manifest.files()}
    assert "_boot.py" in frozen
    for path, data in device.agent_files().items():
        row = frozen.pop(path)
        assert Path(row.full_path).read_bytes() == data
        assert (row.kind, row.opt) == (tool.KIND_FREEZE_AS_MPY, 2)
    # Frozen, boot.py and main.py would be run instead of the files: docs/firmware.md.
    assert list(frozen) == ["_boot.py"]


def test_the_agent_compiles_for_each_chip_as_freezing_does() -> None:
    native = [
        (path, data)
        for path, data in device.agent_files().items()
        if any(mark in data for mark in device.NATIVE)
    ]
    assert native  # the others compile for all chips alike, as slots are made
    for path, data in native:
        for chip in CPU.values():
            assert device.compile_module(path, data, f"-march={chip}")
