# SPDX-License-Identifier: MIT
"""Fleetling: the host side."""

__version__ = "0.1.0.dev0"
