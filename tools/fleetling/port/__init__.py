# SPDX-License-Identifier: MIT
"""Boards on a serial port: find them, talk to the MicroPython that runs there."""
