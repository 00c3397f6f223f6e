# SPDX-License-Identifier: MIT
from agent.chip import family


def test_the_family_by_the_names_that_boards_give_themselves():
    # MICROPY_HW_BOARD_NAME " with " MICROPY_HW_MCU_NAME of boards in MicroPython and elsewhere.
    for machine, expected in (
        ("Generic ESP32 module with OTA with ESP32", "esp32"),
        ("Generic ESP32S3 module with Octal-SPIRAM with ESP32S3", "esp32s3"),
        ("ESP32C3 module with ESP32C3", "esp32c3"),
        ("ESP32C6 module with ESP32C6", "esp32c6"),
        ("Generic ESP32C61 module with ESP32C61", "esp32c61"),
        ("Generic ESP32P4 module with ESP32P4", "esp32p4"),
        ("FeatherS2 with ESP32-S2", "esp32s2"),
        ("LOLIN_S2_MINI with ESP32-S2FN4R2", "esp32s2"),
        ("Seeed Studio XIAO with ESP32-C3FN4", "esp32c3"),
        ("Some board with ESP32-S3-WROOM-1", "esp32s3"),
        ("TinyPICO with ESP32-PICO-D4", "esp32"),
        ("TinyPICO V3 with ESP32-PICO-V3-02", "esp32"),
        ("M5Stack with ESP32-D0WDQ6-V3", "esp32"),
        ("Some board with ESP32-S0WD", "esp32"),
        ("Some board with ESP32-U4WDH", "esp32"),
        ("Some board with ESP32-WROVER-B", "esp32"),
        ("", ""),
    ):
        assert family(machine) == expected, machine
