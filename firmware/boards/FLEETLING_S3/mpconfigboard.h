// SPDX-License-Identifier: MIT
#define MICROPY_HW_BOARD_NAME "Fleetling on ESP32S3"
#define MICROPY_HW_MCU_NAME "ESP32S3"

// The prompt on the UART too, for modules with a USB bridge of their own.
#define MICROPY_HW_ENABLE_UART_REPL (1)
#define MICROPY_HW_I2C0_SCL (9)
#define MICROPY_HW_I2C0_SDA (8)
