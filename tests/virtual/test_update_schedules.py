# SPDX-License-Identifier: MIT
"""More than one power cut in an update, in its trial and on its way back (FAULTS P-3, P-4).

Pairs are exhaustive on what decides about anything, in the first run and in the recovery from it;
five cuts fall at random, anywhere and in any way; and uptimes that grow by one operation each end
the update, whatever the board was damaged in. `pytest --every-case` has all of it, the suite a
part. A failure names the schedule (update_case.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

import pytest
from update_case import TORN, Case, Schedule, Torn
from update_scenarios import a_firmware, a_reversal, an_application, both, told, without_rollback
from update_world import run_until

__all__ = ["told"]

SHARE = 30  # of the second cuts, one in so many in the suite
RANDOM, RANDOM_IN_SUITE = 120, 2
DEPTH = 5
LONGEST = 1000  # operations of an uptime
BY_ONE = 30  # so far uptimes grow by one operation, from then on by a twentieth


SCENARIOS = [an_application, a_firmware, both, a_reversal, without_rollback]
scenarios = pytest.mark.parametrize("make", SCENARIOS, ids=lambda make: make.__name__)


def pairs(case: Case, firsts: list[int], share: int) -> Iterator[Schedule]:
    """Goes through pairs of cuts, and says which. Of the second cuts that there may be after a
    first one, one in `share`."""
    for first in firsts:
        torn = TORN[first % len(TORN)]
        case.go(case.start)
        assert case.uptime(first, torn), first
        case.check_floor(((first, torn),))
        damaged = case.mark()
        where = case.watched()
        case.check_end(((first, torn),))
        for second in case.metadata(where)[first % share :: share]:
            case.go(damaged)
            schedule: Schedule = ((first, torn), (second, TORN[(first + second) % len(TORN)]))
            fell = case.uptime(*schedule[1])
            case.check_floor(schedule)
            case.settle()
            case.check_end(schedule)
            if fell:
                yield schedule


@pytest.mark.slow
@scenarios
def test_pairs_of_cuts_on_metadata(make: Callable[[], Case], request: Any, told: Any) -> None:
    """The slot's word, otadata, records, floors, events: after the second cut, too, it is exactly
    the old or the new, and ends as it would have without."""
    case = make()
    firsts, share = case.metadata(case.where), 1
    if not request.config.getoption("--every-case"):
        step = len(firsts) // 3
        firsts, share = firsts[crc32(make.__name__.encode()) % step :: step], SHARE
    told(case, sum(1 for _ in pairs(case, firsts, share)))


def at_random(case: Case, seed: int) -> Schedule:
    """Anywhere: soon after a start as likely as late."""
    rng = random.Random(seed)
    ways: list[Callable[[], Torn]] = [
        lambda: None,
        lambda: -1,
        lambda: rng.randrange(4, 256, 4),
        lambda: rng.randbytes(8),
    ]
    whole = len(case.where)
    return tuple(
        (rng.randrange(rng.choice((12, 100, whole))), rng.choice(ways)()) for _ in range(DEPTH)
    )


def retried(case: Case, schedule: Schedule) -> None:
    """Where the losses of power themselves have ended it, the same may come again."""
    world, board = case.world, case.board
    if case.end == "confirmed" and not world.reported("confirmed"):
        world.assign(*case.targets)
        assert run_until(board, 900, lambda: world.reported("confirmed")), (
            schedule,
            world.states(),
            board.console[-2500:],
        )


@pytest.mark.slow
@scenarios
def test_five_cuts_at_random(make: Callable[[], Case], request: Any, told: Any) -> None:
    case = make()
    count = RANDOM if request.config.getoption("--every-case") else RANDOM_IN_SUITE
    for seed in range(count):
        schedule = at_random(case, seed)
        case.suffer(schedule)
        retried(case, schedule)
    told(case, count)


def growing() -> Iterator[tuple[int, Torn]]:
    number = 1
    while number < LONGEST:
        yield number, None
        number += max(1, (number > BY_ONE) * number // 20)


@pytest.mark.slow
@pytest.mark.parametrize("make", SCENARIOS[2:], ids=lambda make: make.__name__)
def test_uptimes_that_grow_by_one_operation_converge(
    make: Callable[[], Case], request: Any, told: Any
) -> None:
    """From a damaged board: the power goes after one operation, after two, after three..."""
    case = make()
    every = case.metadata(case.where)
    step = 1 if request.config.getoption("--every-case") else len(every)
    firsts = every[step // 2 :: step]
    for first in firsts:
        torn = TORN[first % len(TORN)]
        schedule: Schedule = ((first, torn), *growing())
        assert not case.suffer(schedule), first  # it was over before
        retried(case, schedule[:2])
    told(case, len(firsts))
