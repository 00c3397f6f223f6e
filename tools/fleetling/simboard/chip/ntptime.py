# SPDX-License-Identifier: MIT
"""The `ntptime` module: asks the world for the time and sets the clock of the chip.

As lwIP fails: a name cannot be resolved without a link (-202), an answer that does not come is
ETIMEDOUT (116 on the ESP32) after `timeout` seconds.
"""

from micropython import const

from .module import Module

_EAI_FAIL = const(-202)
_ETIMEDOUT = const(116)
# From 1970 to 2000, the epoch of the port.
_UNIX_2000 = const(946684800)


def make(chip):
    module = Module("ntptime")
    module.host = "pool.ntp.org"
    module.timeout = 1

    def time():
        if not chip.radio.connected():
            raise OSError(_EAI_FAIL)
        if not chip.air.ntp_up:
            chip.sleep_ms(int(module.timeout * 1000))
            raise OSError(_ETIMEDOUT)
        return int(chip.true_unix()) - _UNIX_2000

    def settime():
        chip.set_now_2000(time())

    module.time = time
    module.settime = settime
    return module
