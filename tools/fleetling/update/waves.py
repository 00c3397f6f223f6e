# SPDX-License-Identifier: MIT
"""A rollout, decided on values: who is next, whom to wait for, when it has gone wrong. No I/O.

Invariants:
- a board gets the release only when all of the waves before its own are settled, and somebody in
  them has confirmed it;
- from the moment that too large a share of those who have it could not keep it, nobody gets it;
- what is decided depends on what boards report alone, so whoever asks again goes on from there.

A board that is away and has not begun holds nobody up: it takes the release when it comes. One
that has begun does, be it away or not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate

from fleetling.errors import FleetlingError
from fleetling.fleet.state import Device
from fleetling.update.standing import At, Standing

__all__ = ["Do", "Step", "next_step", "parse_share", "parse_waves", "queue"]


MANY = 10_000_000  # more boards than any number that can be given


class Do(Enum):
    ASSIGN = "assign"
    WAIT = "wait"
    STOP = "stop"
    END = "end"


@dataclass(frozen=True)
class Step:
    """What is to be done next: assign to `ids`, wait for `ids`, stop because of `ids`, or end.

    `wave` counts from 1.
    """

    do: Do
    ids: tuple[str, ...] = ()
    wave: int = 1


def parse_waves(text: str, count: int) -> list[int]:
    """How many boards have it after each wave, of "1,10%,100%"; a share is rounded up.

    Raises:
        FleetlingError: it is no such list.
    """
    sizes: list[float] = []
    of_many: list[float] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,6})(\.\d+)?(%?)", part.strip())
        if found is None or (found[2] and not found[3]):
            raise FleetlingError(
                f"{part.strip()!r} is no wave", "Give numbers or shares: --waves 1,10%,100%."
            )
        number = float(found[1] + (found[2] or ""))
        if number == 0 or (found[3] and number > 100):
            raise FleetlingError(
                f"A wave of {part.strip()} makes no sense", "Give 1 or more, or up to 100%."
            )
        sizes.append(count * number / 100 if found[3] else number)
        of_many.append(MANY * number / 100 if found[3] else number)
    if of_many != sorted(of_many):
        raise FleetlingError(
            f"The waves {text} become smaller",
            "Each says how many boards have it by then, all before included: 1,10%,100%.",
        )
    whole = [min(math.ceil(size - 1e-9), count) for size in sizes]
    return list(dict.fromkeys(accumulate(whole, max)))  # 5,10% of 20 boards is one wave


def parse_share(text: str) -> float:
    """0 to 1 of "5%".

    Raises:
        FleetlingError: it is no share.
    """
    found = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)%?", text.strip())
    if found is None or float(found[1]) > 100:
        raise FleetlingError(f"{text!r} is no share", "Give one like 5%.")
    return float(found[1]) / 100


def queue(devices: Iterable[Device], given: Mapping[str, Standing]) -> list[str]:
    """The order in which boards get it: those that have it, those that are online, the rest."""

    def rank(device: Device) -> int:
        return 0 if given[device.id].at is not At.NONE else 1 if device.online else 2

    return [device.id for device in sorted(devices, key=rank)]


def next_step(
    order: Sequence[str],
    given: Mapping[str, Standing],
    sizes: Sequence[int],
    stop_at: float | None,
) -> Step:
    """What comes next.

    Args:
        order: all boards, as `queue` has them.
        given: where each of them stands.
        sizes: how many have it after each wave.
        stop_at: the share of failures that ends it; None for no such limit.
    """
    has = [name for name in order if given[name].at is not At.NONE]
    bad = tuple(name for name in has if given[name].at is At.BAD)
    number = next((n for n, size in enumerate(sizes) if size >= len(has)), len(sizes) - 1)
    if stop_at is not None and bad and len(bad) + 1e-9 >= stop_at * len(has):
        return Step(Do.STOP, bad, number + 1)
    missing = tuple(n for n in order[: sizes[number]] if given[n].at is At.NONE)
    if missing:
        return Step(Do.ASSIGN, missing, number + 1)
    open_ = tuple(n for n in has if given[n].at in (At.PENDING, At.OPEN))
    if open_:
        return Step(Do.WAIT, open_, number + 1)
    if number == len(sizes) - 1:
        return Step(Do.END, (), number + 1)
    if not any(given[name].at is At.DONE for name in has):
        waiting = tuple(name for name in has if given[name].at in (At.AWAY, At.HELD))
        return Step(Do.WAIT, waiting, number + 1) if waiting else Step(Do.STOP, bad, number + 1)
    return Step(Do.ASSIGN, tuple(order[len(has) : sizes[number + 1]]), number + 2)
