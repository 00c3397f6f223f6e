# SPDX-License-Identifier: MIT
"""What MicroPython has built in and CPython lacks."""
