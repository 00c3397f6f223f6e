# SPDX-License-Identifier: MIT
"""What tests in this folder share. Runs on MicroPython and CPython."""


def raises(kind, call, *args):
    """Calls `call(*args)` and returns the exception of class `kind` that it must raise."""
    try:
        call(*args)
    except kind as e:
        return e
    raise AssertionError("{} not raised".format(kind.__name__))
