// SPDX-License-Identifier: MIT
#define MICROPY_HW_BOARD_NAME "Fleetling on ESP32"
#define MICROPY_HW_MCU_NAME "ESP32"

// A slot of 1.5 MB has no room for both Bluetooth and the agent.
#define MICROPY_PY_BLUETOOTH (0)
