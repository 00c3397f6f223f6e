# SPDX-License-Identifier: MIT
"""The `esp` module of MicroPython: the raw flash and the log level of ESP-IDF."""

from .module import Module

_SECTOR = 4096


def make(chip):
    module = Module("esp")
    module.LOG_NONE = 0
    module.LOG_ERROR = 1
    module.LOG_WARNING = 2
    module.LOG_INFO = 3
    module.LOG_DEBUG = 4
    module.LOG_VERBOSE = 5
    module.osdebug = lambda level, detail=3: None
    module.flash_size = lambda: chip.flash.size
    module.flash_read = lambda addr, buf: chip.flash.readinto(addr, buf)
    module.flash_write = lambda addr, data: chip.flash.program(addr, data)
    module.flash_erase = lambda sector: chip.flash.erase(sector * _SECTOR, _SECTOR)
    return module
