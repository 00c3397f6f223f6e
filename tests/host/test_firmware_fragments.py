# SPDX-License-Identifier: MIT
"""The fragments of firmware/sdkconfig/: each line an option of ESP-IDF 5, each with its price.

That an option does on the chip what its name says is for silicon to show: docs/firmware.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).parents[2] / "firmware"
FRAGMENTS = sorted((FIRMWARE / "sdkconfig").iterdir())
BOARDS = sorted((FIRMWARE / "boards").glob("*/sdkconfig.board"))

# Every option that is used, its kind, and the Kconfig file of ESP-IDF (v5.2 to v5.5) that has it.
BOOL, INT = r"[yn]", r"\d+"
BOOTLOADER = "components/bootloader/Kconfig.projbuild"
OPTIONS = {
    "BOOTLOADER_APP_ROLLBACK_ENABLE": (BOOL, BOOTLOADER),
    "BOOTLOADER_APP_ANTI_ROLLBACK": (BOOL, BOOTLOADER),
    "BOOTLOADER_APP_SECURE_VERSION": (INT, BOOTLOADER),
    "BOOTLOADER_SKIP_VALIDATE_ALWAYS": (BOOL, BOOTLOADER),
    "BOOTLOADER_SKIP_VALIDATE_ON_POWER_ON": (BOOL, BOOTLOADER),
    "SECURE_BOOT": (BOOL, BOOTLOADER),
    "SECURE_BOOT_V2_ENABLED": (BOOL, BOOTLOADER),
    "SECURE_BOOT_BUILD_SIGNED_BINARIES": (BOOL, BOOTLOADER),
    "SECURE_FLASH_ENC_ENABLED": (BOOL, BOOTLOADER),
    "SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT": (BOOL, BOOTLOADER),
    "SECURE_FLASH_ENCRYPTION_MODE_RELEASE": (BOOL, BOOTLOADER),
    "SECURE_DISABLE_ROM_DL_MODE": (BOOL, BOOTLOADER),
    "SECURE_ENABLE_SECURE_ROM_DL_MODE": (BOOL, BOOTLOADER),
    "NVS_ENCRYPTION": (BOOL, "components/nvs_flash/Kconfig"),
    "NVS_SEC_KEY_PROTECT_USING_FLASH_ENC": (BOOL, "components/nvs_sec_provider/Kconfig"),
    "NVS_SEC_KEY_PROTECT_USING_HMAC": (BOOL, "components/nvs_sec_provider/Kconfig"),
    "NVS_SEC_HMAC_EFUSE_KEY_ID": ("[0-5]", "components/nvs_sec_provider/Kconfig"),
    "ESP32_REV_MIN_3": (BOOL, "components/esp_hw_support/port/esp32/Kconfig.hw_support"),
    "ESP32C3_REV_MIN_3": (BOOL, "components/esp_hw_support/port/esp32c3/Kconfig.hw_support"),
    "ESPTOOLPY_FLASHMODE_QIO": (BOOL, "components/esptool_py/Kconfig.projbuild"),
    "ESPTOOLPY_FLASHFREQ_80M": (BOOL, "components/esptool_py/Kconfig.projbuild"),
    "COMPILER_OPTIMIZATION_CHECKS_SILENT": (BOOL, "Kconfig"),
}
# Options of one Kconfig choice: two of them in one fragment contradict each other.
CHOICES = [
    {"SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT", "SECURE_FLASH_ENCRYPTION_MODE_RELEASE"},
    {"SECURE_DISABLE_ROM_DL_MODE", "SECURE_ENABLE_SECURE_ROM_DL_MODE"},
    {"NVS_SEC_KEY_PROTECT_USING_FLASH_ENC", "NVS_SEC_KEY_PROTECT_USING_HMAC"},
]
# What an option has no meaning without, in the same fragment or in one that CMake asks for.
NEEDS = {
    "BOOTLOADER_APP_ANTI_ROLLBACK": "BOOTLOADER_APP_ROLLBACK_ENABLE",
    "BOOTLOADER_APP_SECURE_VERSION": "BOOTLOADER_APP_ANTI_ROLLBACK",
    "SECURE_BOOT_V2_ENABLED": "SECURE_BOOT",
    "SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT": "SECURE_FLASH_ENC_ENABLED",
    "SECURE_FLASH_ENCRYPTION_MODE_RELEASE": "SECURE_FLASH_ENC_ENABLED",
    "NVS_SEC_KEY_PROTECT_USING_FLASH_ENC": "NVS_ENCRYPTION",
    "NVS_SEC_KEY_PROTECT_USING_HMAC": "NVS_ENCRYPTION",
    "NVS_SEC_HMAC_EFUSE_KEY_ID": "NVS_SEC_KEY_PROTECT_USING_HMAC",
}
LINE = re.compile(r"CONFIG_([A-Z][A-Z0-9_]*)=(.+)")


def options(path: Path) -> list[tuple[str, str]]:
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        match = LINE.fullmatch(line)
        assert match, f"{path.name}:{number}: {line}"
        found.append((match[1], match[2]))
    return found


@pytest.mark.parametrize(
    "path", FRAGMENTS + BOARDS, ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_fragment_has_options_that_exist_and_agree(path: Path) -> None:
    found = options(path)
    names = [name for name, _ in found]
    assert names and len(set(names)) == len(names)
    for name, value in found:
        kind, _ = OPTIONS[name]
        assert re.fullmatch(kind, value), f"{name}={value}"
    on = {name for name, value in found if value != "n"}
    for choice in CHOICES:
        assert len(choice & on) < 2
    for name in on:
        assert NEEDS.get(name, name) in on, f"{name} means nothing without {NEEDS.get(name)}"
    # The combined file has to end this fragment's last line before the next one's first.
    assert path.read_text().endswith("\n")


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.name)
def test_a_fragment_says_what_it_gives_and_costs(path: Path) -> None:
    text = path.read_text()
    if path.suffix == ".esp32":
        assert text.startswith("# Added to ")
        return
    for word in ("Gives:", "Costs:", "Reversed:"):
        assert word in text, word
    # And the page has a row on it.
    page = (FIRMWARE.parent / "docs/firmware.md").read_text()
    assert path.name == "common" or f"`{path.name}`" in page


def test_no_option_of_the_list_is_unused() -> None:
    used = {name for path in FRAGMENTS + BOARDS for name, _ in options(path)}
    assert used == set(OPTIONS)
