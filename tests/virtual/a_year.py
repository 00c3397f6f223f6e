# SPDX-License-Identifier: MIT
"""Days, or a year, in the life of one board, with seeded faults, in virtual time.

What fails has to be told, what is quiet has to stay so, and nothing may grow.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fleetling.demo.virtual import START, VirtualFleet
from fleetling.simboard.inprocess import Board

DAY = 86_400
HEARTBEAT_S = 900
SEED = 20261123
# docs/measured wear: sectors of NOR flash take 100,000 erases; ten years of them.
MOST_ERASES_A_DAY = 100_000 / 3650
APPLICATION = {
    "app.py": b"""\
import agent


async def main(task):
    while True:
        agent.count("rounds")
        await task.sleep(300)
"""
}


@dataclass
class Expected:
    """An alert that has to come: metric and kind, between two instants of virtual time."""

    metric: str
    kind: str
    begins: float
    ends: float
    found: bool = False


@dataclass
class Year:
    """The world around the board, with its faults."""

    fleet: VirtualFleet
    board: Board
    random: random.Random = field(default_factory=lambda: random.Random(SEED))
    expected: list[Expected] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    leaking_until: float = 0.0
    busy_until: float = 0.0

    @property
    def point(self) -> dict[str, Any]:
        found: dict[str, Any] = self.fleet.air.points[0]
        return found

    def later(self, seconds: float, fault: str, action: Any) -> None:
        self.faults[fault] += 1
        self.board.at(seconds, action)

    def day(self) -> None:
        """Plans the faults of one day, and lets it pass."""
        rng = self.random
        for hour in range(24):
            self.board.at(hour * 3600, self.breathe)
        if rng.random() < 0.2:
            self.outage("wifi lost", self.wifi, rng.choice((30, 300, 3600, 6 * 3600)))
        if rng.random() < 0.2:
            self.outage("broker refuses", self.broker, rng.choice((60, 1800, 4 * 3600)))
        if rng.random() < 0.15:
            at = rng.uniform(0, DAY)
            self.later(at, "connection dropped", lambda: self.fleet.broker.drop("dev"))
        if rng.random() < 0.06:
            self.later(rng.uniform(0, DAY), "brownout", self.brownout)
        if self.board.now > self.busy_until:
            if rng.random() < 0.03:
                self.leak(rng.uniform(0, DAY / 2))
            elif rng.random() < 0.02:
                self.weak_signal(rng.uniform(0, DAY / 2))
        self.board.run(DAY)

    def breathe(self) -> None:
        """What is never quite the same."""
        rng = self.random
        if self.board.now > self.busy_until:
            self.point["rssi"] = -58 + rng.randint(-4, 4)
            self.board.chip.heap_held = rng.randint(0, 1500)

    def outage(self, name: str, switch: Any, seconds: float) -> None:
        at = self.random.uniform(0, DAY)
        self.later(at, name, lambda: switch(False))
        self.board.at(at + seconds, lambda: switch(True))

    def mend(self) -> None:
        """From now on nothing fails."""
        self.wifi(True)
        self.fleet.host.refuse = False

    def wifi(self, up: bool) -> None:
        self.point["up"] = up

    def broker(self, up: bool) -> None:
        self.fleet.host.refuse = not up
        if not up:
            self.fleet.broker.restart()

    def brownout(self) -> None:
        self.board.power_cycle()
        self.leaking_until = 0  # the heap is new

    def leak(self, at: float) -> None:
        """100 bytes a minute, until somebody restarts the board eight hours later."""
        begins = self.board.now + at
        self.busy_until = begins + 8 * 3600
        self.leaking_until = self.busy_until
        alert = Expected("heap", "leak", begins, self.busy_until)
        self.faults["leak"] += 1

        def drop() -> None:
            if self.board.now < self.leaking_until:
                self.board.chip.heap_held += 1000
                self.board.at(600, drop)
            elif self.leaking_until:
                self.expected.append(alert)
                self.board.power_cycle()

        self.board.at(at, drop)

    def weak_signal(self, at: float) -> None:
        begins = self.board.now + at
        self.busy_until = begins + 6 * 3600
        self.expected.append(Expected("rssi", "step", begins, self.busy_until))

        def weaken() -> None:
            self.point["rssi"] = -91

        self.later(at, "weak signal", weaken)


def total_erases(board: Board) -> list[int]:
    return [board.flash.erases(sector) for sector in range(board.flash.size // 4096)]


def judge(year: Year, raised: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Marks what was expected as found; returns the false alarms."""
    false = []
    for alert in raised:
        at = alert["at"] - START
        for wanted in year.expected:
            during = wanted.begins <= at <= wanted.ends + HEARTBEAT_S
            if during and wanted.metric == alert["metric"]:
                wanted.found = wanted.found or wanted.kind == alert["kind"]
                break
        else:
            false.append(alert)
    return false


@dataclass
class Outcome:
    """What came of it; `check` holds it against what is promised."""

    days: int
    seconds: float
    lives: int
    faults: dict[str, int]
    events: list[dict[str, Any]]
    heartbeats: int
    late: int
    raised: int
    expected: int
    missed: list[Expected]
    false: list[dict[str, Any]]
    erases: list[int]
    largest: dict[str, int]
    kept: int
    waiting: int

    def __str__(self) -> str:
        return (
            f"{self.days} days in {self.seconds:.0f} s, {self.lives} boots\n"
            f"faults: {self.faults}\n"
            f"{len(self.events)} events, {self.heartbeats} heartbeats, {self.late} of them late; "
            f"alerts: {self.raised} raised, {self.expected} expected, {len(self.missed)} missed, "
            f"{len(self.false)} false\n"
            f"erases: {sum(self.erases) / self.days:.1f} a day, "
            f"{max(self.erases) / self.days:.2f} of one sector (budget {MOST_ERASES_A_DAY:.1f}); "
            f"largest files {self.largest}"
        )

    def check(self) -> None:
        numbers = sorted(event["seq"] for event in self.events)
        assert numbers == list(range(1, len(numbers) + 1))  # none is missing
        assert self.expected and not self.missed, self.missed
        assert len(self.false) * 30 <= self.days, self.false  # one a month
        assert max(self.erases) / self.days < MOST_ERASES_A_DAY
        assert max(self.largest.values()) < 32 * 1024 and self.kept < 80 and self.waiting < 64
        boots = [event for event in self.events if event["code"] == "boot"]
        assert {event["cause"] for event in boots} == {"power-on"}
        assert self.lives == len(boots)


def live(days: int) -> Outcome:
    """Lets so many days pass."""
    started = time.monotonic()
    fleet = VirtualFleet()
    provision = fleet.provision(settings={"heartbeat_s": HEARTBEAT_S})
    largest: Counter[str] = Counter()
    with fleet.board(provision, app=APPLICATION) as board:
        year = Year(fleet, board)
        board.boot(60)
        before = total_erases(board)
        for _ in range(days):
            year.day()
            for path, data in board.files().items():
                if path.startswith("/fl/"):
                    largest[path] = max(largest[path], len(data))
        erases = [b - a for a, b in zip(before, total_erases(board), strict=True)]
        year.mend()
        board.run(3600)
        runtime: Any = board.sandbox.importer.modules["agent"]._runtime
        kept = len(runtime.heartbeat.learned)
        waiting = runtime.events.waiting()
    events = {e["seq"]: e for e in fleet.documents("up/event")}
    raised = [e for e in events.values() if e["code"] == "alert" and e["raised"]]
    false = judge(year, raised)
    health = fleet.documents("up/health")
    return Outcome(
        days=days,
        seconds=time.monotonic() - started,
        lives=board.lives,
        faults=dict(year.faults),
        events=list(events.values()),
        heartbeats=len(health),
        late=sum(bool(heartbeat.get("late")) for heartbeat in health),
        raised=len(raised),
        expected=len(year.expected),
        missed=[alert for alert in year.expected if not alert.found],
        false=false,
        erases=erases,
        largest=dict(largest),
        kept=kept,
        waiting=waiting,
    )
