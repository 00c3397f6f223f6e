# SPDX-License-Identifier: MIT
# MicroPython's ESP32_GENERIC_C3 without Bluetooth, whose room in a slot of 1.5 MB the agent takes.
set(IDF_TARGET esp32c3)
set(FLEETLING_DEFAULT_LAYOUT 4mb)
set(FLEETLING_MICROPYTHON
    boards/sdkconfig.riscv                     # from v1.27 or v1.28
    boards/ESP32_GENERIC_C3/sdkconfig.c3usb    # until then
    boards/sdkconfig.c3
)
include(${CMAKE_CURRENT_LIST_DIR}/../fleetling.cmake)
