# SPDX-License-Identifier: MIT
"""The error that the host's tools show a person."""

from __future__ import annotations

__all__ = ["FleetlingError"]


class FleetlingError(Exception):
    """What the user or the device did; anything else that is raised is a bug.

    Args:
        message: what is wrong, in one sentence.
        hint: what to do next.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
