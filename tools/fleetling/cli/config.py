# SPDX-License-Identifier: MIT
"""`fleetling config`: what devices, groups and the fleet are set to."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import rich_click as click
from rich.table import Table
from rich.text import Text

from fleetling import home
from fleetling.cli.changing import Assignments, change_options, run_change, run_edit
from fleetling.cli.options import home_option
from fleetling.cli.screen import errors, output
from fleetling.cli.targets import JSON, ids_of, scope_options, scopes_of
from fleetling.config.change import schema_of
from fleetling.config.desk import Desk
from fleetling.config.layers import FLEET, Scope
from fleetling.config.shown import Shown, rows
from fleetling.config.store import must_know
from fleetling.errors import FleetlingError


@click.group("config")
def command() -> None:
    """Settings of devices, groups, and the fleet.

    A device has its own settings above those of its groups, those above the fleet's, those above
    what it was flashed with.
    """


def _tell_away(desk: Desk) -> None:
    if desk.away:
        errors.print(
            f"{desk.away}\nThis is what the database knows.", highlight=False, markup=False
        )


def _print_json(made: Any) -> None:
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))


@command.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@scope_options
@JSON
@home_option
def show(
    ids: tuple[str, ...], group: str | None, fleet: bool, as_json: bool, folder: Path | None
) -> None:
    """Settings, where each comes from, and what is not on the board yet."""
    named = ids_of(ids, group, fleet)
    with Desk(home.find(folder), named, offline=True) as desk:
        state = desk.state()
        scopes = scopes_of(state, desk.store.known(), named, group, fleet)
        shown = Shown(state)
        _tell_away(desk)
        if not named:
            config = state.layers.get(scopes[0]).config
            if as_json:
                _print_json({str(scopes[0]): shown.config(config)})
                return
            _print_layer(scopes[0], {n: shown.text(n, v) for n, v in config.items()})
            return
        made = {name: rows(state, shown, name, desk.store.epoch) for name in named}
        if as_json:
            for table in made.values():
                for row in table:
                    del row["shown"]
            _print_json(made)
            return
        for name, found in made.items():
            _print_rows(name, found, heading=len(made) > 1)
            if state.of(name).schema is None:
                errors.print(
                    f"{name} never said what it can be told: its application's settings are "
                    "unknown.",
                    highlight=False,
                )


def _print_layer(scope: Scope, texts: dict[str, str]) -> None:
    if not texts:
        output.print(f"Nothing is set for {scope}.", highlight=False, markup=False)
        return
    table = Table("name", "value", box=None)
    for name, text in texts.items():
        table.add_row(Text(name), Text(text))
    output.print(table)


def _print_rows(name: str, found: list[dict[str, Any]], *, heading: bool) -> None:
    if heading:
        output.print(Text(name, "bold"))
    table = Table("name", "value", "origin", "", box=None)
    for row in found:
        style = "dim" if row["origin"] == "default" else ""
        table.add_row(
            Text(row["name"], style),
            Text(row["shown"], style),
            Text(row["origin"], style),
            Text(row["note"], "red" if row["note"].startswith("refused") else "yellow"),
        )
    output.print(table)


@command.command("set")
@click.argument("arguments", nargs=-1, metavar="[ID]... NAME=VALUE...")
@click.option(
    "--wifi",
    metavar="SSID",
    help="Put a network first in the list; its password is asked for, or taken from "
    "FLEETLING_WIFI_PASSWORD or a pipe.",
)
@click.option("--ask", multiple=True, metavar="NAME", help="Ask for this value, unseen.")
@scope_options
@change_options
@home_option
def set_(
    arguments: tuple[str, ...],
    wifi: str | None,
    ask: tuple[str, ...],
    group: str | None,
    fleet: bool,
    folder: Path | None,
    **options: Any,
) -> None:
    """Change settings: NAME=VALUE, NAME=@FILE, or NAME=@- for standard input.

    Everything is checked against what each board says it can be told, before anything is stored
    or sent. Secrets are no arguments: other users can read those.
    """
    given = [text for text in arguments if "=" in text]
    named = ids_of([text for text in arguments if "=" not in text], group, fleet)
    assignments = Assignments(given, wifi, ask)
    run_change(home.find(folder), named, group, fleet, assignments, **options)


@command.command()
@click.argument("arguments", nargs=-1, metavar="[ID]... NAME...")
@scope_options
@change_options
@home_option
def unset(
    arguments: tuple[str, ...],
    group: str | None,
    fleet: bool,
    folder: Path | None,
    **options: Any,
) -> None:
    """Take settings away from a layer, so that they fall to the layer below."""
    run_change(home.find(folder), list(arguments), group, fleet, None, **options)


@command.command()
@click.argument("ids", nargs=-1, metavar="[ID]")
@scope_options
@change_options
@home_option
def edit(
    ids: tuple[str, ...], group: str | None, fleet: bool, folder: Path | None, **options: Any
) -> None:
    """Change a layer in your $EDITOR."""
    named = ids_of(ids, group, fleet)
    if len(named) > 1:
        raise FleetlingError("One layer at a time", "Give one id, or use config set.")
    run_edit(home.find(folder), named, group, fleet, **options)


@command.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID [ID]")
@JSON
@home_option
def diff(ids: tuple[str, ...], as_json: bool, folder: Path | None) -> None:
    """What a device is to have against what it reports; or two devices against each other."""
    if len(ids) > 2:
        raise FleetlingError("Two devices can be compared", "Give one id or two.")
    with Desk(home.find(folder), ids, offline=True) as desk:
        state = desk.state()
        must_know(desk.store.known(), ids)
        shown = Shown(state)
        _tell_away(desk)
        if len(ids) == 2:
            titles = ids
            one, two = (state.wanted(name) for name in ids)
        else:
            titles = ("wanted", "reported")
            one = state.wanted(ids[0])
            config = state.of(ids[0]).reported.get("config")
            two = dict(config) if isinstance(config, dict) else {}
            # What was flashed and nobody set is no difference; nor is a default unsaid.
            last = state.published.get(ids[0])
            two = {n: v for n, v in two.items() if n in one or (last and n in last.config)}
            with suppress(FleetlingError):  # what it says of its settings cannot be read
                schema = schema_of(state, ids[0])
                for name in set(one) - set(two):
                    if schema.published and name in schema and schema.default(name) == one[name]:
                        two[name] = one[name]
        differing = [
            name
            for name in sorted({*one, *two})
            if (name in one) != (name in two)
            or (one[name] != two[name] and not (len(ids) == 1 and shown.secret(name)))
        ]
        if as_json:
            _print_json(
                {
                    name: {
                        title: shown.data(name, side[name])
                        for title, side in zip(titles, (one, two), strict=True)
                        if name in side
                    }
                    for name in differing
                }
            )
            return
        if not differing:
            output.print("No difference.", highlight=False)
            return
        table = Table("name", *titles, box=None)
        for name in differing:
            texts = [shown.text(name, side[name]) if name in side else "" for side in (one, two)]
            if shown.secret(name) and texts[0] == texts[1]:
                texts[1] = "another"
            table.add_row(Text(name), *(Text(text) for text in texts))
        output.print(table)


@command.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@scope_options
@JSON
@home_option
def history(
    ids: tuple[str, ...], group: str | None, fleet: bool, as_json: bool, folder: Path | None
) -> None:
    """Who changed what and when; for a device also in its groups and the fleet."""
    named = ids_of(ids, group, fleet)
    desk = Desk(home.find(folder), named, offline=True)  # the database alone knows the history
    state = desk.state()
    scopes = scopes_of(state, desk.store.known(), named, group, fleet)
    for name in named:
        scopes += [Scope("group", found.name) for found in state.groups_of(name)]
    scopes += [FLEET] if named else []
    shown = Shown(state)
    found = desk.store.history(dict.fromkeys(scopes))
    if as_json:
        _print_json(
            [
                {
                    "at": f"{revision.at:%Y-%m-%dT%H:%M:%SZ}",
                    "by": revision.by,
                    "scope": revision.scope.kind,
                    "name": revision.scope.name,
                    "number": revision.number,
                    "note": revision.note,
                    "changes": shown.changes(revision),
                    "config": shown.config(revision.after),
                }
                for revision in found
            ]
        )
        return
    if not found:
        output.print("Nothing was ever set.", highlight=False)
        return
    table = Table("when (UTC)", "who", "where", "what", box=None)
    for revision in found:
        text = "\n".join([*shown.changes(revision), *([revision.note] if revision.note else [])])
        table.add_row(
            f"{revision.at:%Y-%m-%d %H:%M}",
            Text(revision.by),
            Text(str(revision.scope)),
            Text(text),
        )
    output.print(table)
