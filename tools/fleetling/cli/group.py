# SPDX-License-Identifier: MIT
"""`fleetling group`."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import rich_click as click
from rich.table import Table
from rich.text import Text

from fleetling import home
from fleetling.cli.options import home_option
from fleetling.cli.screen import errors, output
from fleetling.cli.targets import JSON, scopes_of
from fleetling.config.change import readable_schema
from fleetling.config.desk import Desk
from fleetling.config.layers import Group
from fleetling.config.reconcile import State
from fleetling.config.rules import Rule
from fleetling.config.shown import devices
from fleetling.config.store import ConfigStore
from fleetling.errors import FleetlingError
from fleetling.registry import Store

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
PRIORITY = 2**31 - 1  # what every database has


@click.group("group")
def command() -> None:
    """Groups: devices that a rule matches, and that are set together.

    A rule is terms that must all hold, such as: board=*ESP32* agent>=0.2 tag=beta,pilot. Fields
    are id, tag, location, role, board, build, chip, agent, firmware, app.
    """


@command.command("list")
@JSON
@home_option
def list_(as_json: bool, folder: Path | None) -> None:
    """All groups, the weakest first."""
    store = ConfigStore(Store(home.find(folder).database))
    state, known = store.state(), sorted(store.concerned())
    groups = sorted(state.groups.values(), key=lambda group: (group.priority, group.name))
    counts = {group.name: len(state.members(group, known)) for group in groups}
    if as_json:
        made = [
            {"name": g.name, "priority": g.priority, "rule": g.rule, "members": counts[g.name]}
            for g in groups
        ]
        click.echo(json.dumps(made, indent=2))
        return
    if not groups:
        output.print("No groups yet: fleetling group set NAME RULE", highlight=False)
        return
    table = Table("name", "priority", "members", "rule", box=None)
    for group in groups:
        count = str(counts[group.name])
        table.add_row(Text(group.name), str(group.priority), count, Text(group.rule))
    output.print(table)


@command.command("set")
@click.argument("name")
@click.argument("rule", nargs=-1, required=True, metavar="RULE")
@click.option(
    "--priority", type=click.IntRange(-PRIORITY, PRIORITY), help="The higher wins; 0 at first."
)
@click.option("--dry-run", is_flag=True, help="Only show who would be in it.")
@JSON
@home_option
def set_(
    name: str,
    rule: tuple[str, ...],
    priority: int | None,
    dry_run: bool,
    as_json: bool,
    folder: Path | None,
) -> None:
    """Make a group, or change its rule. A fixed list of members: tag them, and ask for the tag."""
    if not NAME.fullmatch(name):
        raise FleetlingError(f"{name!r} is no group's name", "Use 1 to 64 of a-z, A-Z, 0-9, . _ -")
    text = " ".join(rule)
    Rule(text)
    with Desk(home.find(folder)) as desk:
        state, known = desk.state(), sorted(desk.store.concerned())
        old = state.groups.get(name)
        kept = old.priority if old is not None else 0
        group = Group(name, text, kept if priority is None else priority)
        after = replace(state, groups={**state.groups, name: group})
        _refuse(state, after, known)
        members = after.members(group, known)
        sent: dict[str, int] = {}
        if not dry_run:
            desk.store.set_group(group)
            sent = desk.publish(known)
    if as_json:
        click.echo(json.dumps({"name": name, "members": members, "published": sorted(sent)}))
        return
    would = "would be" if dry_run else "is" if len(members) == 1 else "are"
    output.print(
        f"{devices(len(members))} {would} in {name}: {', '.join(members[:5])}"
        + (" ..." if len(members) > 5 else "")
        if members
        else f"No device is in {name} yet.",
        highlight=False,
        markup=False,
    )
    if sent:
        output.print(f"Published to {devices(len(sent))}.", highlight=False)


def _refuse(state: State, after: State, known: list[str]) -> None:
    """Raises what a board would refuse of what it gets by being in other groups than before."""
    for device_id in known:
        before, merged = state.wanted(device_id), after.wanted(device_id)
        if before == merged:
            continue
        schema = readable_schema(after, device_id)
        if schema is None:
            errors.print(
                f"Not checked: what {device_id} says that it can be told cannot be read here.",
                highlight=False,
                markup=False,
            )
            continue
        for name, value in merged.items():
            problem = schema.check(name, value)
            if problem is not None and before.get(name) != value:
                raise FleetlingError(f"{device_id}: {problem.text}", "Nothing was changed.")


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
@home_option
def delete(name: str, yes: bool, as_json: bool, folder: Path | None) -> None:
    """Delete a group; its settings fall away from its members."""
    with Desk(home.find(folder)) as desk:
        state, known = desk.state(), sorted(desk.store.concerned())
        scopes_of(state, set(known), [], name, fleet=False)
        members = state.members(state.groups[name], known)
        if not yes:
            if not sys.stdin.isatty():
                raise FleetlingError("Nobody is there to be asked", "Use --yes.")
            click.confirm(f"Delete {name}, with {devices(len(members))}?", abort=True)
        desk.store.delete_group(name)
        sent = desk.publish(known)
    if as_json:
        click.echo(json.dumps({"name": name, "published": sorted(sent)}))
        return
    output.print(
        f"{name} is deleted; published to {devices(len(sent))}. Its settings are kept, in case a "
        "group has this name again.",
        highlight=False,
        markup=False,
    )


@command.command()
@click.argument("name")
@JSON
@home_option
def members(name: str, as_json: bool, folder: Path | None) -> None:
    """Who is in a group, by what the hub knows of the devices."""
    store = ConfigStore(Store(home.find(folder).database))
    state, known = store.state(), store.concerned()
    scopes_of(state, known, [], name, fleet=False)
    found = state.members(state.groups[name], sorted(known))
    if as_json:
        click.echo(json.dumps(found))
        return
    output.print("\n".join(found) or f"No device is in {name}.", highlight=False, markup=False)
