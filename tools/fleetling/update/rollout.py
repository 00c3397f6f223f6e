# SPDX-License-Identifier: MIT
"""Carries out a rollout over the broker: looks, decides (`waves`), publishes, waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fleetling.errors import FleetlingError
from fleetling.fleet.operator import Operator
from fleetling.fleet.state import PREFIX, Device
from fleetling.update.assignment import Assignment, new_id, spread
from fleetling.update.standing import At, Standing, standing
from fleetling.update.waves import Do, Step, next_step, queue

__all__ = ["Look", "Outcome", "Rollout", "assign", "recall"]

LOOK_S = 0.5
ANSWER_S = 15.0
AT_ONCE = 500  # messages between two looks whether the broker has them


@dataclass(frozen=True)
class Look:
    """One look at a rollout: where each board stands, and what comes next."""

    given: Mapping[str, Standing]
    step: Step
    waves: int


@dataclass
class Outcome:
    """How it ended.

    Attributes:
        ended: "done", "stopped" at the threshold, or "timeout".
        published: ids of boards that were assigned it by this run.
        recalled: ids of boards from which it was taken back.
    """

    ended: str = "done"
    given: Mapping[str, Standing] = field(default_factory=dict)
    bad: tuple[str, ...] = ()
    published: list[str] = field(default_factory=list)
    recalled: list[str] = field(default_factory=list)


def assign(operator: Operator, device_ids: Sequence[str], assignment: Assignment) -> None:
    """Publishes an assignment for each device; the broker has them when this returns.

    Raises:
        FleetlingError: it has not taken all of them.
    """
    message = assignment.message()
    for first in range(0, len(device_ids), AT_ONCE):
        some = device_ids[first : first + AT_ONCE]
        for device_id in some:
            operator.publish(f"{PREFIX}{device_id}/down/update", message, retain=True)
        operator.settle(ANSWER_S)  # messages keep their order: all have come back when this has
        known = operator.state.devices
        for device_id in some:
            if device_id not in known or known[device_id].assigned.get("id") != assignment.id:
                raise FleetlingError(
                    f"The broker did not take the assignment of {device_id}",
                    "Does somebody else assign at this moment? Run the same command again.",
                )


def recall(operator: Operator, device_ids: Sequence[str]) -> str:
    """Takes back what is assigned to these; the id of the empty assignment."""
    empty = Assignment(new_id())
    assign(operator, device_ids, empty)
    return empty.id


class Rollout:
    """A release for boards, wave by wave.

    Args:
        operator: on the broker, hearing `online`, `up/#` and `down/update` of the boards.
        device_ids: who gets it, the first wave's first.
        assignment: what they get; without `jitter_s`, each wave gets what suits its size.
        sizes: how many have it after each wave.
        stop_at: the share of failures that ends it.
        again: whether boards that have it, and have not confirmed it, are assigned it anew.
    """

    def __init__(
        self,
        operator: Operator,
        device_ids: Sequence[str],
        assignment: Assignment,
        *,
        sizes: Sequence[int],
        stop_at: float | None = None,
        again: bool = False,
    ) -> None:
        self._operator = operator
        self._ids = list(device_ids)
        self._assignment = assignment
        self._sizes = list(sizes)
        self._stop_at = stop_at
        self._anew: set[str] = set()
        self.outcome = Outcome()
        if again:
            given = self._given()
            self._anew = {name for name in self._ids if given[name].at is not At.DONE}
        self._order = queue([self._device(name) for name in self._ids], self._given())

    def _device(self, name: str) -> Device:
        return self._operator.state.devices.get(name) or Device(name)

    def _given(self) -> dict[str, Standing]:
        found = {}
        for name in self._ids:
            found[name] = standing(self._device(name), self._assignment.targets)
            if name in self._anew:
                found[name] = replace(found[name], at=At.NONE)
        return found

    def look(self) -> Look:
        given = self._given()
        step = next_step(self._order, given, self._sizes, self._stop_at)
        return Look(given, step, len(self._sizes))

    def begin(self) -> Look:
        """Publishes what is due at once, and does not wait; the look afterwards."""
        look = self.look()
        if look.step.do is Do.ASSIGN:
            self._publish(look.step.ids)
        return self.look()

    def run(self, timeout_s: float | None, on_look: Callable[[Look], None]) -> Outcome:
        """Goes on to the end, to the threshold, or for `timeout_s` seconds.

        Args:
            timeout_s: None for no limit.
            on_look: called with each look.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            look = self.look()
            self.outcome.given = look.given
            on_look(look)
            if look.step.do is Do.END:
                return self.outcome
            if look.step.do is Do.STOP:
                self._stop(look)
                return self.outcome
            if look.step.do is Do.ASSIGN:
                self._publish(look.step.ids)
                continue
            if until is not None and time.monotonic() > until:
                self.outcome.ended = "timeout"
                return self.outcome
            self._operator.wait(lambda state: False, LOOK_S)

    def _publish(self, ids: Sequence[str]) -> None:
        jitter = self._assignment.jitter_s
        if jitter is None:
            jitter = spread(len(ids))
        assign(self._operator, ids, replace(self._assignment, jitter_s=jitter))
        self._anew.difference_update(ids)
        self.outcome.published += ids

    def _stop(self, look: Look) -> None:
        self.outcome.ended = "stopped"
        self.outcome.bad = look.step.ids
        self.outcome.recalled = [n for n, one in look.given.items() if one.recallable]
        if self.outcome.recalled:
            recall(self._operator, self.outcome.recalled)
