# SPDX-License-Identifier: MIT
"""Versions and names as boards read them (agent/update/offer.py)."""

from __future__ import annotations

import re

from fleetling.errors import FleetlingError

__all__ = ["check_product", "check_version", "order"]

_VERSION = re.compile(r"(0|[1-9][0-9]{0,4})(\.(0|[1-9][0-9]{0,4})){0,3}")
_PRODUCT = re.compile(r"[a-z0-9-]{1,24}")
LONGEST = 20
# Names that TUF has taken.
RESERVED = ("root", "targets", "snapshot", "timestamp")


def check_version(text: str) -> str:
    """The version itself.

    Raises:
        FleetlingError: no board would read it.
    """
    if len(text) > LONGEST or not _VERSION.fullmatch(text):
        raise FleetlingError(
            f"{text!r} is no version",
            "Use 1 to 4 numbers up to 99999 with dots between, such as 1.2.0, 20 characters in "
            "all.",
        )
    return text


def order(text: str) -> tuple[int, ...]:
    """What versions are compared by; 1.2 and 1.2.0 are equal."""
    numbers = [int(part) for part in text.split(".")]
    return tuple(numbers + [0] * (4 - len(numbers)))


def check_product(name: str) -> str:
    """The product's name itself.

    Raises:
        FleetlingError: it cannot be that of a role.
    """
    if not _PRODUCT.fullmatch(name) or name in RESERVED:
        raise FleetlingError(
            f"{name!r} cannot be a product's name",
            "Use 1 to 24 of a-z, 0-9 and '-', and none of " + ", ".join(RESERVED) + ".",
        )
    return name
