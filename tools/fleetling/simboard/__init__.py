# SPDX-License-Identifier: MIT
"""The simulated board: one fake chip, on CPython in one process and on MicroPython as a
process."""

import sys

from fleetling.simboard.shims import micropython

# `chip` is written for both interpreters; CPython lacks this one module of MicroPython's.
sys.modules.setdefault("micropython", micropython)
