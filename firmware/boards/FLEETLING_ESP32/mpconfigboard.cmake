# SPDX-License-Identifier: MIT
# MicroPython's ESP32_GENERIC without Bluetooth, whose room in a slot of 1.5 MB the agent takes.
set(IDF_TARGET esp32)
set(FLEETLING_DEFAULT_LAYOUT 4mb)
set(FLEETLING_MICROPYTHON)
include(${CMAKE_CURRENT_LIST_DIR}/../fleetling.cmake)
