# SPDX-License-Identifier: MIT
"""How far a board is with what was assigned to it, by what the broker keeps. No I/O.

There is no other record of a rollout: the retained assignment says what a board was told, its
retained report what became of that. Reports come from boards, which may be broken or hostile:
whatever is not as expected counts as missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from fleetling.config.schema import plain
from fleetling.fleet.state import Device
from fleetling.update.assignment import Assignment

__all__ = ["STATES", "At", "Report", "Standing", "standing"]

STATES = (
    *("idle", "assigned", "fetching", "verified", "waiting", "switching", "trial"),
    *("confirmed", "reverting", "reverted", "failed", "refused"),
)
BAD = ("reverted", "failed", "refused")
RESCUE = "rescue"  # instead of any: the board has no application that is good, and fetches one
# Until then an assignment can be taken back; afterwards the board is in the new release already.
RECALLABLE = ("idle", "assigned", "fetching", "verified", "waiting")
LONGEST = 200


@dataclass(frozen=True)
class Report:
    """What a board says on `up/update`; texts are safe to show."""

    state: str = ""
    id: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    done: int = 0
    of: int = 0
    code: str = ""
    detail: str = ""
    why: str = ""
    tries: int = 0
    at: int = 0

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Report:
        def text(name: str) -> str:
            value = document.get(name)
            return plain(value[:LONGEST]) if isinstance(value, str) else ""

        def number(name: str) -> int:
            value = document.get(name)
            return value if isinstance(value, int) and 0 <= value < 1 << 40 else 0

        return cls(
            state=text("state"),
            id=text("id"),
            versions=tuple((kind, text(kind)) for kind in ("app", "firmware") if text(kind)),
            done=number("done"),
            of=number("of"),
            code=text("code"),
            detail=text("detail"),
            why=text("why"),
            tries=number("tries"),
            at=number("at"),
        )

    @property
    def same(self) -> bool:
        """There was nothing to do."""
        return self.state == "idle" and self.code == "same"

    @property
    def held(self) -> bool:
        """What the release requires is not there yet."""
        return self.state == "waiting" and self.why == "requires"

    @property
    def over(self) -> bool:
        return self.state == "confirmed" or self.state in BAD or self.same

    @property
    def share(self) -> float | None:
        """How much of the download is there, 0 to 1."""
        return min(1.0, self.done / self.of) if self.of else None


class At(Enum):
    """Where a board stands with an assignment."""

    NONE = "not assigned"
    AWAY = "away"  # it has not taken it
    PENDING = "not taken yet"  # though it is online
    OPEN = "under way"
    HELD = "held"
    DONE = "confirmed"
    BAD = "failed"


@dataclass(frozen=True)
class Standing:
    """A board, what it was told last, what it says, and what that comes to."""

    id: str
    online: bool
    at: At
    assignment: Assignment | None
    report: Report

    @property
    def taken(self) -> bool:
        """Whether the report is about the assignment."""
        return self.assignment is not None and self.report.id == self.assignment.id

    @property
    def recallable(self) -> bool:
        """Whether taking the assignment back leaves the board with what it runs."""
        if self.at in (At.AWAY, At.PENDING, At.HELD):
            return True
        return self.at is At.OPEN and self.report.state in RECALLABLE


def standing(device: Device, targets: tuple[str, ...] | None = None) -> Standing:
    """Where a device stands with what it was told last; with `targets`, with those alone."""
    assignment = Assignment.read(device.assigned)
    report = Report.read(device.update)
    if assignment is None or (targets is not None and set(assignment.targets) != set(targets)):
        at = At.NONE
    elif report.held and (report.id == assignment.id or device.online):
        at = At.HELD
    elif report.id != assignment.id or _of_the_last(report, assignment):
        at = At.PENDING if device.online else At.AWAY
    elif report.state == "confirmed" or report.same:
        at = At.DONE
    elif report.state in BAD:
        at = At.BAD
    else:
        at = At.OPEN
    return Standing(device.id, device.online, at, assignment, report)


def _of_the_last(report: Report, assignment: Assignment) -> bool:
    """Whether what was confirmed is another version: a board that was given this assignment while
    it tried the last one ends that under this one's id."""
    if report.state != "confirmed":
        return False
    said = dict(report.versions)
    return any(
        said.get(kind, version) != version
        for kind, version in map(_kind_and_version, assignment.targets)
    )


def _kind_and_version(path: str) -> tuple[str, str]:
    version, _, suffix = path.rpartition("/")[2].rpartition(".")
    return {"app": "app", "fw": "firmware"}.get(suffix, ""), version
