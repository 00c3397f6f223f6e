# SPDX-License-Identifier: MIT
"""Where the command line writes: results on stdout, everything about them on stderr."""

from __future__ import annotations

from rich.console import Console

__all__ = ["errors", "output"]

output = Console()
errors = Console(stderr=True)
