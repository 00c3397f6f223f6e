# SPDX-License-Identifier: MIT
"""`fleetling update`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click
from rich.live import Live

from fleetling import home
from fleetling.cli.options import home_option
from fleetling.cli.screen import errors, output
from fleetling.cli.targets import JSON
from fleetling.config.shown import devices
from fleetling.errors import FleetlingError
from fleetling.update.assignment import Assignment, moment, new_id, span
from fleetling.update.boards import chosen, standings, watching
from fleetling.update.picture import (
    as_data,
    counts,
    ending,
    interrupted,
    news,
    progress,
    table,
)
from fleetling.update.plan import STOP_AT, Plan, check_times, make_plan
from fleetling.update.repository import Catalogue
from fleetling.update.rollout import Look, Rollout, recall
from fleetling.update.standing import At, Standing
from fleetling.update.waves import parse_share, parse_waves
from fleetling.update.words import code_words, mark

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])
URGENT = (At.BAD, At.OPEN, At.HELD, At.PENDING, At.AWAY, At.DONE, At.NONE)
STANDING = {
    "Running it already": (At.DONE,),
    "Could not keep it (--again assigns it anew)": (At.BAD,),
    "Assigned it already": (At.OPEN, At.PENDING, At.HELD, At.AWAY),
}
ANSWER_S = 15.0
WAIT_S = 1800.0
SHOWN = 5


@click.group("update")
def command() -> None:
    """Assign releases to boards, and see what becomes of them.

    An assignment waits at the broker, so a board that is away takes it when it comes. A board
    fetches, verifies, switches at a time that suits, and goes back by itself from what does not
    work.
    """


def _whom(function: F) -> F:
    group = click.option("--group", metavar="GROUP", help="The devices of a group.")
    fleet = click.option("--fleet", is_flag=True, help="All devices.")
    return group(fleet(function))


def _named(ids: Sequence[str], group: str | None, fleet: bool, *, all_: bool = False) -> list[str]:
    """The ids, once each; checked that one kind of target is named (none is all with `all_`)."""
    names = list(dict.fromkeys(ids))
    kinds = bool(names) + (group is not None) + fleet
    if kinds > 1 or (not kinds and not all_):
        raise FleetlingError(
            "Which devices?" if not kinds else "Devices, a group, or the fleet: one of them",
            "Give ids (fleetling device list), --group GROUP (fleetling group list), or --fleet.",
        )
    return names


@command.command()
@click.argument("arguments", nargs=-1, metavar="TARGET [TARGET] [ID]...")
@_whom
@click.option("--not-before", metavar="TIME", help="When boards may begin: +2h, or ISO (UTC).")
@click.option("--deadline", metavar="TIME", help="From when window and busy hold nothing up.")
@click.option("--jitter", metavar="SPAN", help="Spread the beginning; else by their number.")
@click.option("--waves", metavar="LIST", help="Step by step: 1,10%,100%. Waits for each wave.")
@click.option("--stop-at", metavar="SHARE", help="Failures that end the waves.  [default: 5%]")
@click.option("--again", is_flag=True, help="Also to boards that have it and did not confirm it.")
@click.option("--wait", is_flag=True, help="Wait for what becomes of it.")
@click.option("--timeout", metavar="SPAN", help="How long to wait.  [default: 30m; waves: no end]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
@home_option
def assign(
    arguments: tuple[str, ...],
    group: str | None,
    fleet: bool,
    not_before: str | None,
    deadline: str | None,
    jitter: str | None,
    waves: str | None,
    stop_at: str | None,
    again: bool,
    wait: bool,
    timeout: str | None,
    yes: bool,
    as_json: bool,
    folder: Path | None,
) -> None:
    """Tell boards to run a release: pump/1.2.0, or a target's whole path.

    An application and a firmware that are given together move together. Run the same command
    again to go on where it was.
    """
    targets = [text for text in arguments if "/" in text]
    named = _named([text for text in arguments if "/" not in text], group, fleet)
    if not targets:
        raise FleetlingError(
            "Which release?",
            "Give PRODUCT/VERSION, for example pump/1.2.0; fleetling release list has them.",
        )
    place = home.find(folder)
    catalogue = Catalogue(place.repository)
    releases = catalogue.find(targets)
    for role, when in catalogue.lapsed:
        errors.print(
            f"The {role} metadata here ran out at {when:%Y-%m-%d %H:%M} UTC; boards refuse it. "
            "If it is so on the server too: fleetling release refresh.",
            highlight=False,
        )
    assignment = Assignment(
        new_id(),
        tuple(release.path for release in releases),
        moment(not_before) if not_before else None,
        moment(deadline) if deadline else None,
        None if jitter is None else int(span(jitter)),
    )
    check_times(assignment)
    if stop_at is not None and waves is None:
        raise FleetlingError("--stop-at needs --waves", "For example --waves 1,10%,100%.")
    parse_waves(waves or "100%", 1)
    parse_share(stop_at or STOP_AT)
    limit_s = span(timeout) if timeout else None if waves else WAIT_S
    ids = chosen(place, named, group)
    with watching(place, ids) as operator:
        plan = make_plan(
            operator.state, ids, releases, strict=bool(named), waves=waves, stop_at=stop_at
        )
        for name, why in plan.unfit.items():
            errors.print(f"Left out: {name}: {why}.", highlight=False, markup=False)
        if plan.due(again) and not named and not yes:
            _ask(plan.question(assignment, again))
        rollout = Rollout(
            operator,
            plan.ids,
            assignment,
            sizes=plan.sizes,
            stop_at=plan.stop_at,
            again=again,
        )
        if not wait and waves is None:
            _publish(rollout, plan, as_json)
            return
        _follow(rollout, limit_s, as_json)


def _publish(rollout: Rollout, plan: Plan, as_json: bool) -> None:
    """Without waiting for anybody."""
    given = rollout.begin().given
    published = rollout.outcome.published
    if as_json:
        click.echo(json.dumps(_data("published", rollout, given), indent=2))
        return
    text = f"Assigned to {devices(len(published))}" if published else "Nobody was to be told"
    away = len(set(published) & set(plan.away))
    text += f"; {away} away now, and will take it when they come." if away else "."
    output.print(text, highlight=False)
    for words, kinds in STANDING.items():
        names = [n for n, one in given.items() if one.at in kinds and n not in published]
        if names:
            who = ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
            output.print(f"{words}: {who}", highlight=False, markup=False)


def _data(ended: str, rollout: Rollout, given: Mapping[str, Standing]) -> dict[str, Any]:
    return {
        "ended": ended,
        "published": rollout.outcome.published,
        "recalled": rollout.outcome.recalled,
        "devices": {name: as_data(one) for name, one in given.items()},
    }


def _follow(rollout: Rollout, limit_s: float | None, as_json: bool) -> None:
    """Shows a rollout until it ends, and says how it did."""
    live = (
        Live(console=errors, auto_refresh=False, transient=True) if sys.stderr.isatty() else None
    )
    told: dict[str, str] = {}

    def show(look: Look) -> None:
        if live is not None:
            live.update(progress(look), refresh=True)
            return
        for line in news(look, told):
            errors.print(line, highlight=False, markup=False, soft_wrap=True)

    if live is not None:
        live.start()
    try:
        outcome = rollout.run(limit_s, show)
    except (KeyboardInterrupt, FleetlingError) as e:
        if live is not None:
            live.stop()
        said = interrupted(rollout.outcome.given)
        said += f"\nTo go on:\n  fleetling {shlex.join(sys.argv[1:])}"
        if isinstance(e, FleetlingError):
            raise FleetlingError(e.message, said) from e
        errors.print(said, highlight=False, markup=False, soft_wrap=True)
        raise
    finally:
        if live is not None:
            live.stop()
    if as_json:
        click.echo(json.dumps(_data(outcome.ended, rollout, outcome.given), indent=2))
    else:
        for line in ending(outcome):
            output.print(line, highlight=False, markup=False, soft_wrap=True)
    # Who was not assigned it belongs to no wave: the last one may be less than all.
    kept = all(one.at in (At.DONE, At.NONE) for one in outcome.given.values())
    if outcome.ended != "done" or not kept:
        sys.exit(1)


@command.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_whom
@JSON
@home_option
def status(
    ids: tuple[str, ...], group: str | None, fleet: bool, as_json: bool, folder: Path | None
) -> None:
    """How far boards are, why they wait, what went wrong. Without arguments, all of them."""
    named = _named(ids, group, fleet, all_=True)
    place = home.find(folder)
    everybody = chosen(place, named, group)
    with watching(place, everybody) as operator:
        found = standings(operator, everybody)
    if as_json:
        click.echo(json.dumps({name: as_data(one) for name, one in found.items()}, indent=2))
        return
    rows = sorted(found.values(), key=lambda one: URGENT.index(one.at))
    output.print(table(rows))
    if len(rows) > 1:
        output.print(f"{devices(len(rows))}: {counts(rows)}", highlight=False)


@command.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_whom
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
@home_option
def cancel(
    ids: tuple[str, ...],
    group: str | None,
    fleet: bool,
    yes: bool,
    as_json: bool,
    folder: Path | None,
) -> None:
    """Take back what boards have not begun to run."""
    named = _named(ids, group, fleet)
    place = home.find(folder)
    everybody = chosen(place, named, group)
    with watching(place, everybody) as operator:
        found = standings(operator, everybody)
        due = [name for name, one in found.items() if one.recallable]
        late = [n for n, one in found.items() if one.at is At.OPEN and not one.recallable]
        if due and not named and not yes:
            _ask(f"Take back what is assigned to {devices(len(due))}?")
        if due:
            recall(operator, due)
    made = {name: _cancelled(one) for name, one in found.items()}
    if as_json:
        click.echo(json.dumps(made, indent=2))
    elif named:
        for name, text in made.items():
            output.print(f"{name}: {text}", highlight=False, markup=False)
    else:
        output.print(f"Taken back from {devices(len(due))}.", highlight=False)
    if late:
        errors.print(
            f"Too late for {', '.join(late)}: when it is over, fleetling update previous goes "
            "back.",
            highlight=False,
            markup=False,
        )
        sys.exit(1)


def _cancelled(one: Standing) -> str:
    if one.recallable:
        return "taken back"
    if one.at is At.OPEN:
        return f"too late: {mark(one)}"
    return "nothing is under way"


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise FleetlingError("Nobody is there to be asked", "Nothing was changed. Use --yes.")
    click.confirm(question, abort=True, err=True)


@command.command()
@click.argument("device_id", metavar="ID")
@click.option(
    "--kind", type=click.Choice(["app", "firmware"]), required=True, help="What goes back."
)
@JSON
@home_option
def previous(device_id: str, kind: str, as_json: bool, folder: Path | None) -> None:
    """Have a board go back to what it ran before, on trial, without a download."""
    place = home.find(folder)
    chosen(place, [device_id], None)
    with watching(place, [device_id]) as operator:
        one = standings(operator, [device_id])[device_id]
        if not one.online:
            raise FleetlingError(
                f"{device_id} is away", "Nothing was changed. A command reaches a board online."
            )
        if one.at in (At.OPEN, At.PENDING):
            raise FleetlingError(
                f"{device_id} is at an update: {mark(one)}",
                f"Wait until it is over, or: fleetling update cancel {device_id}",
            )
        if one.assignment is not None:
            # Or it would be taken for new once the board has gone back.
            empty = recall(operator, [device_id])
            operator.wait(
                lambda state: state.devices[device_id].update.get("id") == empty, ANSWER_S
            )
        reply = operator.command(device_id, "previous", {"kind": kind}, timeout_s=ANSWER_S)
    if reply.get("status") != "ok":
        code = str(reply.get("code", "no reason"))
        what, to_do = code_words(code)
        raise FleetlingError(f"{device_id} refused: {what} ({code})", to_do)
    if as_json:
        click.echo(json.dumps({device_id: {"status": "goes back", "kind": kind}}))
        return
    output.print(
        f"{device_id} goes back. How it does: fleetling update status {device_id}",
        highlight=False,
        markup=False,
    )
