// SPDX-License-Identifier: MIT
#define MICROPY_HW_BOARD_NAME "Fleetling on ESP32C3"
#define MICROPY_HW_MCU_NAME "ESP32C3"

// A slot of 1.5 MB has no room for both Bluetooth and the agent.
#define MICROPY_PY_BLUETOOTH (0)
#define MICROPY_HW_ENABLE_SDCARD (0)
#define MICROPY_PY_MACHINE_I2S (0)

// The prompt on the UART too, for modules with a USB bridge of their own.
#define MICROPY_HW_ENABLE_UART_REPL (1)
