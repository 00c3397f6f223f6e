# SPDX-License-Identifier: MIT
"""The commands that change settings: read what was typed, check, store, publish, wait."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click
from rich.text import Text

from fleetling.cli.screen import errors, output
from fleetling.cli.targets import JSON, ids_of, scopes_of
from fleetling.cli.waiting import wait_for
from fleetling.config import edit
from fleetling.config.change import Edit, Plan, readable_schema, schema_of
from fleetling.config.desk import Desk
from fleetling.config.layers import Layer, Scope
from fleetling.config.reconcile import State
from fleetling.config.schema import Schema, parse_value
from fleetling.config.shown import APPLIED, Shown, devices, rows
from fleetling.config.store import ConfigStore
from fleetling.errors import FleetlingError
from fleetling.home import Home
from fleetling.registry import Store

__all__ = ["Assignments", "change_options", "finish", "run_change", "run_edit"]

PASSWORD = "FLEETLING_WIFI_PASSWORD"  # noqa: S105 - a variable's name

F = TypeVar("F", bound=Callable[..., Any])


def change_options(function: F) -> F:
    """What all commands that change settings take."""
    for option in (
        JSON,
        click.option("--note", default="", help="Why, for the history."),
        click.option("--timeout", default=60.0, show_default=True, help="Seconds for --wait."),
        click.option("--wait", is_flag=True, help="Wait for what the boards answer."),
        click.option("--dry-run", is_flag=True, help="Only show what each device would get."),
    ):
        function = option(function)
    return function


class Assignments:
    """What `config set` was given, read when the types are known.

    Args:
        given: NAME=VALUE texts.
        wifi: a network's name; its password is read by `edit`.
        ask: names whose values are typed unseen.
    """

    def __init__(self, given: list[str], wifi: str | None, ask: tuple[str, ...]) -> None:
        if not given and wifi is None and not ask:
            raise FleetlingError("Which setting?", "Give NAME=VALUE, --wifi SSID or --ask NAME.")
        self._texts: dict[str, str] = {}
        self._direct: set[str] = set()
        for text in given:
            name, _, value = text.partition("=")
            if name in self._texts:
                raise FleetlingError(f"{name} is given twice", "Give one value.")
            if value.startswith("@"):
                value = _from_file(name, value[1:])
            else:
                self._direct.add(name)
            self._texts[name] = value
        for name in ask:
            self._texts[name] = _typed(name)
        self._network = None if wifi is None else [wifi, _password(wifi)]

    def values(self, schemas: list[Schema]) -> dict[str, Any]:
        """The values by the types that boards say they have.

        Raises:
            FleetlingError: a value is of another type, or a secret was an argument.
        """
        made: dict[str, Any] = {}
        for name, text in self._texts.items():
            knowing = [schema for schema in schemas if name in schema]
            if not knowing:
                made[name] = _guessed(text)  # the check says that it is unknown, or cannot know
                continue
            if name in self._direct and any(schema.secret(name) for schema in knowing):
                raise FleetlingError(
                    f"{name} is a secret, and other users can read arguments",
                    f"Use --ask {name}, or {name}=@FILE."
                    + (" For Wi-Fi: --wifi SSID." if name == "wifi" else ""),
                )
            made[name] = parse_value(knowing[0].kind(name), name, text)
        return made

    def edit(self, schemas: list[Schema]) -> Edit:
        values = self.values(schemas)

        def apply(layer: Layer) -> Mapping[str, Any]:
            config = {**layer.config, **values}
            if self._network is not None:
                others = config.get("wifi", [])
                rest = [pair for pair in others if pair[0] != self._network[0]]
                config["wifi"] = [self._network, *rest]
            return config

        return apply


def _guessed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _from_file(name: str, path: str) -> str:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else "no UTF-8"
        raise FleetlingError(
            f"The value of {name} cannot be read: {path}: {reason}", "Name another file."
        ) from e
    return text.removesuffix("\n")


def _typed(name: str) -> str:
    if not sys.stdin.isatty():
        raise FleetlingError(
            f"Nobody is there to be asked for {name}", f"Use {name}=@FILE or {name}=@-."
        )
    return str(click.prompt(name, hide_input=True, confirmation_prompt=True))


def _password(ssid: str) -> str:
    given = os.environ.get(PASSWORD)
    if given is not None:
        return given
    if sys.stdin.isatty():
        return str(
            click.prompt(f"Password of {ssid}", hide_input=True, default="", show_default=False)
        )
    line = sys.stdin.readline()
    if not line:
        raise FleetlingError(
            f"The password of {ssid!r} is missing",
            f"Set {PASSWORD}, or pipe it; an open network has an empty line.",
        )
    return line.removesuffix("\n")


def _schemas(desk: Desk, state: State, named: Collection[str]) -> list[Schema]:
    """Those of the named boards, or else of all: as far as they can be read then."""
    if named:
        return [schema_of(state, name) for name in sorted(set(named))]
    found = [readable_schema(state, name) for name in sorted(desk.store.concerned())]
    return [schema for schema in found if schema is not None] or [Schema(None)]


def run_change(
    place: Home,
    named: list[str],
    group: str | None,
    fleet: bool,
    assignments: Assignments | None,
    **options: Any,
) -> None:
    """`config set`, and without assignments `config unset`, whose `named` has settings too."""
    asked = set(named)
    if assignments is None:
        asked &= ConfigStore(Store(place.database)).known()
    with Desk(place, asked) as desk:
        state, known = desk.state(), desk.store.known()
        if assignments is None:
            ids = [text for text in named if text in known]
            names = [text for text in named if text not in known]
            ids_of(ids, group, fleet)
            scopes = scopes_of(state, known, ids, group, fleet)
            change = _unsetting(state, scopes, names)
        else:
            scopes = scopes_of(state, known, named, group, fleet)
            change = assignments.edit(_schemas(desk, state, named))
        _run(desk, scopes, change, **options)


def _unsetting(state: State, scopes: list[Scope], names: list[str]) -> Edit:
    if not names:
        raise FleetlingError("Which setting?", "Give its name; config show lists them.")
    for name in names:
        if not any(name in state.layers.get(scope).config for scope in scopes):
            raise FleetlingError(
                f"{name} is not set for {', '.join(map(str, scopes))}, and is no device's id",
                "`fleetling config show` says where a setting comes from.",
            )

    def apply(layer: Layer) -> Mapping[str, Any]:
        return {name: v for name, v in layer.config.items() if name not in names}

    return apply


def run_edit(
    place: Home, named: list[str], group: str | None, fleet: bool, **options: Any
) -> None:
    """`config edit`."""
    with Desk(place, named) as desk:
        state, known = desk.state(), desk.store.known()
        (scope,) = scopes_of(state, known, named, group, fleet)
        if not sys.stdin.isatty() and not os.environ.get("EDITOR"):
            raise FleetlingError("Nobody is there to edit", "Use config set, or set EDITOR.")
        layer, shown = state.layers.get(scope), Shown(state)
        below: dict[str, str] = {}
        if named:
            under = State(
                state.layers.replaced([Layer(scope)]), state.groups, state.facts, state.published
            )
            for row in rows(under, shown, named[0], desk.store.epoch):
                below[row["name"]] = f"{row['shown']} ({row['origin']})"
                if row["origin"] == "default" and row["name"] in layer.config:
                    # While it is set, no report tells what was flashed.
                    below[row["name"]] = f"as flashed, else {row['shown']} (default)"
        schema = max(_schemas(desk, state, named), key=lambda found: len(found.names))
        names = {*schema.names, *layer.config}
        text = edit.write(layer, schema, {n: shown.secret(n) for n in names}, below)
        kept = place.folder / "secrets" / "edited-settings.toml"
        while True:
            text = click.edit(text, extension=".toml", require_save=False) or text
            try:
                config = edit.read(text, layer)
                _refuse(desk.plan([scope], _replacing(config)))
            except FleetlingError as e:
                errors.print(Text(f"{e.message}\n{e.hint}"))
                if sys.stdin.isatty() and click.confirm("Edit again?", default=True):
                    continue
                kept.touch(mode=0o600)
                kept.write_text(text)
                raise FleetlingError(
                    "Nothing was changed", f"Your text is in {kept}; delete it when it is done."
                ) from e
            break

        def apply(now: Layer) -> Mapping[str, Any]:
            if now.number != layer.number:
                raise FleetlingError(
                    "Somebody has changed these settings while you edited", "Edit again."
                )
            return config

        _run(desk, [scope], apply, **options)


def _replacing(config: Mapping[str, Any]) -> Edit:
    return lambda _: config


def _refuse(planned: Plan) -> None:
    """Raises what is wrong with a change, for all devices that it concerns."""
    texts: dict[str, list[str]] = {}
    for device in planned.wrong:
        for problem in device.problems:
            texts.setdefault(problem.text, []).append(device.id)
    if not planned.touched:  # no device is concerned yet: this installation's agent decides
        schema = Schema(None)
        for layer in planned.layers:
            for name, value in layer.config.items():
                wrong = schema.check(name, value)
                if wrong is not None:
                    texts.setdefault(wrong.text, []).append("")
    if texts:
        lines = []
        for text, ids in texts.items():
            who = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
            lines.append(f"{who}: {text}" if who else text)
        raise FleetlingError("\n".join(lines), "Nothing was changed.")


def _run(
    desk: Desk,
    scopes: list[Scope],
    change: Edit,
    *,
    dry_run: bool,
    wait: bool,
    timeout: float,
    note: str,
    as_json: bool,
) -> None:
    planned = desk.plan(scopes, change)
    _refuse(planned)
    unchecked = sorted({name for device in planned.touched for name in device.unchecked})
    if unchecked:
        ids = ", ".join(device.id for device in planned.touched if device.unchecked)
        errors.print(
            f"Not checked: {', '.join(unchecked)}; {ids} never said what it can be told, "
            "or not so that it can be read here.",
            highlight=False,
            markup=False,
        )
    if dry_run:
        _show_plan(planned, as_json)
        return
    if planned.layers:
        planned = desk.put_in_force(planned, scopes, change, note)
    finish(
        desk,
        [device.id for device in planned.touched] or _all(desk, scopes),
        wait=wait,
        timeout=timeout,
        as_json=as_json,
    )


def _all(desk: Desk, scopes: list[Scope]) -> list[str]:
    ids = [scope.name for scope in scopes if scope.kind == "device"]
    return ids or sorted(desk.store.concerned())


def finish(desk: Desk, ids: list[str], *, wait: bool, timeout: float, as_json: bool) -> None:
    """Publishes what is due to devices, waits if wanted, and says it."""
    sent = desk.publish(ids)
    if not as_json and not wait:
        text = f"Published to {devices(len(sent))}"
        away = sum(not desk.heard(name).online for name in sent)
        text += f"; {away} away now, and will take it when they come." if away else "."
        output.print(text if sent else "Nothing to publish.", highlight=False)
        return
    state = desk.state()
    versions = {name: state.published[name].version for name in ids if name in state.published}
    if not wait:
        click.echo(json.dumps({n: {"version": v, "status": "published"} for n, v in sent.items()}))
        return
    found = wait_for(desk, versions, timeout)
    applied = sum(row["status"] == APPLIED for row in found.values())
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        output.print(f"{applied} of {len(found)} have applied it.", highlight=False)
    if applied != len(found):
        sys.exit(1)


def _show_plan(planned: Plan, as_json: bool) -> None:
    shown = Shown(planned.state)
    if as_json:
        made = {
            device.id: shown.config({name: found.value for name, found in device.after.items()})
            for device in planned.touched
        }
        click.echo(json.dumps(made, indent=2, ensure_ascii=False))
        return
    for device in planned.touched:
        output.print(Text(device.id, "bold"))
        for name in device.changed:
            value = device.after.get(name)
            if value is None:
                output.print(Text(f"  {name}  as below"))
            else:
                output.print(Text(f"  {name}  {shown.text(name, value.value)}"))
        if not device.changed:
            output.print(Text("  nothing changes"))
    output.print(f"{devices(len(planned.touched))}. Nothing was changed.", highlight=False)
