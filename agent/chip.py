# SPDX-License-Identifier: MIT
"""Which chip this is, by the name of the machine. Loaded to ask, and released."""

# Where an ESP32's flash is connected: a pin that is taken there stops the processor at once, and
# the firmware does not refuse it. On the newer chips the firmware has no such pins.
FLASH_PINS = {"esp32": (6, 7, 8, 9, 10, 11)}


def family(machine):
    """ "esp32", "esp32s3", ...: what an image is built for.

    `machine` is `os.uname()[4]`. Its last word is the processor's, which boards write as they
    like: ESP32S3, ESP32-S3, ESP32-S2FN4R2, ESP32-PICO-D4, ESP32-S0WD.
    """
    name = machine.split(" ")[-1].lower().replace("-", "")
    end = 6
    while name[end : end + 1].isdigit():
        end += 1
    if name[5:6] in ("s", "c", "h", "p") and end > 6 and name[6] != "0":
        return name[:end]
    return name[:5]
