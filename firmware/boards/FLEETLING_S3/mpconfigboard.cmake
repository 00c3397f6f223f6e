# SPDX-License-Identifier: MIT
# MicroPython's ESP32_GENERIC_S3, for modules with 8 MB of flash, with PSRAM or without.
set(IDF_TARGET esp32s3)
set(FLEETLING_DEFAULT_LAYOUT 8mb)
set(FLEETLING_MICROPYTHON
    boards/sdkconfig.usb  # until v1.26
    boards/sdkconfig.ble
    boards/sdkconfig.spiram_sx
)
include(${CMAKE_CURRENT_LIST_DIR}/../fleetling.cmake)
