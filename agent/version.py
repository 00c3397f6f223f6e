# SPDX-License-Identifier: MIT
"""Which agent this is. `BUILT` (Unix seconds) is the lowest time that the clock may show."""

VERSION = "0.1.0"
BUILT = 1795392000
