# SPDX-License-Identifier: MIT
"""Where the command line writes: results on stdout, everything about them on stderr."""

from __future__ import annotations

from rich.console import Console

__all__ = ["errors", "output"]

# What users typed is shown as it is: ":x:" in a path is no picture.
output = Console(emoji=False)
errors = Console(stderr=True, emoji=False)
