# SPDX-License-Identifier: MIT
"""An assignment before it is published: who gets it, who cannot, in which waves. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fleetling.errors import FleetlingError
from fleetling.fleet.state import Device, FleetState
from fleetling.update.assignment import MOST_SPREAD, Assignment, spread
from fleetling.update.fit import why_not
from fleetling.update.repository import Release
from fleetling.update.standing import At, Standing, standing
from fleetling.update.waves import parse_share, parse_waves

__all__ = ["STOP_AT", "Plan", "check_times", "make_plan"]

STOP_AT = "5%"
SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """Who gets what.

    Attributes:
        ids: who is to have it, in the order given.
        away: those of them that are away.
        unfit: {id: why} of those that cannot take it, which are left out.
        standings: where `ids` stand with it now.
        sizes: how many have it after each wave.
        stop_at: the share of failures that ends it; None without waves.
    """

    ids: tuple[str, ...]
    away: tuple[str, ...]
    unfit: Mapping[str, str]
    standings: Mapping[str, Standing]
    sizes: tuple[int, ...]
    stop_at: float | None = None
    releases: tuple[Release, ...] = field(default=())

    def at(self, *kinds: At) -> list[str]:
        return [name for name, one in self.standings.items() if one.at in kinds]

    def due(self, again: bool) -> list[str]:
        """Who is to be told; with `again` also those who were and did not confirm it."""
        if not again:
            return self.at(At.NONE)
        return [name for name, one in self.standings.items() if one.at is not At.DONE]

    def question(self, assignment: Assignment, again: bool) -> str:
        """What a person is to say yes to."""
        due = len(self.due(again))
        text = f"Assign {' and '.join(r.path for r in self.releases)} to {due} of "
        text += f"{len(self.ids)} devices, {len(self.away)} of them away"
        if len(self.sizes) > 1:
            text += f", in waves up to {', '.join(map(str, self.sizes))}"
        else:
            jitter = assignment.jitter_s
            text += f", all at once, over {jitter if jitter is not None else spread(due) or 0} s"
        return text + "?"


def check_times(assignment: Assignment) -> None:
    """Raises FleetlingError for times that contradict each other."""
    first, last = assignment.not_before, assignment.deadline
    if first is not None and last is not None and last < first:
        raise FleetlingError(
            "The deadline is before --not-before", "Nothing was changed. Give a later one."
        )
    if assignment.jitter_s is not None and assignment.jitter_s > MOST_SPREAD:
        raise FleetlingError("Boards spread over a day at most", "Give a shorter --jitter.")


def make_plan(
    state: FleetState,
    ids: Sequence[str],
    releases: Sequence[Release],
    *,
    strict: bool,
    waves: str | None,
    stop_at: str | None,
) -> Plan:
    """The plan for these devices.

    Args:
        strict: a device that cannot take it is an error; else it is left out.

    Raises:
        FleetlingError: a device cannot take it; nobody can; or waves without anybody to watch.
    """
    heard = {name: state.devices.get(name) or Device(name) for name in ids}
    unfit = {name: why for name in ids if (why := why_not(heard[name], releases))}
    fitting = tuple(name for name in ids if name not in unfit)
    if unfit and (strict or not fitting):
        raise FleetlingError(_listed(unfit), "Nothing was assigned.")
    targets = tuple(release.path for release in releases)
    away = tuple(name for name in fitting if not heard[name].online)
    given = {name: standing(heard[name], targets) for name in fitting}
    due = any(one.at is At.NONE for one in given.values())
    if waves is not None and due and len(away) == len(fitting):
        raise FleetlingError(
            "Nobody of them is online, and waves need somebody who answers",
            "Nothing was assigned. Try again when one is.",
        )
    return Plan(
        fitting,
        away,
        unfit,
        given,
        tuple(parse_waves(waves or "100%", len(fitting))),
        None if waves is None else parse_share(stop_at or STOP_AT),
        tuple(releases),
    )


def _listed(unfit: Mapping[str, str]) -> str:
    lines = [f"{name} cannot take it: {why}" for name, why in list(unfit.items())[:SHOWN]]
    if len(unfit) > SHOWN:
        lines.append(f"and {len(unfit) - SHOWN} more")
    return "\n".join(lines)
