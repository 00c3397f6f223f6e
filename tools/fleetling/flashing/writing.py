# SPDX-License-Identifier: MIT
"""Writes a plan to a board, so that a cut at any point leaves a board that does not start.

First the partition table is erased. Then come bootloader, firmware, files, at last the identity.
When the chip's own MD5 of all of them is right, the table is written: only now the board starts.
What is right already is not written again, so the same command after a cut is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fleetling.errors import FleetlingError
from fleetling.flashing.board import Loader
from fleetling.flashing.plan import Plan, pieces
from fleetling.image.flash import Region

__all__ = ["Progress", "differing", "write_plan"]

Progress = Callable[[Region, int], None]


def differing(loader: Loader, plan: Plan) -> list[Region]:
    """The regions that the board does not hold yet, in the order of writing."""
    return [each for each in plan.order() if not loader.holds(each.offset, each.data)]


def write_plan(
    loader: Loader,
    plan: Plan,
    wanting: Sequence[Region],
    *,
    erase: bool = False,
    progress: Progress = lambda region, done: None,
) -> None:
    """Brings the board to the plan.

    Args:
        wanting: what `differing` found.
        erase: everything else on the flash, too.
        progress: is called with a region and how many of its bytes are done.

    Raises:
        FleetlingError: the board stopped answering, or does not hold what was written.
    """
    if not wanting and not erase:
        return
    table = plan.table
    if erase:
        loader.erase_all()
        wanting = [each for each in plan.order() if not loader.holds(each.offset, each.data)]
    else:
        loader.erase(table.offset, len(table.data))
    for region in wanting:
        if region is not table:
            _write(loader, region, progress)
    for region in plan.regions:
        if region is not table and not loader.holds(region.offset, region.data):
            raise FleetlingError(
                f"The board does not hold {region.label} as it was written",
                "Run the same command again. If it happens twice, its flash is worn or ill "
                "connected: put the board aside.",
            )
    _write(loader, table, progress)


def _write(loader: Loader, region: Region, progress: Progress) -> None:
    done = 0
    for offset, data in pieces(region):
        start = done

        def watch(now: int, total: int, start: int = start, size: int = len(data)) -> None:
            progress(region, start + size * now // max(1, total))

        if data.count(0xFF) == len(data):
            loader.erase(offset, len(data))
        else:
            loader.write(offset, data, watch)
        done += len(data)
        progress(region, done)
