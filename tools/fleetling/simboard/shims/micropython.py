# SPDX-License-Identifier: MIT
"""CPython's stand-in for MicroPython's built-in `micropython` module."""


def const(value):
    return value


def native(function):
    return function


viper = native


def opt_level(level=None):
    return 0


def heap_lock():
    return None


def heap_unlock():
    return 0


def kbd_intr(char):
    return None
