# SPDX-License-Identifier: MIT
"""For the tests of applications: a board without a board (docs/testing.md)."""

from fleetling.testing.board import AppBoard

__all__ = ["AppBoard"]
