# SPDX-License-Identifier: MIT
"""Errors of ESP-IDF as MicroPython raises them: OSError(-code, name)."""

_CODES = {
    "ESP_ERR_INVALID_ARG": 0x102,
    "ESP_ERR_INVALID_STATE": 0x103,
    "ESP_ERR_INVALID_SIZE": 0x104,
    "ESP_ERR_NOT_FOUND": 0x105,
    "ESP_ERR_NVS_NOT_INITIALIZED": 0x1101,
    "ESP_ERR_NVS_NOT_FOUND": 0x1102,
    "ESP_ERR_NVS_NOT_ENOUGH_SPACE": 0x1105,
    "ESP_ERR_NVS_KEY_TOO_LONG": 0x1109,
    "ESP_ERR_NVS_INVALID_STATE": 0x110B,
    "ESP_ERR_NVS_INVALID_LENGTH": 0x110C,
    "ESP_ERR_NVS_VALUE_TOO_LONG": 0x110E,
    "ESP_ERR_OTA_VALIDATE_FAILED": 0x1503,
    # -1 in ESP-IDF itself, and so it becomes 1.
    "ESP_FAIL": -1,
}


def error(name):
    """The OSError for "ESP_ERR_..."."""
    return OSError(-_CODES[name], name)
