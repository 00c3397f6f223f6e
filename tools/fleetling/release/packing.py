# SPDX-License-Identifier: MIT
"""A firmware's payloads: the whole image, and the deltas that are worth having."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fleetling.release import payload

__all__ = ["Packed", "pack_firmware"]


@dataclass(frozen=True)
class Packed:
    """A payload that was made.

    Attributes:
        base: the image that it is a delta against; None of a whole one.
        data: the payload; empty where boards could not take it as a delta.
        kept: whether it is worth publishing.
    """

    base: bytes | None
    data: bytes
    kept: bool

    @property
    def length(self) -> int:
        return len(self.data)


def pack_firmware(image: bytes, bases: Iterable[bytes] = ()) -> list[Packed]:
    """The whole payload, and one for each base in their order."""
    whole = payload.pack(image)
    made = [Packed(None, whole, kept=True)]
    for base in bases:
        delta = payload.best(image, base, whole, worth=float("inf")) or b""
        worth = 0 < len(delta) <= payload.WORTH * len(whole)
        made.append(Packed(base, delta, kept=worth))
    return made
