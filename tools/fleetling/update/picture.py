# SPDX-License-Identifier: MIT
"""Where boards stand with updates, as a table for people and as data for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from fleetling.config.shown import devices
from fleetling.update.rollout import Look, Outcome
from fleetling.update.standing import At, Standing
from fleetling.update.waves import Do
from fleetling.update.words import bar, code_words, mark, sentence, versions

__all__ = [
    "as_data",
    "counts",
    "ending",
    "in_a_line",
    "interrupted",
    "news",
    "noteworthy",
    "progress",
    "table",
]

COLOURS = {
    At.DONE: "green",
    At.BAD: "red",
    At.OPEN: "yellow",
    At.PENDING: "yellow",
    At.HELD: "yellow",
    At.AWAY: "dim",
}
ROWS = 20


def table(found: Iterable[Standing]) -> Table:
    """A row for each board."""
    made = Table("device", "state", "version", "", box=None, pad_edge=False)
    made.columns[0].overflow = "fold"
    for one in found:
        style = COLOURS.get(one.at, "")
        words = sentence(one)
        if one.at is At.OPEN and one.report.state == "fetching" and one.report.share is not None:
            words = f"{bar(one.report.share)}  {words}"
        made.add_row(
            Text(one.id),
            Text(mark(one), style),
            Text(versions(one)),
            Text(words, style if one.at is At.BAD else ""),
        )
    return made


def progress(look: Look) -> Table:
    """A rollout while it runs: what it waits for, and of many boards those that matter."""
    made = Table(box=None, show_header=False, pad_edge=False)
    has = [one for one in look.given.values() if one.at is not At.NONE]
    wave = f"wave {look.step.wave} of {look.waves}: " if look.waves > 1 else ""
    made.add_row(f"{wave}{len(has)} of {len(look.given)} have it assigned; {counts(has)}")
    rows = [one for one in has if one.at is not At.DONE] if len(has) > ROWS else has
    made.add_row(table(rows[:ROWS]))
    if len(rows) > ROWS:
        made.add_row(f"and {len(rows) - ROWS} more")
    if look.step.do is Do.WAIT and look.waves > 1 and look.step.wave < look.waves:
        made.add_row(Text("The next wave begins when these have confirmed it.", "dim"))
    return made


def counts(found: Collection[Standing]) -> str:
    """'3 confirmed, 1 fetching'."""
    words = Counter(mark(one) for one in found)
    return ", ".join(f"{count} {word}" for word, count in words.most_common())


def as_data(one: Standing) -> dict[str, Any]:
    """A board for `--json`."""
    report = asdict(one.report)
    report["versions"] = dict(one.report.versions)
    what, to_do = code_words(one.report.code) if one.report.code else ("", "")
    return {
        "online": one.online,
        "standing": one.at.name.lower(),
        "assigned": None if one.assignment is None else asdict(one.assignment),
        "report": report if one.report.state else None,
        "says": sentence(one, advice=False),
        "reason": what,
        "to_do": to_do.replace(" ID", " " + one.id),
    }


def noteworthy(one: Standing) -> bool:
    """Whether a board is at an update, or its last one went wrong."""
    return one.report.state not in ("", "idle", "confirmed")


def in_a_line(one: Standing) -> str:
    """An update among other things that are said of a board."""
    share = bar(one.report.share) if one.report.state == "fetching" else ""
    said = [sentence(one, advice=False), versions(one), share]
    return "  ".join(part for part in said if part)


def news(look: Look, told: dict[str, str]) -> Iterator[str]:
    """The same as lines, for where there is no terminal; `told` is what was said before."""
    if look.waves > 1 and look.step.do in (Do.ASSIGN, Do.WAIT):
        has = sum(one.at is not At.NONE for one in look.given.values())
        wave = f"wave {look.step.wave} of {look.waves}"
        if told.get("") != wave and look.step.do is Do.WAIT:
            told[""] = wave
            yield f"{wave}: {has} of {len(look.given)} have it assigned"
    for name, one in look.given.items():
        if one.at is At.NONE:
            continue
        fetching = one.at is At.OPEN and one.report.state == "fetching"
        share = int((one.report.share or 0) * 4) * 25 if fetching else 0
        said = sentence(one) + (f", {share} %" if share else "")
        if told.get(name) != said:
            told[name] = said
            yield f"{name}: {said}"


def ending(outcome: Outcome) -> Iterator[str]:
    """How a rollout ended."""
    given = outcome.given
    done = sum(one.at is At.DONE for one in given.values())
    bad = {name: one for name, one in given.items() if one.at is At.BAD}
    for name, one in list(bad.items())[:ROWS]:
        yield f"{name}: {sentence(one)}"
    if len(bad) > ROWS:
        yield f"and {len(bad) - ROWS} more"
    if outcome.ended == "stopped":
        never = sum(one.at is At.NONE for one in given.values())
        yield f"Stopped: {len(bad)} of {len(given) - never} could not keep it."
        if outcome.recalled:
            yield f"Taken back from {devices(len(outcome.recalled))} that had not begun to run it."
        still = sum(
            one.at is At.OPEN and name not in outcome.recalled for name, one in given.items()
        )
        if still:
            yield f"Still on trial with it, and back by itself where it fails: {devices(still)}."
        if never:
            yield f"Never assigned it: {devices(never)}."
        yield "Assign a corrected version; or go on with this one: --again, or a higher --stop-at."
        return
    yield f"{done} of {len(given)} run it."
    if outcome.ended == "timeout":
        yield "The time to wait is over; boards go on. fleetling update status shows how far."
    away = sum(one.at is At.AWAY for one in given.values())
    if away:
        yield f"Away, to take it when it comes: {devices(away)}."
    held = sum(one.at is At.HELD for one in given.values())
    if held:
        yield f"Held until it runs what the release requires: {devices(held)}."
    never = sum(one.at is At.NONE for one in given.values())
    if never:
        yield f"Not assigned it yet: {devices(never)}."


def interrupted(given: Mapping[str, Standing]) -> str:
    """What stays when somebody ends it by Ctrl-C."""
    has = [one for one in given.values() if one.at is not At.NONE]
    text = f"{len(has)} of {len(given)} have it assigned ({counts(has)}), and go on by themselves."
    if len(has) < len(given):
        text += " Nobody else gets it."
    return text
