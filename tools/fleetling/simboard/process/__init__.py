# SPDX-License-Identifier: MIT
"""The simulated board as a process of its own: the real MicroPython interpreter on the fake
chip."""
